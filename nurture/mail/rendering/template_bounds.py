"""Limit the cost of rendering a template: text sizes, loop iterations and total work.

Work is counted, not timed, so that a rendering fails at the same point on every machine. Exceeding a limit raises
SecurityError.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from operator import attrgetter
from typing import Any, Final

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined, markup_join, str_join
from jinja2.utils import _PassArg
from jinja2.visitor import NodeTransformer
from markupsafe import escape

MAX_TEXT: Final = 1_000_000
"""Characters in one text."""

MAX_OUTPUT: Final = 4 * MAX_TEXT
"""Characters in a part of an email during rendering. The limit of a composed email is lower."""

MAX_COST: Final = 5_000_000
"""Characters read or written in one rendering; each tag in a loop iteration counts as COST_PER_ITERATION."""

COST_PER_ITERATION: Final = 25
COST_PER_WORD: Final = 10
"""Cost of each character of a filter that handles a text word by word: the words may have one letter each."""

MAX_ITERATIONS: Final = 10_000
"""Iterations of all loops in one rendering."""

MAX_NUMBER: Final = 10**15
MAX_ARGUMENT: Final = 1_000
"""Characters in an argument of a filter: the cost of `trim` and `replace` is the product of both lengths."""

CONTAINERS: Final = (list, tuple, dict)
MAX_DIGITS: Final = 15
"""The maximum precision of `round`."""

JOIN_FILTER, LOOP_FILTER, READ_FILTER = " joined", " looped", " read"
"""Filters inserted for `~`, for loops and for reading a text. Templates cannot name them."""


class LimitExceeded(SecurityError):
    """A template or a value in it exceeds a limit."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


class MeteredContext(Context):
    """The context of one rendering, with its cost so far."""

    cost = 0
    iterations = 0

    def charge(self, amount: int) -> None:
        """Add *amount* to the cost. Raises LimitExceeded above MAX_COST."""
        self.cost += amount
        if self.cost > MAX_COST:
            raise LimitExceeded("it processes too much text", "shorten its texts or its loops")

    def charge_value(self, value: Any) -> Any:
        """Add the size of *value* to the cost and return it. Raises LimitExceeded if it is too large."""
        if isinstance(value, str):
            length = len(value)
            if length > MAX_TEXT:
                _require_length(length)
            self.cost += length  # inlined from `charge`: this runs for every value of every email
            if self.cost > MAX_COST:
                self.charge(0)
        elif isinstance(value, CONTAINERS):
            self.charge(len(str(value)))
        return value


def _require_length(length: int) -> None:
    if length > MAX_TEXT:
        raise LimitExceeded(f"a text would have more than {MAX_TEXT:,} characters", "shorten it")


def require_small_number(number: Any) -> None:
    """Raise SecurityError for an integer above MAX_NUMBER: arithmetic on huge integers is slow."""
    if isinstance(number, int) and abs(number) > MAX_NUMBER:
        raise LimitExceeded(f"a number is above {MAX_NUMBER:,}", "use a smaller one")


def limit_filter(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return *filter_* with limits that are checked before it runs, where possible."""
    precheck = _PRECHECKS.get(name)
    charges_input = name in _CHARGED_BY_INPUT
    charges_words = name in _CHARGED_PER_WORD
    pass_argument = _PASS_ARGUMENTS[_PassArg.from_obj(filter_)]

    @pass_context
    def call(context: MeteredContext, value: Any, *args: Any, **kwargs: Any) -> Any:
        if charges_input:
            context.charge_value(value)
        if args or kwargs:
            for argument in (*args, *kwargs.values()):
                if isinstance(argument, str) and len(argument) > MAX_ARGUMENT and name != "default":
                    raise LimitExceeded(
                        f"an argument of `{name}` has more than {MAX_ARGUMENT:,} characters", "shorten it"
                    )
        if precheck is not None:
            precheck(value, *args, **kwargs)
        if pass_argument is None:
            result = filter_(value, *args, **kwargs)
        else:
            result = filter_(pass_argument(context), value, *args, **kwargs)
        if result is not value:
            require_small_number(result)
            context.charge_value(result)
            if charges_words and isinstance(result, str):
                context.charge(len(result) * (COST_PER_WORD - 1))
        return result

    return call


_PASS_ARGUMENTS: Final[Mapping[_PassArg | None, Callable[[Context], Any] | None]] = {
    None: None,
    _PassArg.context: lambda context: context,
    _PassArg.eval_context: attrgetter("eval_ctx"),
    _PassArg.environment: attrgetter("environment"),
}
"""The argument that some of Jinja's filters take before the value."""


def _check_replace(text: Any, old: Any, new: Any, count: int | None = None) -> None:
    text, old, new = str(text), str(old), str(escape(new))
    times = text.count(old) if count is None else min(text.count(old), count)
    _require_length(len(text) + times * (len(new) - len(old)))


def _check_join(items: Iterable[Any], joint: Any = "", attribute: str | int | None = None) -> None:
    del attribute
    if isinstance(items, Sequence):
        joints = (len(items) - 1) * len(str(joint))
        _require_length(joints + (len(items) if isinstance(items, str) else sum(map(_length, items))))


def _check_one_line(text: Any, joint: Any = ", ") -> None:
    _require_length(len(str(text).splitlines()) * len(str(joint)))


def _check_round(number: Any, precision: Any = 0, method: Any = "common") -> None:
    del method
    if isinstance(number, Undefined):
        return
    if not isinstance(number, int | float) or not isinstance(precision, int) or abs(precision) > MAX_DIGITS:
        raise SecurityError(f"`round` takes a number and a precision of at most {MAX_DIGITS}")


_PRECHECKS: Final[dict[str, Callable[..., None]]] = {
    "replace": _check_replace,
    "join": _check_join,
    "one_line": _check_one_line,
    "round": _check_round,
}


_CHARGED_BY_INPUT: Final = frozenset({"trim", "replace", "truncate", "join", "one_line", "int", "float"})
"""Filters that may read much more than they return; the others are charged for their result only."""

_CHARGED_PER_WORD: Final = frozenset({"title"})


def _length(value: Any) -> int:
    return 0 if isinstance(value, Undefined) else len(value if isinstance(value, str) else str(value))


@pass_context
def _join(context: MeteredContext, values: Sequence[Any]) -> Any:
    total = sum(map(_length, values))
    _require_length(total)
    context.charge(total)
    return markup_join(values) if context.eval_ctx.autoescape else str_join(values)


@pass_context
def _charge_loop(context: MeteredContext, items: Any, weight: int) -> Any:
    if isinstance(items, Sized) and not isinstance(items, Undefined):
        context.iterations += len(items)
        if context.iterations > MAX_ITERATIONS:
            raise LimitExceeded(f"its loops have more than {MAX_ITERATIONS:,} iterations", "shorten their lists")
        context.charge(len(items) * weight * COST_PER_ITERATION)
    return items


@pass_context
def _charge_read(context: MeteredContext, value: Any) -> Any:
    return context.charge_value(value)


METERING_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    JOIN_FILTER: _join,
    LOOP_FILTER: _charge_loop,
    READ_FILTER: _charge_read,
}
"""Filters that templates cannot name."""


def join_output(parts: Iterable[str]) -> str:
    """Join the output of a template. Raises LimitExceeded above MAX_OUTPUT."""
    chunks = list(parts)
    if sum(map(len, chunks)) > MAX_OUTPUT:
        raise LimitExceeded(f"it writes more than {MAX_OUTPUT:,} characters", "shorten it")
    return "".join(chunks)


class MeteringTransformer(NodeTransformer):
    """Inserts filters that charge for each `~`, loop, comparison and slice of a template."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802 - named by Jinja
        """Join with a filter that checks the lengths first."""
        self.generic_visit(node)
        return _apply_filter(JOIN_FILTER, nodes.Tuple(node.nodes, "load", lineno=node.lineno))

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Charge for each iteration, weighted by the tags in the loop."""
        weight = sum(1 for part in node.body for _ in part.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _apply_filter(LOOP_FILTER, node.iter, nodes.Const(weight, lineno=node.lineno))
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Charge for the compared values."""
        self.generic_visit(node)
        node.expr = _apply_filter(READ_FILTER, node.expr)
        for operand in node.ops:
            operand.expr = _apply_filter(READ_FILTER, operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Charge for the value that a slice copies."""
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _apply_filter(READ_FILTER, node.node)
        return node


def _apply_filter(name: str, value: Any, *args: nodes.Expr) -> nodes.Filter | nodes.Const:
    if name == READ_FILTER and isinstance(value, nodes.Const):
        return value
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)
