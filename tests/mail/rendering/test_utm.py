"""utm parameters are added to links that have none, and to no others; clicks are named by the link as written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.rendering.compile import compile_email
from nurture.mail.rendering.link_tracking import LinkTracking, TrackedLinks
from nurture.mail.rendering.render import compose
from nurture.mail.rendering.utm import add_utm
from tests.mail.build import PLAIN, envelope, source, values

UTM = (("utm_source", "news letter"), ("utm_campaign", "trial"))
ADDED = "utm_source=news+letter&utm_campaign=trial"
TRACKING = LinkTracking("https://go.example.com")


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("https://a.example", f"https://a.example?{ADDED}"),
        ("https://a.example/b?c=1&d=2#e?f", f"https://a.example/b?c=1&d=2&{ADDED}#e?f"),
        ("HTTP://a.example/?", f"HTTP://a.example/?{ADDED}"),
        ("https://a.example/?utm_source=x", "https://a.example/?utm_source=x"),
        ("https://a.example/?a=1&UTM_term=x#y", "https://a.example/?a=1&UTM_term=x#y"),
        ("mailto:nora@example.com", "mailto:nora@example.com"),
        ("tel:+4912345", "tel:+4912345"),
    ],
)
def test_a_web_address_without_utm_parameters_gets_them(url: str, changed: str) -> None:
    assert add_utm(url, UTM) == changed


@given(st.text(alphabet="ab?&#=/utm_", max_size=30))
def test_adding_twice_is_adding_once_and_without_parameters_nothing_changes(rest: str) -> None:
    url = f"https://a.example/{rest}"
    once = add_utm(url, UTM)
    assert add_utm(once, UTM) == once
    assert add_utm(url, ()) == url
    assert once.partition("#")[2] == url.partition("#")[2]


BODY = """\
[a](https://www.example.com/guide) [b](https://www.example.com/x?utm_source=own) [c](mailto:nora@example.com)
[d](https://www.example.com/law "no-track") [e](https://www.example.com/?for={{ lead.company }})
[f]({{ track.url }}) [g](https://go.example.com/own)
"""


def test_links_that_are_not_tracked_have_the_parameters_in_the_email() -> None:
    html = compose(compile_email(source(BODY), PLAIN, utm=UTM), values(), envelope()).html
    amp = ADDED.replace("&", "&amp;")
    for expected in (
        f'"https://www.example.com/guide?{amp}"',
        '"https://www.example.com/x?utm_source=own"',
        '"mailto:nora@example.com"',
        '"https://www.example.com/law"',
        f'"https://www.example.com/?for=Murphy%20%26%20Sons&amp;{amp}"',
        '"https://go.example.com/u/0123456789abcdefghijkl"',
    ):
        assert expected in html


def test_tracked_links_lead_to_addresses_with_the_parameters_and_keep_their_names() -> None:
    compiled = compile_email(source(BODY), PLAIN, TRACKING, UTM)
    assert compiled.destinations == (
        f"https://www.example.com/guide?{ADDED}",
        "https://www.example.com/x?utm_source=own",
    )
    assert compiled.names == ("https://www.example.com/guide", "https://www.example.com/x?utm_source=own")
    links = TrackedLinks("https://go.example.com/c/token/", TRACKING)
    html = compose(compiled, values(), envelope(), links).html
    assert "utm_source=news" not in html
    assert '"https://www.example.com/law"' in html
    assert '"https://go.example.com/own"' in html
    assert list(links.personal_links) == [
        "https://www.example.com/?for=Murphy%20%26%20Sons",
        "https://example.com/a?x=1&y=2",
    ]
