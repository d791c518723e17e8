"""Convert untrusted HTML to plain text."""

import re
from html.parser import HTMLParser
from itertools import islice
from typing import Final

import nh3

_KEPT_TAGS: Final = {"p", "div", "br", "li", "tr", "blockquote", "h1", "h2", "h3", "h4", "hr", "ul", "ol", "table"}
_PARAGRAPH_TAGS: Final = {"p", "blockquote", "h1", "h2", "h3", "h4", "ul", "ol", "table"}
_SPACE: Final = re.compile(r"[ \t\r\n\f\v]++")
_MAX_TAGS: Final = 4_000
"""Tags and entities that are read: closing unclosed tags takes quadratic time."""


def html_to_text(source: str) -> str:
    """Return *source* as lines of text without markup; quoted lines begin with ">"."""
    limit = next(islice(re.finditer("[<&]", source), _MAX_TAGS, None), None)
    source = source[: limit.start()] if limit is not None else source
    lines = _LineCollector()
    lines.feed(nh3.clean(source, tags=_KEPT_TAGS, attributes={}, clean_content_tags={"script", "style", "title"}))
    lines.close()
    return lines.text()


class _LineCollector(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[tuple[int, str]] = []
        self._current_line = ""
        self._quote_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._end_line()
        if tag in _PARAGRAPH_TAGS:
            self._lines.append((self._quote_depth, ""))
        if tag == "blockquote":
            self._quote_depth += 1
        elif tag == "li":
            self._current_line = "- "
        elif tag == "hr":
            self._lines.append((self._quote_depth, "_" * 20))

    def handle_endtag(self, tag: str) -> None:
        self._end_line()
        if tag == "blockquote":
            self._quote_depth = max(0, self._quote_depth - 1)
        if tag in _PARAGRAPH_TAGS:
            self._lines.append((self._quote_depth, ""))

    def handle_data(self, data: str) -> None:
        self._current_line += _SPACE.sub(" ", data)

    def _end_line(self) -> None:
        if self._current_line.strip():
            self._lines.append((self._quote_depth, self._current_line.strip()))
        self._current_line = ""

    def text(self) -> str:
        self._end_line()
        result: list[str] = []
        for depth, line in self._lines:
            if line or (result and result[-1].strip("> ")):
                result.append(f"{'> ' if depth else ''}{line}".rstrip())
        return "\n".join(result).strip()
