"""What a reader of an email gets to see: whatever a lead's facts are, and what a rendered page could do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Final

from jinja2 import nodes

from nurture.mail.rendering.jinja_sandbox import TEXT, path_of
from nurture.mail.rendering.link_rules import is_safe

_LINKS: Final = frozenset(
    {"href", "src", "action", "formaction", "background", "poster", "data", "cite", "xlink:href", "ping"}
)
_ACTIVE: Final = frozenset({"script", "iframe", "object", "embed", "applet", "base", "frame"})
_STYLED: Final = re.compile(
    r"expression\s*\(|url\(\s*['\"]?\s*(?!https?://)[a-z]|@import|(?<![-\w])behavior:", re.IGNORECASE
)
_MEANING_NOTHING: Final = re.compile(r"[\x00-\x20\u200b-\u200f\u2060\ufeff]")


def always_shows(source: str, name: str) -> bool:
    """Tell whether the Jinja text *source* prints the dotted *name* whatever the values are."""
    return _all_ways(TEXT.parse(source).body, name)


def _all_ways(body: Sequence[nodes.Node], name: str) -> bool:
    return any(_shows(node, name) for node in body)


def _shows(node: nodes.Node, name: str) -> bool:
    if path_of(node) == name:
        return True
    match node:
        case nodes.Output():
            return _all_ways(node.nodes, name)
        case nodes.Filter():
            return node.node is not None and _shows(node.node, name)
        case nodes.FilterBlock() | nodes.With() | nodes.Scope():
            return _all_ways(node.body, name)
        case nodes.Concat():
            return _all_ways(node.nodes, name)
        case nodes.Or():
            return _shows(node.left, name)
        case nodes.CondExpr():
            return node.expr2 is not None and _shows(node.expr1, name) and _shows(node.expr2, name)
        case nodes.If():
            ways = [node.body, *(other.body for other in node.elif_), node.else_]
            return all(_all_ways(way, name) for way in ways)
        case _:
            return False


class Page(HTMLParser):
    """A rendered email as a mail program reads it: where its links lead, and what in it is not for mail."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.unsafe: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links of one element, and what it could do."""
        if tag in _ACTIVE:
            self.unsafe.append(f"<{tag}>")
        for name, value in attrs:
            text = value or ""
            if name.startswith("on"):
                self.unsafe.append(f"<{tag} {name}>")
            elif name in _LINKS:
                self._link(text)
            elif name == "srcset":
                for part in text.split(","):
                    self._link(part.split()[0] if part.split() else "")
            elif name == "style" and _STYLED.search(text):
                self.unsafe.append(f'<{tag} style="{text[:60]}">')

    def handle_comment(self, data: str) -> None:
        """Read what only some mail programs read."""
        if data.startswith("[if"):
            inner = Page(data.partition(">")[2].rpartition("<![endif]")[0])
            self.links += inner.links
            self.unsafe += inner.unsafe

    def _link(self, url: str) -> None:
        self.links.append(url)
        if not is_safe(_MEANING_NOTHING.sub("", url)):
            self.unsafe.append(url)
