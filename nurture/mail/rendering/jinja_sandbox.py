"""The Jinja environments for text and HTML of emails, and their restrictions."""

import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from itertools import islice
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from nurture.domain.problems import Problem
from nurture.errors import suggest
from nurture.mail.rendering.email_file import Piece
from nurture.mail.rendering.link_rules import safe_link
from nurture.mail.rendering.template_bounds import (
    CONTAINERS,
    MAX_COST,
    MAX_NUMBER,
    METERING_FILTERS,
    MeteredContext,
    MeteringTransformer,
    join_output,
    limit_filter,
    require_small_number,
)

_ALLOWED_FILTERS: Final = (
    *("upper", "lower", "title", "capitalize", "trim", "replace", "truncate", "urlencode", "escape", "e"),
    *("first", "last", "length", "join", "round", "int", "float"),
)
_ALLOWED_TESTS: Final = (
    *("defined", "undefined", "none", "boolean", "true", "false", "number", "integer", "float"),
    *("odd", "even", "string", "sequence"),
)
MAX_CHARACTERS: Final = 100_000
"""Characters in one file; Gmail cuts a mail off at 102 kB."""

MAX_TAGS: Final = 1_000
MAX_TOKENS: Final = 15_000
"""Tokens in the tags of one file: each costs time to parse, before any rendering."""

MAX_DEPTH: Final = 20
"""Levels of nested blocks."""

_FORBIDDEN_NODES: Final[tuple[tuple[type[nodes.Node], str, str], ...]] = (
    (
        nodes.Include,
        "`include` is not allowed in emails",
        'In the text, {% include "price" %} inserts snippets/price.md, which includes no other',
    ),
    (nodes.Import, "`import` is not allowed in emails", "Write the text here"),
    (nodes.FromImport, "`import` is not allowed in emails", "Write the text here"),
    (nodes.Extends, "`extends` is not allowed in emails", "Choose a layout with `layout:` in the front matter"),
    (nodes.Block, "`block` is not allowed in emails", "Use the layout's slots"),
    (nodes.Macro, "`macro` is not allowed in emails", "Write the text out"),
    (nodes.CallBlock, "`call` is not allowed in emails", "Write the text out"),
    (
        nodes.FilterBlock,
        "`filter` blocks are not allowed in emails",
        "Put the filter after the value: {{ value | upper }}",
    ),
    (nodes.ScopedEvalContextModifier, "`autoescape` cannot be turned off", "Remove the tag"),
    (nodes.Call, "an email cannot call a function", "Use a filter: {{ value | upper }}"),
    (nodes.Pow, "`**` is not allowed in emails", "Write the number"),
)
_RENAME_ADVICE: Final = "Choose a name without a leading underscore"


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Renders plain nested dicts: attributes are keys, never methods; no loader, no functions, few filters.

    The cost of a rendering is limited.
    """

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})
    context_class = MeteredContext
    concat = staticmethod(join_output)

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, undefined=StrictUndefined, loader=None, finalize=_finalize_value)
        self.globals.clear()
        self.tests = {name: TESTS[name] for name in _ALLOWED_TESTS}
        filters = {name: FILTERS[name] for name in _ALLOWED_FILTERS}
        custom_filters = {"default": _default, "date": _format_date, "one_line": _one_line, "safe_link": safe_link}
        self.filters = {
            name: limit_filter(name, filter_) for name, filter_ in (filters | custom_filters).items()
        } | METERING_FILTERS

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the key *attribute* of a dict, never a method, so that a field may be named `items`."""
        if isinstance(obj, dict):
            try:
                return obj[attribute]
            except KeyError:
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers and dates, and concatenate text; `*` on text could exhaust the memory."""
        assert isinstance(context, MeteredContext)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return context.charge_value(context.charge_value(left) + context.charge_value(right))
        if (operator in "*%" or isinstance(left, _GROWABLE_TYPES) or isinstance(right, _GROWABLE_TYPES)) and not (
            isinstance(left, int | float) and isinstance(right, int | float)
        ):
            raise SecurityError(f"`{operator}` is for numbers only")
        result = super().call_binop(context, operator, left, right)
        require_small_number(result)
        return result

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        metered: nodes.Template = MeteringTransformer().visit(source)
        metered.set_environment(self)
        return super()._generate(metered, *args, **kwargs)


_GROWABLE_TYPES: Final = (str, *CONTAINERS)
_PRINTABLE_TYPES: Final = (str, int, float, date, time, timedelta, *CONTAINERS, Undefined)


@pass_context
def _finalize_value(context: MeteredContext, value: Any) -> Any:
    if type(value) is str:  # the common case; this runs for each value of each email
        context.cost += len(value)
        if context.cost <= MAX_COST:
            return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, _PRINTABLE_TYPES):
        raise SecurityError(f"a {type(value).__name__} cannot be printed")
    return context.charge_value(value)


def _default(value: Any, fallback: Any = "") -> Any:
    """Return *fallback* for None and "", which a missing field is. An unknown name still fails."""
    return fallback if value is None or value == "" else value


@pass_context
def _format_date(context: Context, value: date | str, pattern: str = "") -> str:
    """Format a date, by default as "4 March 2026" in the language of the email; text that is no date stays as it is."""
    if isinstance(value, str):
        try:
            return _format_date(context, date.fromisoformat(value), pattern)
        except ValueError:
            return value
    language = str(context.get("_language") or "en")
    if not pattern and language != "en":
        from babel.dates import format_date  # noqa: PLC0415 - a tenth of a second, and rarely needed

        return str(format_date(value, "long", locale=language))
    return value.strftime(pattern) if pattern else f"{value.day} {value:%B %Y}"


def _one_line(text: str, joint: str = ", ") -> str:
    return joint.join(line.strip().rstrip(",") for line in str(text).splitlines() if line.strip())


TEXT: Final = TemplateSandbox(autoescape=False)
HTML: Final = TemplateSandbox(autoescape=True)


def find_template_problems(piece: Piece) -> list[Problem]:
    """Return syntax errors and forbidden constructs of *piece*."""
    if len(piece.text) > MAX_CHARACTERS or piece.text.count("{{") + piece.text.count("{%") > MAX_TAGS:
        message = f"it has more than {MAX_CHARACTERS:,} characters or {MAX_TAGS:,} tags"
        return [Problem(piece.file, piece.line, message, "Shorten it")]
    try:
        if any(True for _ in islice(TEXT.lex(piece.text), MAX_TOKENS, None)):
            message = f"its tags have more than {MAX_TOKENS:,} tokens"
            return [Problem(piece.file, piece.line, message, "Shorten them")]
        tree = TEXT.parse(piece.text)
        problems = [
            Problem(piece.file, piece.line + line - 1, message, suggestion)
            for line, message, suggestion in _find_forbidden(tree)
        ]
        if not problems:
            TEXT.compile(piece.text)
    except TemplateSyntaxError as error:
        return [Problem(piece.file, piece.line + error.lineno - 1, *_explain_syntax_error(error.message or ""))]
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError):
        message = "a tag is nested too deep, or has a number that is too long"
        return [Problem(piece.file, piece.line, message, "Simplify it")]
    return problems


def _find_forbidden(tree: nodes.Template) -> Iterator[tuple[int, str, str]]:
    """Yield line, message and remedy for each forbidden construct."""
    for kind, message, suggestion in _FORBIDDEN_NODES:
        for node in tree.find_all(kind):
            yield node.lineno, message, suggestion
    for name in tree.find_all(nodes.Name):
        if name.ctx == "store" and name.name.startswith("_"):
            yield name.lineno, f"the name `{name.name}` is reserved", _RENAME_ADVICE
    for number in tree.find_all(nodes.Const):
        if isinstance(number.value, int) and abs(number.value) > MAX_NUMBER:
            yield number.lineno, f"a number is above {MAX_NUMBER:,}", "Use a smaller one"
    for container in tree.find_all((nodes.List, nodes.Tuple, nodes.Dict)):
        is_loaded = getattr(container, "ctx", "load") == "load"
        if is_loaded and not all(isinstance(part, nodes.Const | nodes.Pair) for part in container.iter_child_nodes()):
            yield (container.lineno, "a list may contain only strings and numbers", "Write the values one by one")
    for pair in tree.find_all(nodes.Pair):
        if not isinstance(pair.value, nodes.Const):
            yield pair.lineno, "a dict may contain only strings and numbers", "Write the values one by one"
    for loop in tree.find_all(nodes.For):
        for nested in loop.find_all(nodes.For):
            yield nested.lineno, "a nested loop is not allowed in emails", "Use `join`, or loop once"
    if _depth(tree) > MAX_DEPTH:
        yield 1, f"there are more than {MAX_DEPTH} nested blocks", "Simplify it"


def _depth(node: nodes.Node) -> int:
    inner = node.iter_child_nodes(only=("body", "else_", "elif_"))
    return isinstance(node, nodes.If | nodes.For | nodes.With) + max(map(_depth, inner), default=0)


def _explain_syntax_error(message: str) -> tuple[str, str]:
    """Return message and remedy for a message of Jinja."""
    if message.startswith("No filter named"):
        name = message.split("'")[1]
        return f"there is no filter `{name}`", suggest(name, TEXT.filters.keys() - METERING_FILTERS.keys())
    if (odd := re.match(r"unexpected char '([\u2018-\u201f\u00ab\u00bb])'", message)) is not None:
        what = f"a tag has the typographic quote {odd[1]}, as word processors write it"
        return what, 'Write straight quotes: {{ lead.first_name or "there" }}'
    remedy = "Check its braces, quotes and its `{% end... %}`"
    if "end of print statement" in message:
        remedy = 'Fields are written like this: {{ lead.first_name or "there" }}'
    return f"a tag is invalid: {message.rstrip('.')}", remedy


def find_names(piece: Piece) -> Iterator[tuple[str, int]]:
    """Yield each dotted name that a valid *piece* needs as a value, with its line."""
    tree = TEXT.parse(piece.text)
    roots = meta.find_undeclared_variables(tree)
    for name, line in _find_paths(tree):
        if name.partition(".")[0] in roots:
            yield name, piece.line + line - 1


def _find_paths(node: nodes.Node) -> Iterator[tuple[str, int]]:
    path = dotted_name(node)
    if path:
        yield path, node.lineno
        return
    for child in node.iter_child_nodes():
        yield from _find_paths(child)


def find_compared_values(piece: Piece) -> Iterator[tuple[str, Any, int]]:
    """Yield each name that a valid *piece* compares with a value, `==` or `!=`, with the value and the line."""
    for comparison in TEXT.parse(piece.text).find_all(nodes.Compare):
        name = dotted_name(comparison.expr)
        for operand in comparison.ops:
            values = operand.expr.items if isinstance(operand.expr, nodes.List | nodes.Tuple) else [operand.expr]
            if name and operand.op in ("eq", "ne", "in", "notin"):
                for value in values:
                    if isinstance(value, nodes.Const):
                        yield name, value.value, piece.line + comparison.lineno - 1


def dotted_name(node: nodes.Node) -> str:
    """Return an expression as a dotted name, or "" if it is none."""
    if isinstance(node, nodes.Name):
        return node.name
    key = node.attr if isinstance(node, nodes.Getattr) else None
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        key = node.arg.value
    root = dotted_name(node.node) if key and isinstance(node, nodes.Getattr | nodes.Getitem) else ""
    return f"{root}.{key}" if root else ""
