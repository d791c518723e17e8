"""The two Jinja environments that emails are written for, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time, timedelta
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from nurture.domain.problems import Fault
from nurture.mail.rendering.email_file import Piece
from nurture.mail.rendering.link_rules import safe_link
from nurture.mail.rendering.template_bounds import (
    CONTAINERS,
    COUNTING,
    LARGEST,
    WORK,
    Counted,
    Counting,
    bounded,
    require_small,
    whole,
)

_KEPT: Final = (
    *("upper", "lower", "title", "capitalize", "trim", "replace", "truncate", "urlencode", "escape", "e"),
    *("first", "last", "length", "join", "round", "int", "float"),
)
_TESTS: Final = (
    *("defined", "undefined", "none", "boolean", "true", "false", "number", "integer", "float"),
    *("odd", "even", "string", "sequence"),
)
MOST_CHARACTERS: Final = 200_000
"""In one file: no mail program shows as much."""

MOST_TAGS: Final = 1_000
MOST_WORDS: Final = 15_000
"""Words, signs and blanks in the tags of one file: each takes time to read, long before it is rendered."""

DEEPEST: Final = 20
"""Blocks in blocks."""

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
    """Renders plain nested dicts: a field is a key, never a method; no loader, no functions, few filters.

    What one rendering may cost is bounded.
    """

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})
    context_class = Counted
    concat = staticmethod(whole)

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, undefined=StrictUndefined, loader=None, finalize=_shown)
        self.globals.clear()
        self.tests = {name: TESTS[name] for name in _TESTS}
        filters = {name: FILTERS[name] for name in _KEPT}
        ours = {"default": _default, "date": _date, "one_line": _one_line, "safe_link": safe_link}
        self.filters = {name: bounded(name, found) for name, found in (filters | ours).items()} | COUNTING

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read a field; a dict's own methods are out of reach, so a field may be called `items`."""
        if type(obj) is dict:
            try:
                return obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers and dates, and add text to text: a repeated one could fill the memory."""
        assert isinstance(context, Counted)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return context.weigh(context.weigh(left) + context.weigh(right))
        if (operator in "*%" or isinstance(left, _GROWS) or isinstance(right, _GROWS)) and not (
            isinstance(left, int | float) and isinstance(right, int | float)
        ):
            raise SecurityError(f"`{operator}` is for numbers only")
        found = super().call_binop(context, operator, left, right)
        require_small(found)
        return found

    def _generate(self, source: nodes.Template, *args: Any, **named: Any) -> str:
        counting: nodes.Template = Counting().visit(source)
        counting.set_environment(self)
        return super()._generate(counting, *args, **named)


_GROWS: Final = (str, *CONTAINERS)
_SHOWN: Final = (str, int, float, date, time, timedelta, *CONTAINERS, Undefined)


@pass_context
def _shown(context: Counted, value: Any) -> Any:
    if type(value) is str:  # nearly all are: this runs for each value in each email
        context.work += len(value)
        if context.work <= WORK:
            return value
    if value is None:
        return ""
    if not isinstance(value, _SHOWN):
        raise SecurityError(f"a {type(value).__name__} cannot be shown")
    return context.weigh(value)


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
    if len(piece.text) > MOST_CHARACTERS or piece.text.count("{{") + piece.text.count("{%") > MOST_TAGS:
        what = f"it has more than {MOST_CHARACTERS:,} characters or {MOST_TAGS:,} tags"
        return [Fault(piece.file, piece.line, what, "Shorten it")]
    try:
        if any(True for _ in islice(TEXT.lex(piece.text), MOST_WORDS, None)):
            what = f"its tags have more than {MOST_WORDS:,} words and signs"
            return [Fault(piece.file, piece.line, what, "Shorten them")]
        tree = TEXT.parse(piece.text)
        faults = [
            Fault(piece.file, piece.line + line - 1, what, instead) for line, what, instead in _wrong(tree)
        ]
        if not faults:
            TEXT.compile(piece.text)
    except TemplateSyntaxError as error:
        return [Fault(piece.file, piece.line + error.lineno - 1, *_explained(error.message or ""))]
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
        what = "a tag is too deep in others, or its number too long, to be read"
        return [Fault(piece.file, piece.line, what, "Write it more simply")]
    return faults


def _wrong(tree: nodes.Template) -> Iterator[tuple[int, str, str]]:
    """Yield the line of each thing that an email may not do, what it is and what to do instead."""
    for kind, what, instead in _REFUSED:
        for node in tree.find_all(kind):
            yield node.lineno, what, instead
    for name in tree.find_all(nodes.Name):
        if name.ctx == "store" and name.name.startswith("_"):
            yield name.lineno, f"the name `{name.name}` is kept for nurture", _RENAME
    for number in tree.find_all(nodes.Const):
        if isinstance(number.value, int) and abs(number.value) > LARGEST:
            yield number.lineno, f"a number is above {LARGEST:,}", "Write a smaller one"
    for made in tree.find_all((nodes.List, nodes.Tuple, nodes.Dict)):
        read = getattr(made, "ctx", "load") == "load"
        if read and not all(isinstance(part, nodes.Const | nodes.Pair) for part in made.iter_child_nodes()):
            yield made.lineno, "a list may hold only plain texts and numbers", "Write the values one by one"
    for pair in tree.find_all(nodes.Pair):
        if not isinstance(pair.value, nodes.Const):
            yield pair.lineno, "a dict may hold only plain texts and numbers", "Write the values one by one"
    for loop in tree.find_all(nodes.For):
        for nested in loop.find_all(nodes.For):
            yield nested.lineno, "a loop in a loop is not for emails", "Use `join`, or loop once"
    if _depth(tree) > DEEPEST:
        yield 1, f"there are more than {DEEPEST} blocks in one another", "Write it more simply"


def _depth(node: nodes.Node) -> int:
    inner = node.iter_child_nodes(only=("body", "else_", "elif_"))
    return isinstance(node, nodes.If | nodes.For | nodes.With) + max(map(_depth, inner), default=0)


def _explained(message: str) -> tuple[str, str]:
    """Turn Jinja's message into what is wrong and what to do."""
    if message.startswith("No filter named"):
        name = message.split("'")[1]
        filters = sorted(TEXT.filters.keys() - COUNTING.keys())
        near = get_close_matches(name, filters, n=1)
        known = f"Did you mean `{near[0]}`?" if near else f"Known filters: {', '.join(filters)}"
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
