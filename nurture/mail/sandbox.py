"""The two Jinja environments that emails are written for, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from difflib import get_close_matches
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nurture.domain.faults import Fault
from nurture.mail.links import safe_link
from nurture.mail.source import Piece

_KEPT: Final = (
    *("upper", "lower", "title", "capitalize", "trim", "replace", "truncate", "urlencode", "escape", "e"),
    *("first", "last", "length", "join", "round", "int", "float"),
)
_REFUSED: Final[tuple[tuple[type[nodes.Node], str, str], ...]] = (
    (nodes.Include, "`include` is not for emails", "Write the text here, or put it into the layout"),
    (nodes.Import, "`import` is not for emails", "Write the text here"),
    (nodes.FromImport, "`import` is not for emails", "Write the text here"),
    (nodes.Extends, "`extends` is not for emails", "Choose a layout with `layout:` in the front matter"),
    (nodes.Block, "`block` is not for emails", "Use the layout's slots"),
    (nodes.Macro, "`macro` is not for emails", "Write the text out"),
    (nodes.CallBlock, "`call` is not for emails", "Write the text out"),
    (
        nodes.FilterBlock,
        "`filter` blocks are not for emails",
        "Put the filter behind the value: {{ value | upper }}",
    ),
    (nodes.ScopedEvalContextModifier, "`autoescape` cannot be switched off", "Take the tag out"),
    (nodes.Call, "an email cannot call a function", "Use a filter: {{ value | upper }}"),
    (nodes.Pow, "`**` is not for emails", "Write the number"),
)
_RENAME: Final = "Choose a name without the underscore in front"


class PlainValues(ImmutableSandboxedEnvironment):
    """Renders plain nested dicts: a field is a key, never a method; no loader, no functions, few filters."""

    intercepted_binops = frozenset({"*", "%"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, undefined=StrictUndefined, loader=None, finalize=_shown)
        self.globals.clear()
        filters = {name: FILTERS[name] for name in _KEPT}
        self.filters = {
            **filters,
            "default": _default,
            "date": _date,
            "one_line": _one_line,
            "safe_link": safe_link,
        }

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read a field; a dict's own methods are out of reach, so a field may be called `items`."""
        if type(obj) is dict:
            try:
                return obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply numbers only: a repeated text could fill the memory."""
        if isinstance(left, int | float) and isinstance(right, int | float):
            return super().call_binop(context, operator, left, right)
        raise SecurityError(f"`{operator}` is for numbers only")


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _default(value: Any, instead: Any = "") -> Any:
    """Treat empty like missing: a lead without a first name has an empty one. An unknown name still fails."""
    return instead if value is None or value == "" else value


def _date(value: date, pattern: str = "") -> str:
    """Write a date; without a pattern as "4 March 2026"."""
    return value.strftime(pattern) if pattern else f"{value.day} {value:%B %Y}"


def _one_line(text: str, joint: str = ", ") -> str:
    return joint.join(line.strip().rstrip(",") for line in str(text).splitlines() if line.strip())


TEXT: Final = PlainValues(autoescape=False)
HTML: Final = PlainValues(autoescape=True)


def piece_faults(piece: Piece) -> list[Fault]:
    """Name what Jinja cannot read in *piece*, and what emails may not do."""
    try:
        tree = TEXT.parse(piece.text)
        TEXT.compile(piece.text, raw=True)
    except TemplateSyntaxError as error:
        return [Fault(piece.file, piece.line + error.lineno - 1, *_explained(error.message or ""))]
    return [
        Fault(piece.file, piece.line + node.lineno - 1, what, instead)
        for kind, what, instead in _REFUSED
        for node in tree.find_all(kind)
    ] + [
        Fault(
            piece.file, piece.line + node.lineno - 1, f"the name `{node.name}` is kept for nurture", _RENAME
        )
        for node in tree.find_all(nodes.Name)
        if node.ctx == "store" and node.name.startswith("_")
    ]


def _explained(message: str) -> tuple[str, str]:
    """Turn Jinja's message into what is wrong and what to do."""
    if message.startswith("No filter named"):
        name = message.split("'")[1]
        near = get_close_matches(name, TEXT.filters, n=1)
        known = f"Did you mean `{near[0]}`?" if near else f"Known filters: {', '.join(sorted(TEXT.filters))}"
        return f"there is no filter `{name}`", known
    return f"a tag cannot be read: {message.rstrip('.')}", "Check its braces, quotes and its `{% end... %}`"


def names_in(piece: Piece) -> Iterator[tuple[str, int]]:
    """Yield each dotted name that a faultless *piece* needs from outside, with its line."""
    tree = TEXT.parse(piece.text)
    roots = meta.find_undeclared_variables(tree)
    for name, line in _paths(tree):
        if name.partition(".")[0] in roots:
            yield name, piece.line + line - 1


def _paths(node: nodes.Node) -> Iterator[tuple[str, int]]:
    path = path_of(node)
    if path:
        yield path, node.lineno
        return
    for child in node.iter_child_nodes():
        yield from _paths(child)


def path_of(node: nodes.Node) -> str:
    """Return the dotted name that an expression is, "" if it is another one."""
    if isinstance(node, nodes.Name):
        return node.name
    key = node.attr if isinstance(node, nodes.Getattr) else None
    if (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and isinstance(node.arg.value, str)
    ):
        key = node.arg.value
    root = path_of(node.node) if key and isinstance(node, nodes.Getattr | nodes.Getitem) else ""
    return f"{root}.{key}" if root else ""
