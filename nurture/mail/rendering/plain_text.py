"""Derive the plain text part of an email from its HTML, once per template version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Final

from nurture.mail.rendering.placeholders import Masks
from nurture.mail.rendering.tag_nesting import VOID

_PARAGRAPHS: Final = {"p", "ul", "ol", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table", "hr"}
_BLOCKS: Final = _PARAGRAPHS | {"div", "tr", "td", "th", "li", "section", "body", "center"}
_UNSEEN: Final = {"head", "title", "style", "script"}
_HIDDEN: Final = re.compile(r"display:\s*none")
_SPACE: Final = re.compile(r"[ \t\r\n\f\v]+")


def text_of(html: str, masks: Masks, shown: Mapping[str, str] | None = None) -> str:
    """Write *html* as readable text, links as "label (url)".

    Hidden elements and those of class `no-text` are left out. Statements between paragraphs add no lines.
    *shown* tells what stood in the place of a link: where a label is that, it is left out.
    """
    maker = _TextMaker(masks, shown or {})
    maker.feed(html)
    maker.close()
    return "".join(maker.out).strip()


class _TextMaker(HTMLParser):
    def __init__(self, masks: Masks, shown: Mapping[str, str]) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._masks = masks
        self._shown = shown
        self._gap = 0  # line ends owed before the next visible text
        self._prefix = ""  # a bullet or number owed before it
        self._margin: list[str] = []
        self._counters: list[int | None] = []
        self._skipped = 0
        self._literal = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        hidden = _HIDDEN.search(given.get("style", "")) or "no-text" in given.get("class", "").split()
        if self._skipped or tag in _UNSEEN or hidden:
            self._skipped += tag not in VOID
            return
        self._break(tag)
        if tag == "br":
            self._gap = max(self._gap, 1)
        elif tag == "hr":
            self._say("-----")
            self._gap = 2
        elif tag == "img":
            self.handle_data(given.get("alt", ""))
        elif tag == "a":
            self._links.append((given.get("href", ""), len(self.out)))
        elif tag in ("ul", "ol"):
            self._counters.append(int(given.get("start") or 1) if tag == "ol" else None)
        elif tag == "li":
            self._prefix = self._bullet()
            self._margin.append("  ")
        elif tag == "blockquote":
            self._margin.append("> ")
        elif tag == "pre":
            self._literal += 1

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            self._skipped -= tag not in VOID
            return
        if tag == "a" and self._links:
            href, since = self._links.pop()
            label = "".join(self.out[since:]).strip()
            if label and label == self._shown.get(href):
                self.out[since:] = ["".join(self.out[since:]).replace(label, href)]
            elif href and label not in (href, href.removeprefix("mailto:"), href.removeprefix("tel:")):
                self._say(f" ({href})" if label else href)
        elif tag in ("ul", "ol") and self._counters:
            self._counters.pop()
        elif tag in ("li", "blockquote") and self._margin:
            self._margin.pop()
            self._prefix = ""
        elif tag == "pre":
            self._literal -= 1
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        text = data if self._literal else _SPACE.sub(" ", data)
        if self._gap and not self._literal:
            text = text.lstrip(" ")
        if not text or (self._at_line_start() and not text.strip()):
            return
        if self._gap and not self._masks.statement.sub("", text).strip():
            if self._counters and self._gap > 1:  # a loop over a list's items: the blank line stays outside
                self.out.append("\n" * (self._gap - 1))
                self._gap = 1
            self.out.append(text.strip())
            return
        self._say(text)

    def _say(self, text: str) -> None:
        margin = "".join(self._margin)
        if self._gap:
            self.out.append("\n" * self._gap)
            self.out.append((margin[:-2] + self._prefix) if self._prefix else margin)
            self._prefix = ""
        self._gap = 0
        self.out.append(text.replace("\n", "\n" + margin))

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            inside_list = len(self._counters) > 0 and tag in ("p", "ul", "ol")
            wanted = 2 if tag in _PARAGRAPHS and not inside_list else 1
            if self.out:
                self.out[-1] = self.out[-1].rstrip(" ")
            self._gap = max(self._gap, wanted)

    def _at_line_start(self) -> bool:
        return self._gap > 0 or not self.out

    def _bullet(self) -> str:
        number = self._counters[-1] if self._counters else None
        if number is None:
            return "- "
        self._counters[-1] = number + 1
        return f"{number}. "
