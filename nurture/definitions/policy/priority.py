"""`pace:` in templates/sales/policy.yaml: who jumps the queue, and when tracks stop asking for more."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.schema_check import Shape, Wrong, read_shape
from nurture.definitions.values import Names, PositiveSpan
from nurture.definitions.yaml_reader import Node, Reading, nearest
from nurture.domain.routing.priority import HOT_POINTS, Pace

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?) *%")
_DAY: Final = timedelta(days=1)


def read_percent(given: Any) -> float:
    """Read "90%" as 0.9."""
    found = _PERCENT.fullmatch(str(given).strip())
    if found is None or not 0 < float(found[1]) <= 1_000:
        raise Wrong(f"`{given}` is not a share of a day's places", "Write for example `90%`.")
    return float(found[1]) / 100


class PaceShape(Shape):
    """What stands under `pace:`."""

    hot: Names = Field((), examples=["[replied, asked-for-demo]"])
    age: PositiveSpan = Field(_DAY, examples=["1 day"])
    fit: dict[str, int] = Field(default_factory=dict, examples=["{A: 3, B: 2, C: 1}"])
    hold_calls_to_action_at: Annotated[float, PlainValidator(read_percent)] | None = Field(
        None, examples=["90%"]
    )


def read_pace(node: Node | None, rules: Collection[str], letters: Collection[str], reading: Reading) -> Pace:
    """Read `pace:`; *rules* are the names of what hands leads off, *letters* those that fit rules give."""
    shape = None if node is None else read_shape(PaceShape, node, reading, "`pace`")
    if shape is None or node is None:
        return Pace()
    for name in shape.hot:
        if name not in rules:
            what = f"no rule named `{name}` hands leads off"
            reading.fault(node.parts["hot"], what, nearest(name, rules))
    for letter, points in shape.fit.items():
        if letter not in letters:
            what = f"no rule gives the letter `{letter}`"
            reading.fault(node.parts["fit"], what, nearest(letter, letters, "Write `fit:` with its rule."))
        if not 0 <= points < HOT_POINTS:
            what = f"`{letter}: {points}` is out of bounds; being hot is worth {HOT_POINTS}"
            reading.fault(node.parts["fit"], what, f"Write 0 to {HOT_POINTS - 1}.")
    return Pace(frozenset(shape.hot), shape.age, shape.fit, shape.hold_calls_to_action_at)
