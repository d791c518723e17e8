"""Read `agreement:` of templates/sales/policy.yaml: the duties of marketing and sales, and when they are reviewed."""

import re
from typing import Any, Final

from pydantic import Field

from nurture.definitions.schema_check import Shape, read_shape
from nurture.definitions.values import Day
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.policy.agreement import Agreement, Duty

_LIMIT: Final = re.compile(r"at (least|most) (\d+(?:\.\d+)?) ?%")
_MEASURE: Final = re.compile(r"R\d+(-[a-z0-9]+)?")
SIDES: Final = ("marketing", "sales")


class AgreementShape(Shape):
    """The keys under `agreement:`."""

    review_on: Day = Field(examples=["2026-07-15"])
    marketing: dict[str, Any] = Field(default_factory=dict, examples=["{R1: at most 5 %}"])
    sales: dict[str, Any] = Field(default_factory=dict, examples=["{R18: at least 90 %}"])


def read_agreement(node: Node | None, context: ParseContext) -> Agreement | None:
    """Read `agreement:`, None without it."""
    shape = read_shape(AgreementShape, node, context, "`agreement`")
    if shape is None or node is None:
        return None
    duties = []
    for side in SIDES:
        for measure, given in getattr(shape, side).items():
            limit = _LIMIT.fullmatch(str(given).strip())
            if limit is None or _MEASURE.fullmatch(str(measure)) is None:
                what = f"`{measure}: {given}` is not a measure and its limit"
                context.add_problem(node.parts[side], what, "Write for example `R18: at least 90 %`.")
                continue
            duties.append(Duty(side, str(measure), float(limit[2]) / 100, limit[1] == "least"))
    return Agreement(shape.review_on, tuple(duties))
