"""Untrusted text contains no link in mail, and no link, mention or markup in chat."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from nurture.mail.rendering.inert_text import defang_links, defang_values, escape_markup

LINKS = {
    "https://evil.example/login": "hxxps://evil.example/login",
    "HTTP://evil.example": "hxxp://evil.example",
    "www.evil.example": "www[.]evil.example",
    "ftp://evil.example/x": "fxp://evil.example/x",
    "evil.example/login": "evil[.]example/login",
    "Acme.Example GmbH": "Acme[.]Example GmbH",
    "smb://evil/share": "smb[:]//evil/share",
    "tel:+4930123": "tel[:]+4930123",
    "javascript:alert(1)": "javascript[:]alert(1)",
    r"\\evil\share": r"[\\]evil\share",
}


@pytest.mark.parametrize("text", LINKS)
def test_links_that_mail_programs_detect_are_defanged(text: str) -> None:
    assert defang_links(text) == LINKS[text]
    assert defang_links(f"see {text} now") == f"see {LINKS[text]} now"


@pytest.mark.parametrize(
    "text", ["Acme & Sons (Ltd.)", "Zoë O'Neil", "3.5 of 10", "mia@people.example", "a: b", "", "  two\n lines "]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert defang_links(text) == text


def test_nested_values_are_defanged() -> None:
    values = {"company": "www.evil.example", "rows": [{"on": "evil.example"}, 3, None]}
    assert defang_values(values) == {"company": "www[.]evil.example", "rows": [{"on": "evil[.]example"}, 3, None]}


MARKUP = [
    "[Sign in](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "<https://evil.example|Sign in>",
    "<!channel> <!here> <@U012AB3CD>",
    "@everyone @here @channel",
    "&lt;!channel&gt; &#91;Sign in&#93;(x)",
    "*bold* _italic_ `code` ~~gone~~ __under__",
    "# heading",
    "<a href='https://evil.example'>Sign in</a>",
    "[ref]: https://evil.example",
    "name\n\n> quote\n- [x](javascript:alert(1))",
    "||secret|| |a|b|",
]


@pytest.mark.parametrize("text", MARKUP)
def test_no_chat_program_finds_a_link_a_mention_or_markup(text: str) -> None:
    escaped = escape_markup(text)
    assert not re.search(r"[\[\]<>@*`~|\\#\n]|https?:|&\w+;|&#", escaped)
    html = MarkdownIt("gfm-like", {"linkify": False}).render(f"Ana: {escaped}")
    assert set(re.findall(r"</?([a-z0-9]+)", html)) == {"p"}


def test_names_and_reasons_read_as_before() -> None:
    reason = "ready: demo_requested is yes, Müller & Co. (Graz), 50 % sure"
    assert escape_markup(reason) == reason


@pytest.mark.parametrize(
    "word", ["a" * 60_000, "." * 60_000, "a." * 30_000, "&#" * 30_000, "://" * 20_000, "_" * 60_000]
)
def test_long_words_take_linear_time(word: str) -> None:
    assert len(escape_markup(word)) >= len(word)
