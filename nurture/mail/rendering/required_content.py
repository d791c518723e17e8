"""Check that an email always prints required names, and that its HTML is safe."""

import re
from collections.abc import Sequence
from functools import lru_cache
from html.parser import HTMLParser
from typing import Final

from jinja2 import nodes

from nurture.mail.rendering.jinja_sandbox import TEXT, dotted_name
from nurture.mail.rendering.link_rules import is_safe_url

_URL_ATTRIBUTES: Final = frozenset(
    {"href", "src", "action", "formaction", "background", "poster", "data", "cite", "xlink:href", "ping"}
)
_ACTIVE_TAGS: Final = frozenset({"script", "iframe", "object", "embed", "applet", "base", "frame"})
_UNSAFE_STYLE: Final = re.compile(
    r"expression\s*\(|url\(\s*['\"]?\s*(?!https?://)[a-z]|@import|(?<![-\w])behavior:", re.IGNORECASE
)
_IGNORED_CHARACTERS: Final = re.compile(r"[\x00-\x20\u200b-\u200f\u2060\ufeff]")


@lru_cache(maxsize=128)
def always_prints(source: str, name: str) -> bool:
    """Return whether the Jinja text *source* prints the dotted *name* for any values."""
    return _body_prints(TEXT.parse(source).body, name)


def _body_prints(body: Sequence[nodes.Node], name: str) -> bool:
    return any(_node_prints(node, name) for node in body)


def _node_prints(node: nodes.Node, name: str) -> bool:
    if dotted_name(node) == name:
        return True
    match node:
        case nodes.Output():
            return _body_prints(node.nodes, name)
        case nodes.Filter():
            return node.node is not None and _node_prints(node.node, name)
        case nodes.FilterBlock() | nodes.With() | nodes.Scope():
            return _body_prints(node.body, name)
        case nodes.Concat():
            return _body_prints(node.nodes, name)
        case nodes.Or():
            return _node_prints(node.left, name)
        case nodes.CondExpr():
            return node.expr2 is not None and _node_prints(node.expr1, name) and _node_prints(node.expr2, name)
        case nodes.If():
            branches = [node.body, *(other.body for other in node.elif_), node.else_]
            return all(_body_prints(branch, name) for branch in branches)
        case _:
            return False


class RenderedPage(HTMLParser):
    """The links of a rendered email, and its unsafe elements, attributes and URLs."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.unsafe: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record links and unsafe parts of an element."""
        if tag in _ACTIVE_TAGS:
            self.unsafe.append(f"<{tag}>")
        for name, value in attrs:
            text = value or ""
            if name.startswith("on"):
                self.unsafe.append(f"<{tag} {name}>")
            elif name in _URL_ATTRIBUTES:
                self._record_link(text)
            elif name == "srcset":
                for part in text.split(","):
                    self._record_link(part.split()[0] if part.split() else "")
            elif name == "style" and _UNSAFE_STYLE.search(text):
                self.unsafe.append(f'<{tag} style="{text[:60]}">')

    def handle_comment(self, data: str) -> None:
        """Parse conditional comments, which Outlook renders."""
        if data.startswith("[if"):
            inner = RenderedPage(data.partition(">")[2].rpartition("<![endif]")[0])
            self.links += inner.links
            self.unsafe += inner.unsafe

    def _record_link(self, url: str) -> None:
        self.links.append(url)
        if not is_safe_url(_IGNORED_CHARACTERS.sub("", url)):
            self.unsafe.append(url)
