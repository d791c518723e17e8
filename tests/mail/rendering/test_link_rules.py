"""Links are rewritten once per template version and keep their destinations."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.mail.rendering.compile import CompiledEmail, check_email, compile_email
from nurture.mail.rendering.link_tracking import FIRST_PERSONAL_LINK_NUMBER, LinkTracking, TrackedLinks
from nurture.mail.rendering.render import ComposedEmail, CompositionFailed, compose
from tests.mail.build import BARE, PLAIN, UNSUBSCRIBE, composed, envelope, source, values

BASE_URL: Final = "https://go.example.com"
TRACKING: Final = LinkTracking(BASE_URL)
PREFIX: Final = f"{BASE_URL}/c/0123456789abcdefghijkl/"
PIXEL: Final = f"{BASE_URL}/o/0123456789abcdefghijkl.gif"


def tracked(body: str, layout: str = BARE, tracking: LinkTracking = TRACKING) -> CompiledEmail:
    return compile_email(source(body), layout, tracking)


def sent(
    compiled: CompiledEmail, pixel: str = "", fields: dict[str, Any] | None = None
) -> tuple[ComposedEmail, TrackedLinks]:
    tracked_links = TrackedLinks(PREFIX, TRACKING, pixel)
    return compose(compiled, fields or values(), envelope(), tracked_links), tracked_links


class Anchors(HTMLParser):
    """The visible and the hidden links of an email."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.hidden: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "a" and attributes.get("style") == "display:none":
            self.hidden.append(attributes)
        elif tag == "a":
            self.hrefs.append(attributes["href"] or "")


def resolved(url: str, compiled: CompiledEmail, tracked_links: TrackedLinks) -> str:
    """Return the destination of a link, as the redirect page resolves it."""
    if not url.startswith(PREFIX):
        return url
    number = int(url.removeprefix(PREFIX))
    if number >= FIRST_PERSONAL_LINK_NUMBER:
        return list(tracked_links.personal_links)[number - FIRST_PERSONAL_LINK_NUMBER]
    return compiled.destinations[number - 1]


def test_a_link_becomes_a_number_in_html_and_in_text_alike() -> None:
    compiled = tracked("[Read](https://www.example.com/a?x=1&y=2) and <https://www.example.com/b>")
    email, _ = sent(compiled)
    assert compiled.destinations == ("https://www.example.com/a?x=1&y=2", "https://www.example.com/b")
    assert Anchors(email.html).hrefs == [f"{PREFIX}1", f"{PREFIX}2"]
    assert email.text == f"Read ({PREFIX}1) and {PREFIX}2"


def test_the_same_address_twice_is_one_number() -> None:
    compiled = tracked("[a](https://www.example.com/a) [b](https://www.example.com/a)")
    email, _ = sent(compiled)
    assert Anchors(email.html).hrefs == [f"{PREFIX}1"] * 2
    assert compiled.destinations == ("https://www.example.com/a",)


def test_links_that_are_not_tracked_stay_unchanged() -> None:
    body = (
        "[m](mailto:a@example.com) [t](tel:+4940123) [u]({{ unsubscribe_url }}) [p]({{ preferences_url }}) "
        f"[own]({BASE_URL}/help) [OWN](HTTPS://GO.example.com) [n](https://www.example.com/n 'no-track') "
        "[d](mailto:{{ lead.first_name }}@example.com) "
        "[leave](https://www.example.com/?u={{ unsubscribe_url }})"
    )
    fields = values() | {"preferences_url": f"{BASE_URL}/p/0123456789abcdefghijkl"}
    compiled = tracked(body)
    email, tracked_links = sent(compiled, fields=fields)
    plain = compose(compile_email(source(body), BARE), fields, envelope())
    assert Anchors(email.html).hrefs == Anchors(plain.html).hrefs
    assert email.text == plain.text
    assert (compiled.destinations, compiled.patterns, tracked_links.personal_links) == ((), (), {})
    assert not Anchors(email.html).hidden


def test_a_site_that_shares_only_a_prefix_with_ours_is_tracked() -> None:
    compiled = tracked(f"[a]({BASE_URL}.evil.example/x) [b]({BASE_URL}er/x)")
    assert compiled.destinations == (f"{BASE_URL}.evil.example/x", f"{BASE_URL}er/x")


def test_no_track_in_a_title_is_removed() -> None:
    body = '[a](https://www.example.com/a "button no-track")\n\n[b](https://www.example.com/b "no-track")'
    for email in (composed(body), sent(tracked(body))[0]):
        assert Anchors(email.html).hrefs == ["https://www.example.com/a", "https://www.example.com/b"]
        assert 'class="button"' in email.html
        assert "no-track" not in email.html + email.text


def test_a_layout_marks_a_link_that_is_left_alone() -> None:
    layout = BARE.replace(
        "{{ body }}",
        '{{ body }}<a href="https://www.example.com/law" data-no-track>law</a>'
        "<a title='1 > 0' href='https://www.example.com/home'>home</a>",
    )
    compiled = tracked("Hello", layout)
    email, _ = sent(compiled)
    assert Anchors(email.html).hrefs == ["https://www.example.com/law", f"{PREFIX}1"]
    assert "data-no-track" not in email.html


def test_an_address_with_tags_is_stored_with_its_mail_under_a_pattern_without_personal_data() -> None:
    compiled = tracked("[x](https://example.com/{{ lead.company | urlencode }}/x?a=1&b=2) [y]({{ track.url }})")
    email, tracked_links = sent(compiled)
    first, second = f"{PREFIX}{FIRST_PERSONAL_LINK_NUMBER}", f"{PREFIX}{FIRST_PERSONAL_LINK_NUMBER + 1}"
    assert Anchors(email.html).hrefs == [first, second]
    assert email.text == f"x ({first}) y ({second})"
    assert list(tracked_links.personal_links) == [
        "https://example.com/Murphy%20%26%20Sons/x?a=1&b=2",
        "https://example.com/a?x=1&y=2",
    ]
    assert compiled.patterns == ("https://example.com/{{ lead.company | urlencode }}/x?a=1&b=2", "{{ track.url }}")


def test_each_iteration_of_a_loop_has_its_own_number() -> None:
    compiled = tracked(
        "{% for city in ['cork', 'bonn', 'cork'] %}[{{ city }}](https://example.com/{{ city }}) {% endfor %}"
    )
    email, tracked_links = sent(compiled)
    assert [resolved(url, compiled, tracked_links) for url in Anchors(email.html).hrefs] == [
        "https://example.com/cork",
        "https://example.com/bonn",
        "https://example.com/cork",
    ]
    assert list(tracked_links.personal_links.values()) == [0, 0]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "example.com", ""])
def test_an_unsafe_url_is_an_error(url: str) -> None:
    fields = values()
    fields["track"]["url"] = url
    with pytest.raises(CompositionFailed, match="not allowed in an email"):
        sent(tracked("[y]({{ track.url }})"), fields=fields)


def test_an_address_that_turns_out_to_be_mailto_stays() -> None:
    fields = values()
    fields["track"]["url"] = "mailto:a@example.com"
    email, tracked_links = sent(tracked("[y]({{ track.url }})"), fields=fields)
    assert Anchors(email.html).hrefs == ["mailto:a@example.com"]
    assert tracked_links.personal_links == {}


def test_numbers_that_were_sent_already_are_kept() -> None:
    tracking = LinkTracking(BASE_URL, known_destinations=("https://www.example.com/old", "https://www.example.com/b"))
    compiled = tracked("[a](https://www.example.com/a) [b](https://www.example.com/b)", tracking=tracking)
    assert Anchors(sent(compiled)[0].html).hrefs == [f"{PREFIX}3", f"{PREFIX}2"]
    assert compiled.destinations == (*tracking.known_destinations, "https://www.example.com/a")


def test_the_honeypot_is_hidden_from_eyes_keyboards_and_screen_readers() -> None:
    email, _ = sent(tracked("[a](https://www.example.com/a)", PLAIN))
    (hidden,) = Anchors(email.html).hidden
    assert hidden["href"] == f"{PREFIX}0"
    assert hidden["tabindex"] == "-1"
    around = email.html[: email.html.index(f"{PREFIX}0")].rpartition("<div")[2]
    assert 'aria-hidden="true"' in around
    assert "display:none" in around
    assert "not for readers" not in email.text
    assert email.html.rstrip().endswith("</body></html>")


def test_without_a_honeypot_every_link_is_seen() -> None:
    compiled = tracked("[a](https://www.example.com/a)", tracking=LinkTracking(BASE_URL, honeypot=False))
    assert not Anchors(sent(compiled)[0].html).hidden


def test_the_pixel_is_only_in_email_with_consent() -> None:
    compiled = tracked("[a](https://www.example.com/a)")
    assert PIXEL not in sent(compiled)[0].html
    assert sent(compiled, PIXEL)[0].html.count(f'src="{PIXEL}"') == 1


def test_a_shipped_layout_looks_the_same_with_links_of_ours() -> None:
    body = 'Hello\n\n[Read](https://www.example.com/a "button")\n\nBye <https://www.example.com/b>'
    plain = compose(compile_email(source(body), PLAIN), values(), envelope())
    compiled = tracked(body, PLAIN)
    email, tracked_links = sent(compiled)
    back = re.sub(rf"{PREFIX}[1-9]\d*", lambda url: resolved(url[0], compiled, tracked_links), email.html)
    begin, end = back.index('<div style="display:none;max-height'), back.index("</div></body>")
    assert back[:begin] + back[end + len("</div>") :] == plain.html


@pytest.mark.parametrize("written", ["{% set _link_prefix = 'x' %}", "{% for _tracked_links in [1] %}a{% endfor %}"])
def test_reserved_names_cannot_be_assigned(written: str) -> None:
    problems = check_email(source(f"{written} [a](https://www.example.com/a)"), BARE, ())
    assert ["is reserved" in problem.message for problem in problems] == [True]


_PATHS = st.text(st.sampled_from("abc/?&=%20#+~;'()é\"{}"), max_size=12).filter(
    lambda path: not re.search(r"\{[{%#]", path)
)
_PAGES = st.builds("https://www.example.com/{}".format, _PATHS)
_TAGGED = st.sampled_from(
    [
        "{{ track.url }}",
        "https://example.com/{{ lead.first_name }}",
        "https://example.com/{% if lead.company %}yes{% else %}no{% endif %}?a=1&b=2",
    ]
)
_EXEMPT = st.sampled_from(["mailto:a@example.com", "tel:+49", f"{BASE_URL}/help", "{{ unsubscribe_url }}"])
_LINKS = st.builds(
    lambda url, label, title: f"[{label}](<{url}>{title})",
    _PAGES | _TAGGED | _EXEMPT,
    st.sampled_from(["here", "*there*", "https://www.example.com/a"]),
    st.sampled_from(["", ' "button"', ' "no-track"', ' "button no-track"']),
)
_TEXTS = st.sampled_from(["Hello {{ lead.first_name }}", "<https://www.example.com/auto>", "# A title", "- item"])
_BODIES = st.lists(_LINKS | _TEXTS, min_size=1, max_size=8).map("\n\n".join)


@settings(deadline=None)
@given(_BODIES, st.sampled_from([BARE, PLAIN]))
def test_every_link_is_rewritten_once_and_keeps_its_destination(body: str, layout: str) -> None:
    fields = values()
    fields["lead"]["first_name"] = "Zoé"
    plain = compose(compile_email(source(body), layout), fields, envelope())
    compiled = tracked(body, layout)
    email, tracked_links = sent(compiled, fields=fields)
    before, after = Anchors(plain.html).hrefs, Anchors(email.html).hrefs
    assert [resolved(url, compiled, tracked_links) for url in after] == before
    exempt = [
        url.startswith(("mailto:", "tel:", BASE_URL)) or "no-track" in _titles(body).get(place, "")
        for place, url in enumerate(before)
    ]
    assert [not url.startswith(PREFIX) for url in after] == exempt
    assert all(url.count(PREFIX) <= 1 for url in after)
    in_text = re.findall(rf"{PREFIX}\d+", email.text)
    assert {resolved(url, compiled, tracked_links) for url in in_text} == {
        url for url, left in zip(before, exempt, strict=True) if not left
    }


def _titles(body: str) -> dict[int, str]:
    """Return the title of each link of *body* that has one, by index."""
    found = re.findall(r'\[[^\]]*\]\(<[^>]*>(?: "([^"]*)")?\)|<https://www\.example\.com/auto>', body)
    return {place: title for place, title in enumerate(found) if title}


def test_unescaped_html_is_not_needed_to_find_a_destination() -> None:
    compiled = tracked("[a](https://www.example.com/?a=1&amp;copy=2)")
    assert compiled.destinations == (unescape("https://www.example.com/?a=1&amp;copy=2"),)


def test_the_unsubscribe_link_is_untouched() -> None:
    email, _ = sent(tracked("[a](https://www.example.com/a)", PLAIN))
    assert UNSUBSCRIBE in Anchors(email.html).hrefs
    assert dict(email.headers)["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
