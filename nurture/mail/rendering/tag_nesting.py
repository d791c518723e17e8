"""Find Jinja statements that open in one HTML element and close in another, which would break the HTML."""

from html.parser import HTMLParser
from typing import Final

from nurture.domain.problems import Problem
from nurture.mail.rendering.placeholders import Placeholders, Tag

VOID_TAGS: Final = {"br", "hr", "img", "meta", "link", "input", "area", "base", "col", "embed", "source", "wbr"}
_OPENING: Final = {"if", "for", "with"}
_ADVICE: Final = "Keep the tag and its end in one paragraph or list item, or give each a line of its own"


def find_crossing_tags(file: str, html: str, placeholders: Placeholders) -> list[Problem]:
    """Return a problem for each statement of *html* that ends in another element than it began in."""
    walk = _NestingParser(placeholders)
    walk.feed(html)
    walk.close()
    crossed = {tag.line: tag for tag in walk.crossed}
    return [Problem(file, line, f"{tag.text} ends in another element", _ADVICE) for line, tag in crossed.items()]


class _NestingParser(HTMLParser):
    def __init__(self, placeholders: Placeholders) -> None:
        super().__init__()
        self.crossed: list[Tag] = []
        self._placeholders = placeholders
        self._elements: list[int] = []
        self._count = 0
        self._open: list[tuple[Tag, list[int]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag not in VOID_TAGS:
            self._count += 1
            self._elements.append(self._count)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID_TAGS and self._elements:
            self._elements.pop()

    def handle_data(self, data: str) -> None:
        for word in self._placeholders.statement_pattern.findall(data):
            tag = self._placeholders.tags[word]
            keyword = tag.text.strip("{}%-+ \n\t").partition(" ")[0]
            if keyword in _OPENING or (keyword == "set" and "=" not in tag.text):
                self._open.append((tag, list(self._elements)))
            elif keyword in ("else", "elif") or keyword.startswith("end"):
                opened, elements = self._open[-1] if self._open else (tag, [])
                if elements != self._elements:
                    self.crossed.append(opened)
                if keyword.startswith("end") and self._open:
                    self._open.pop()
