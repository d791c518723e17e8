# ruff: noqa: E501  - a problem is one line, as printed
"""Tables, pictures and columns in all layouts: as HTML, as text, and in a browser of two widths, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page

from nurture.definitions.brand import Brand
from nurture.errors import InvalidDefinitions
from nurture.mail.rendering.compile import CompiledEmail, EmailSource, check_email, compile_email
from nurture.mail.rendering.render import compose
from tests.mail.build import BARE, LAYOUTS, composed, envelope, values
from tests.web.browser import IS_FAINT

PICTURE = "image: https://img.example.com/a.png\nimage_alt: A & B\n"
TABLE = "| Question | Answer |\n|---|--:|\n| Who? | {{ lead.company | upper }} |\n| When \\| where? | *Now* |"
PARTS = 'Intro.\n\n## One\n\n- a\n\n## Two\n\n[Go](https://example.com/2 "button")\n\n## Three\n\nc\n\n---\n\nAfter [all](https://example.com/3).'
EVERYTHING = (
    f"Hello {{{{ lead.first_name }}}},\n\n# Title\n\n{TABLE}\n\n> A quote.\n\n"
    f'![A chart](https://img.example.com/c.png "width 300")\n\n{PARTS}\n\n'
    '[Go](https://example.com/1 "button") [Not now](https://example.com/4 "button quiet")'
)
WIDTHS = (390, 700)
FAINT: Final = f"""() => {{ {IS_FAINT}
    return [...document.querySelectorAll("h1, h2, p, a, li, td, th, div")]
        .filter(one => [...one.childNodes].some(child => child.nodeType == 3 && child.data.trim()))
        .filter(one => one.getBoundingClientRect().height > 0)
        .filter(isFaint).map(one => one.outerHTML);
}}"""
"""Texts with a contrast below 4.5."""


def _compiled(body: str, layout: str = "plain", front: str = "") -> CompiledEmail:
    text = f"---\nsubject: a\npreheader: b\nlayout: {layout}\n{front}---\n{body}\n"
    return compile_email(EmailSource("a.md", text), Brand().apply((LAYOUTS / f"{layout}.mjml").read_text("utf-8")))


def _problems(front: str, layout: str, body: str = "x") -> list[str]:
    text = f"---\nsubject: a\npreheader: b\nlayout: {layout}\n{front}---\n{body}\n"
    mjml = Brand().apply((LAYOUTS / f"{layout}.mjml").read_text("utf-8"))
    return [str(problem) for problem in check_email(EmailSource("a.md", text), mjml, set(values()))]


def test_a_table_is_a_table_in_html_and_a_line_for_each_row_in_text() -> None:
    email = composed(TABLE)
    assert email.html.count("<tr>") >= 3
    assert 'class="data"' in email.html
    assert "text-align:right" in email.html.replace(" ", "")
    assert email.text == "Question | Answer\nWho? | MURPHY & SONS\nWhen | where? | Now"


def test_the_title_of_an_image_can_be_its_width_and_its_text_is_in_the_plain_text() -> None:
    email = composed('![A {{ lead.company }} chart](https://img.example.com/c.png "width 300")')
    assert 'alt="A Murphy &amp; Sons chart"' in email.html
    assert 'width="300"' in email.html
    assert "title=" not in email.html
    assert email.text == "A Murphy & Sons chart"


def test_parts_stand_side_by_side_until_a_line() -> None:
    layout = BARE.replace("{{ body }}", "{{ columns }}")
    email = composed(PARTS, layout=layout)
    assert email.html.count('class="column"') == 1
    assert email.html.count('class="column right"') == 1
    assert email.html.count('class="column wide" colspan="2"') == 1
    after = email.html.rpartition('colspan="2">')[2]
    assert after.index("</table>") < after.index("After")
    assert (
        email.text
        == "Intro.\n\nOne\n\n- a\n\nTwo\n\nGo (https://example.com/2)\n\nThree\n\nc\n\nAfter all (https://example.com/3)."
    )


def test_a_tag_that_spans_columns_is_refused() -> None:
    with pytest.raises(InvalidDefinitions, match="ends in another element"):
        _compiled("## One\n\n{% if lead.company %}\n\na\n\n## Two\n\nb\n\n{% endif %}", "columns")


@pytest.mark.parametrize(
    ("front", "layout", "problem"),
    [
        ("", "header", "a.md:1: the layout `header` needs a picture. Add `image: https://...` and `image_alt: ...` to the front matter, or choose another layout"),
        (PICTURE, "plain", "a.md:5: the layout `plain` shows no picture. Write `layout: header`, or remove `image:`"),
        ("image: http://a.example/b.png\nimage_alt: b\n", "header", "a.md:5: the picture `http://a.example/b.png` is not at a web address. Begin it with https://: mail programs show no other pictures"),
        ('image: "https://a.example/{{ lead.company }}"\nimage_alt: b\n', "header", "a.md:5: the picture `https://a.example/{{ lead.company }}` is not at a web address. Begin it with https://: mail programs show no other pictures"),
        ("image: https://a.example/b.png\n", "header", "a.md:5: the picture has no text. Write what it shows: `image_alt: ...`"),
        ("", "columns", "a.md:6: warning: nothing stands side by side: the text has no headings. Write `## ` before each"),
    ],
)  # fmt: skip
def test_a_layout_gets_what_it_shows(front: str, layout: str, problem: str) -> None:
    assert [one for one in _problems(front, layout) if "unknown name" not in one] == [problem]


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")], ids=str)
def tab(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A tab of this width and color scheme, without network."""
    width, scheme = request.param
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    context.route("http*://**", lambda route: route.fulfill(body=b"", content_type="image/png"))
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("layout", ["plain", "header", "columns", "brief"])
def test_nothing_overflows_and_everything_can_be_read_in_light_and_dark(tab: Page, tmp_path: Path, layout: str) -> None:
    compiled = _compiled(EVERYTHING, layout, PICTURE if layout == "header" else "")
    page = tmp_path / "mail.html"
    page.write_text(compose(compiled, values(), envelope()).html, "utf-8")
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.evaluate(FAINT) == []
    assert tab.evaluate(
        "[...document.querySelectorAll('a.button')].every(one => one.getBoundingClientRect().height >= 44)"
    )
    side_by_side = tab.evaluate(
        "[...document.querySelectorAll('td.column')].slice(0, 2).map(one => Math.round(one.getBoundingClientRect().top))"
    )
    wide = (tab.viewport_size or {})["width"] == max(WIDTHS)
    assert len(set(side_by_side)) == (0 if layout != "columns" else 1 if wide else 2)
