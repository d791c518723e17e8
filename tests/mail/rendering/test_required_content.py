"""Names that an email always prints, and unsafe parts of its HTML."""

from __future__ import annotations

import pytest

from nurture.mail.rendering.required_content import RenderedPage, always_prints


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ a.b }}", True),
        ("{{ a['b'] | upper }}", True),
        ("{% filter safe_link %}x{{ a.b }}{% endfilter %}", True),
        ("{{ a.b or c }}", True),
        ("{{ 'x' ~ a.b }}", True),
        ("{{ a.b if c else a.b }}", True),
        ("{% if c %}{{ a.b }}{% elif d %}{{ a.b }}{% else %}{{ a.b }}{% endif %}", True),
        ("{% with d = c %}{{ a.b }}{% endwith %}", True),
        ("{{ a.c }}", False),
        ("{{ a }}", False),
        ("{# {{ a.b }} #}", False),
        ("{% if c %}{{ a.b }}{% endif %}", False),
        ("{% if c %}{{ a.b }}{% elif d %}x{% else %}{{ a.b }}{% endif %}", False),
        ("{% for c in d %}{{ a.b }}{% endfor %}", False),
        ("{{ a.b if c }}", False),
        ("{{ c or a.b }}", False),
        ("{{ c and a.b }}", False),
        ("{% if a.b %}x{% endif %}", False),
        ("{% set x = a.b %}", False),
    ],
)
def test_a_value_is_printed_only_where_every_branch_prints_it(source: str, expected: bool) -> None:
    assert always_prints(source, "a.b") is expected


@pytest.mark.parametrize(
    "html",
    [
        '<a href="JavaScript:x">a</a>',
        "<a href=' java\tscript:x'>a</a>",
        "<A HREF=&#106;avascript:x>a</A>",
        '<img src="data:text/html,x">',
        '<img srcset="https://x.example/a 1x, vbscript:x 2x">',
        '<td background="relative.png">',
        '<p style="background: url(javascript:x)">',
        '<p style="width: expression(alert(1))">',
        "<p onclick='x'>",
        "<script>x</script>",
        "<iframe></iframe>",
        '<!--[if mso]><v:rect href="javascript:x"></v:rect><![endif]-->',
        '<a href="">a</a>',
    ],
)
def test_unsafe_links_and_active_content_are_found(html: str) -> None:
    assert len(RenderedPage(f"<p>{html}</p>").unsafe) == 1


def test_an_ordinary_email_is_safe_and_its_links_are_found() -> None:
    page = RenderedPage(
        '<p style="scroll-behavior: auto; background: url(https://x.example/b)">'
        '<a href="HTTPS://x.example/?a=1&amp;b=2">a</a><a href="mailto:a@x.example">b</a>'
        '<!--[if mso]><v:rect href="tel:1"></v:rect><![endif]--><!-- <script> --></p>'
    )
    assert page.unsafe == []
    assert page.links == ["HTTPS://x.example/?a=1&b=2", "mailto:a@x.example", "tel:1"]
