"""What users of a practice world do: move its clock forward."""

from datetime import timedelta
from typing import Final

from nurture.console.actions import Action, Call, Field, FieldKind, ObjectKind
from nurture.console.lead_actions import MARKETING, SALES
from nurture.errors import InvalidState

SPANS: Final = {"1 hour": timedelta(hours=1), "1 day": timedelta(days=1), "1 week": timedelta(weeks=1)}
WORLD: Final = "world"


def _move_clock(call: Call) -> str:
    if call.move_clock is None:
        raise InvalidState(
            "Only the clock of a practice world can be moved, and only here if `nurture practice console` opened it."
        )
    span = SPANS.get(call.values["span"])
    if span is None:
        raise InvalidState(f"{call.values['span'][:20]!r} is no span.", f"Choose one of: {', '.join(SPANS)}.")
    return call.move_clock(span)


CLOCK_ACTIONS: Final = (
    Action(
        "move_clock",
        "Move the clock forward",
        MARKETING | SALES,
        ObjectKind.CLOCK,
        _move_clock,
        (Field("span", "By", FieldKind.CHOICE, tuple(SPANS)),),
        in_own_transactions=True,
    ),
)
