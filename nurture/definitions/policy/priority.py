"""Read `priority:` of templates/sales/policy.yaml: hot leads, aging, and when tracks hold calls to action."""

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.schema_check import InvalidValue, Shape, read_shape
from nurture.definitions.values import Names, PositiveSpan
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.routing.priority import HOT_POINTS, PriorityPolicy
from nurture.errors import suggest

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?) *%")
_DAY: Final = timedelta(days=1)


def read_share(given: Any) -> float:
    """Read "90%" as 0.9."""
    found = _PERCENT.fullmatch(str(given).strip())
    if found is None or not 0 < float(found[1]) <= 1_000:
        raise InvalidValue(f"`{given}` is not a percentage of the daily capacity", "Write for example `90%`.")
    return float(found[1]) / 100


class PriorityShape(Shape):
    """The keys under `priority:`."""

    hot: Names = Field((), examples=["[replied, asked-for-demo]"])
    aging_interval: PositiveSpan = Field(_DAY, examples=["1 day"])
    fit: dict[str, int] = Field(default_factory=dict, examples=["{A: 3, B: 2, C: 1}"])
    hold_calls_to_action_at: Annotated[float, PlainValidator(read_share)] | None = Field(None, examples=["90%"])


def read_priority(
    node: Node | None, rules: Collection[str], letters: Collection[str], context: ParseContext
) -> PriorityPolicy:
    """Read `priority:`; *rules* are the names of hand-off rules, *letters* those of the fit rules."""
    shape = read_shape(PriorityShape, node, context, "`priority`")
    if shape is None or node is None:
        return PriorityPolicy()
    for name in shape.hot:
        if name not in rules:
            what = f"no hand-off rule is named `{name}`"
            context.add_problem(node.parts["hot"], what, suggest(name, rules))
    for letter, points in shape.fit.items():
        if letter not in letters:
            what = f"no rule gives the letter `{letter}`"
            context.add_problem(node.parts["fit"], what, suggest(letter, letters, "Write `fit:` with its rule."))
        if not 0 <= points < HOT_POINTS:
            what = f"`{letter}: {points}` is out of range: a hot lead has {HOT_POINTS} points"
            context.add_problem(node.parts["fit"], what, f"Write 0 to {HOT_POINTS - 1}.")
    return PriorityPolicy(frozenset(shape.hot), shape.aging_interval, shape.fit, shape.hold_calls_to_action_at)
