"""Bound what a template can cost: the size of its texts, the rounds of its loops, and its work in all.

Everything that can grow is counted where it grows, so a rendering ends after the same work on every machine,
whatever the template says. Whatever is too much raises SecurityError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from operator import attrgetter
from typing import Any, Final

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined, markup_join, str_join
from jinja2.utils import _PassArg
from jinja2.visitor import NodeTransformer
from markupsafe import escape

LONGEST: Final = 1_000_000
"""Characters in one text."""

PART: Final = 4 * LONGEST
"""Characters in a part of an email while it is written. Whoever composes it asks for less."""

WORK: Final = 5_000_000
"""Characters read or made in one rendering; a tag that a loop passes counts as STEP of them."""

STEP: Final = 25

ROUNDS: Final = 10_000
"""Rounds of all loops in one rendering."""

LARGEST: Final = 10**15
ARGUMENT: Final = 1_000
"""Characters in an argument of a filter: `trim` and `replace` take the product of both lengths."""

CONTAINERS: Final = (list, tuple, dict)
DIGITS: Final = 15
"""Places that `round` rounds to."""

JOINED, LOOPED, READ = " joined", " looped", " read"
"""Filters that stand for `~`, for a loop's start and for reading a text. No template can name them."""


class Counted(Context):
    """The state of one rendering, and what it has cost so far."""

    work = 0
    rounds = 0

    def spend(self, amount: int) -> None:
        """Add *amount* to the work. Raises SecurityError when that is more than an email may cost."""
        self.work += amount
        if self.work > WORK:
            raise SecurityError("it works through too much text; shorten its texts or its loops")

    def weigh(self, value: Any) -> Any:
        """Return *value*, once its size is found to be small enough and added to the work."""
        if isinstance(value, str):
            length = len(value)
            if length > LONGEST:
                _require(length)
            self.work += length  # as `spend` does: this runs for every value of every email
            if self.work > WORK:
                self.spend(0)
        elif isinstance(value, CONTAINERS):
            self.spend(len(str(value)))
        return value


def _require(length: int) -> None:
    if length > LONGEST:
        raise SecurityError(f"a text would have more than {LONGEST:,} characters; shorten it")


def require_small(number: Any) -> None:
    """Raise SecurityError for a whole number that no email needs: arithmetic on long ones takes forever."""
    if isinstance(number, int) and abs(number) > LARGEST:
        raise SecurityError(f"a number is above {LARGEST:,}; write a smaller one")


def bounded(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return *filter_* as one that refuses what would grow too large, before it grows."""
    before = _BEFORE.get(name)
    reads = name in _SHORTENING
    first = _FIRST[_PassArg.from_obj(filter_)]

    @pass_context
    def call(context: Counted, value: Any, *args: Any, **named: Any) -> Any:
        if reads:
            context.weigh(value)
        if args or named:
            for given in (*args, *named.values()):
                if isinstance(given, str) and len(given) > ARGUMENT and name != "default":
                    raise SecurityError(f"`{name}` is given more than {ARGUMENT:,} characters; shorten them")
        if before is not None:
            before(value, *args, **named)
        if first is None:
            found = filter_(value, *args, **named)
        else:
            found = filter_(first(context), value, *args, **named)
        if found is not value:
            require_small(found)
            context.weigh(found)
        return found

    return call


_FIRST: Final[Mapping[_PassArg | None, Callable[[Context], Any] | None]] = {
    None: None,
    _PassArg.context: lambda context: context,
    _PassArg.eval_context: attrgetter("eval_ctx"),
    _PassArg.environment: attrgetter("environment"),
}
"""What Jinja's own filters ask for in front of the value."""


def _before_replace(text: Any, old: Any, new: Any, count: int | None = None) -> None:
    text, old, new = str(text), str(old), str(escape(new))
    times = text.count(old) if count is None else min(text.count(old), count)
    _require(len(text) + times * (len(new) - len(old)))


def _before_join(items: Iterable[Any], joint: Any = "", attribute: str | int | None = None) -> None:
    del attribute
    if isinstance(items, Sequence):
        joints = (len(items) - 1) * len(str(joint))
        _require(joints + (len(items) if isinstance(items, str) else sum(map(_length, items))))


def _before_one_line(text: Any, joint: Any = ", ") -> None:
    _require(len(str(text).splitlines()) * len(str(joint)))


def _before_round(number: Any, precision: Any = 0, method: Any = "common") -> None:
    del method
    if isinstance(number, Undefined):
        return
    if not isinstance(number, int | float) or not isinstance(precision, int) or abs(precision) > DIGITS:
        raise SecurityError(f"`round` is for numbers, and for at most {DIGITS} places")


_BEFORE: Final[dict[str, Callable[..., None]]] = {
    "replace": _before_replace,
    "join": _before_join,
    "one_line": _before_one_line,
    "round": _before_round,
}


_SHORTENING: Final = frozenset({"trim", "replace", "truncate", "join", "one_line", "int", "float"})
"""Filters that may read much more than they return: of the others the result says what they cost."""


def _length(value: Any) -> int:
    return 0 if isinstance(value, Undefined) else len(value if isinstance(value, str) else str(value))


@pass_context
def _joined(context: Counted, values: Sequence[Any]) -> Any:
    total = sum(map(_length, values))
    _require(total)
    context.spend(total)
    return markup_join(values) if context.eval_ctx.autoescape else str_join(values)


@pass_context
def _looped(context: Counted, items: Any, weight: int) -> Any:
    if isinstance(items, Sized) and not isinstance(items, Undefined):
        context.rounds += len(items)
        if context.rounds > ROUNDS:
            raise SecurityError(f"its loops have more than {ROUNDS:,} rounds; shorten their lists")
        context.spend(len(items) * weight * STEP)
    return items


@pass_context
def _read(context: Counted, value: Any) -> Any:
    return context.weigh(value)


COUNTING: Final[dict[str, Callable[..., Any]]] = {JOINED: _joined, LOOPED: _looped, READ: _read}
"""The filters that templates cannot name."""


def whole(parts: Iterable[str]) -> str:
    """Put what a template writes together: parts whose texts were weighed. Raises SecurityError."""
    written = list(parts)
    if sum(map(len, written)) > PART:
        raise SecurityError(f"it writes more than {PART:,} characters; shorten it")
    return "".join(written)


class Counting(NodeTransformer):
    """Makes each `~`, loop, comparison and slice of a template say what it costs."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - Jinja names it
        """Join the texts by a filter that looks at their lengths first."""
        self.generic_visit(node)
        return _through(JOINED, nodes.Tuple(node.nodes, "load", lineno=node.lineno))

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Count the rounds of a loop, each as heavy as the tags in it."""
        weight = sum(1 for part in node.body for _ in part.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _through(LOOPED, node.iter, nodes.Const(weight, lineno=node.lineno))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Count what is compared."""
        self.generic_visit(node)
        node.expr = _through(READ, node.expr)
        for operand in node.ops:
            operand.expr = _through(READ, operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Count what is copied."""
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through(READ, node.node)
        return node


def _through(name: str, value: Any, *args: nodes.Expr) -> nodes.Filter | nodes.Const:
    if name == READ and isinstance(value, nodes.Const):
        return value
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)
