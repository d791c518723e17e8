"""Derive the plain text part of an email from its HTML, once per template version."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Final

from nurture.mail.rendering.placeholders import Placeholders
from nurture.mail.rendering.tag_nesting import VOID_TAGS

_PARAGRAPH_TAGS: Final = {"p", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table", "hr"}
_BLOCK_TAGS: Final = _PARAGRAPH_TAGS | {"div", "tr", "td", "th", "li", "section", "body", "center"}
_INVISIBLE_TAGS: Final = {"head", "title", "style", "script"}
_HIDDEN: Final = re.compile(r"display:\s*none")
_CELL_GAP: Final = " | "
_SPACE: Final = re.compile(r"[ \t\r\n\f\v]+")


def derive_plain_text(html: str, placeholders: Placeholders, original_urls: Mapping[str, str] | None = None) -> str:
    """Convert *html* to readable text, with links as "label (url)".

    Hidden elements and those of class `no-text` are omitted. Statements between paragraphs add no lines.
    *original_urls* maps rewritten links to the original URLs: a label that is the original URL is omitted.
    """
    builder = _TextBuilder(placeholders, original_urls or {})
    builder.feed(html)
    builder.close()
    return "".join(builder.out).strip()


class _TextBuilder(HTMLParser):
    def __init__(self, placeholders: Placeholders, original_urls: Mapping[str, str]) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._placeholders = placeholders
        self._original_urls = original_urls
        self._pending_newlines = 0  # line breaks to write before the next visible text
        self._prefix = ""  # a bullet or number to write before it
        self._indents: list[str] = []
        self._counters: list[int | None] = []
        self._skip_depth = 0
        self._preformatted_depth = 0
        self._links: list[tuple[str, int]] = []
        self._table_depth = 0  # of tables with data: a row is one line of text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        hidden = _HIDDEN.search(attributes.get("style", "")) or "no-text" in attributes.get("class", "").split()
        if self._skip_depth or tag in _INVISIBLE_TAGS or hidden:
            self._skip_depth += tag not in VOID_TAGS
            return
        if tag == "table" and (self._table_depth or "data" in attributes.get("class", "").split()):
            self._table_depth += 1
        if self._table_depth and tag in ("td", "th"):
            if not self._at_line_start():
                self._write(_CELL_GAP)
            return
        self._break_block(tag)
        if tag == "br":
            self._pending_newlines = max(self._pending_newlines, 1)
        elif tag == "hr":
            self._write("-----")
            self._pending_newlines = 2
        elif tag == "img":
            self.handle_data(attributes.get("alt", ""))
        elif tag == "a":
            self._links.append((attributes.get("href", ""), len(self.out)))
        elif tag in ("ul", "ol"):
            self._counters.append(int(attributes.get("start") or 1) if tag == "ol" else None)
        elif tag == "li":
            self._prefix = self._next_bullet()
            self._indents.append("  ")
        elif tag == "blockquote":
            self._indents.append("> ")
        elif tag == "pre":
            self._preformatted_depth += 1

    def handle_endtag(self, tag: str) -> None:
        if self._skip_depth:
            self._skip_depth -= tag not in VOID_TAGS
            return
        if tag == "a" and self._links:
            href, start = self._links.pop()
            label = "".join(self.out[start:]).strip()
            if label and label == self._original_urls.get(href):
                self.out[start:] = ["".join(self.out[start:]).replace(label, href)]
            elif href and label not in (href, href.removeprefix("mailto:"), href.removeprefix("tel:")):
                self._write(f" ({href})" if label else href)
        elif tag in ("ul", "ol") and self._counters:
            self._counters.pop()
        elif tag in ("li", "blockquote") and self._indents:
            self._indents.pop()
            self._prefix = ""
        elif tag == "pre":
            self._preformatted_depth -= 1
        elif self._table_depth and tag in ("td", "th"):
            return
        elif self._table_depth and tag == "table":
            self._table_depth -= 1
        self._break_block(tag)

    def handle_data(self, data: str) -> None:
        if self._skip_depth:
            return
        text = data if self._preformatted_depth else _SPACE.sub(" ", data)
        if (self._pending_newlines and not self._preformatted_depth) or self.out[-1:] == [_CELL_GAP]:
            text = text.lstrip(" ")
        if not text or ((self._at_line_start() or self._table_depth) and not text.strip()):
            return
        if self._pending_newlines and not self._placeholders.statement_pattern.sub("", text).strip():
            # A loop over a list's items: the blank line stays outside of it.
            if self._counters and self._pending_newlines > 1:
                self.out.append("\n" * (self._pending_newlines - 1))
                self._pending_newlines = 1
            self.out.append(text.strip())
            return
        self._write(text)

    def _write(self, text: str) -> None:
        margin = "".join(self._indents)
        if self._pending_newlines:
            self.out.append("\n" * self._pending_newlines)
            self.out.append((margin[:-2] + self._prefix) if self._prefix else margin)
            self._prefix = ""
        self._pending_newlines = 0
        self.out.append(text.replace("\n", "\n" + margin))

    def _break_block(self, tag: str) -> None:
        if tag in _BLOCK_TAGS:
            inside_list = len(self._counters) > 0 and tag in ("p", "ul", "ol")
            needed = 2 if tag in _PARAGRAPH_TAGS and not inside_list else 1
            if self.out:
                self.out[-1] = self.out[-1].rstrip(" ")
            self._pending_newlines = max(self._pending_newlines, needed)

    def _at_line_start(self) -> bool:
        return self._pending_newlines > 0 or not self.out

    def _next_bullet(self) -> str:
        number = self._counters[-1] if self._counters else None
        if number is None:
            return "- "
        self._counters[-1] = number + 1
        return f"{number}. "
