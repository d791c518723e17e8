"""Make readable lines of a stranger's HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import islice
from typing import Final

import nh3

_KEPT: Final = {"p", "div", "br", "li", "tr", "blockquote", "h1", "h2", "h3", "h4", "hr", "ul", "ol", "table"}
_GAPS: Final = {"p", "blockquote", "h1", "h2", "h3", "h4", "ul", "ol", "table"}
_SPACE: Final = re.compile(r"[ \t\r\n\f\v]++")
_MOST_TAGS: Final = 4_000
"""Tags and entities that are looked at: to close what nobody closed takes time by their square."""


def text_of_html(source: str) -> str:
    """Return what *source* says, line by line; what it quotes begins with ">". No markup comes through."""
    beyond = next(islice(re.finditer("[<&]", source), _MOST_TAGS, None), None)
    source = source[: beyond.start()] if beyond is not None else source
    lines = _Lines()
    lines.feed(nh3.clean(source, tags=_KEPT, attributes={}, clean_content_tags={"script", "style", "title"}))
    lines.close()
    return lines.text()


class _Lines(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[tuple[int, str]] = []
        self._now = ""
        self._quoted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._end_line()
        if tag in _GAPS:
            self._lines.append((self._quoted, ""))
        if tag == "blockquote":
            self._quoted += 1
        elif tag == "li":
            self._now = "- "
        elif tag == "hr":
            self._lines.append((self._quoted, "_" * 20))

    def handle_endtag(self, tag: str) -> None:
        self._end_line()
        if tag == "blockquote":
            self._quoted = max(0, self._quoted - 1)
        if tag in _GAPS:
            self._lines.append((self._quoted, ""))

    def handle_data(self, data: str) -> None:
        self._now += _SPACE.sub(" ", data)

    def _end_line(self) -> None:
        if self._now.strip():
            self._lines.append((self._quoted, self._now.strip()))
        self._now = ""

    def text(self) -> str:
        self._end_line()
        written: list[str] = []
        for depth, line in self._lines:
            if line or (written and written[-1].strip("> ")):
                written.append(f"{'> ' if depth else ''}{line}".rstrip())
        return "\n".join(written).strip()
