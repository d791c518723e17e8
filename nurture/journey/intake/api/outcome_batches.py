"""Batches of outcomes that programs post: how leads ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from operator import attrgetter
from typing import Any, Final, NamedTuple

from nurture.domain.lead import Closing
from nurture.formats.lead_item import WrongItem
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.batches import (
    SOURCE,
    Taken,
    Wrong,
    moment_of,
    name_of,
    needed,
    only_fields,
    text_of,
)
from nurture.journey.intake.api.queries import Name
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import Telling
from nurture.runtime.context import House

FIELDS: Final = {"lead": 0, "closing": 40, "happened_at": 64, "amount": 0, "reason": 300, "id": 200}
"""The fields of an outcome, and how many characters each may have."""

COUNTS: Final = ("closed", "completed", "same", "contradicts", "known")
LARGEST: Final = 1e12
_REASONED: Final = (Closing.LOST, Closing.DISCARDED)
_WHAT: Final = "An outcome"


class _Deal(NamedTuple):
    """An outcome before its lead is found. *place* is where it stands in the batch."""

    place: int
    name: Name
    telling: Telling


def post_outcomes(house: House, items: Sequence[object], now: datetime) -> Taken:
    """Take in the outcomes of a batch; repeats count once, bad ones stop no others."""
    done = Taken(len(items))
    deals: list[_Deal] = []
    for index, item in enumerate(items):
        try:
            deals.append(_deal(index, item, now))
        except WrongItem as wrong:
            done.rejected.append(Wrong(index, wrong.field, wrong.reason, wrong.remedy))
    with house.database.read() as connection:
        found = queries.named(house.database, connection, [deal.name for deal in deals])
    told: list[Telling] = []
    for at, deal in enumerate(deals):
        lead_id = found.get(at)
        if lead_id is None:
            remedy = "Check how it is written, or send it to /api/leads first."
            done.rejected.append(Wrong(deal.place, "lead", "No lead is known by this name.", remedy))
        else:
            told.append(deal.telling._replace(lead_id=lead_id))
    done.accepted = len(told)
    done.counts = outcomes.counted(outcomes.tell(house, told, SOURCE, now))
    done.rejected.sort(key=attrgetter("index"))
    return done


def _deal(index: int, item: object, now: datetime) -> _Deal:
    if not isinstance(item, Mapping):
        raise WrongItem("", f"{_WHAT} is an object.", "Give it lead, closing and happened_at.")
    only_fields(item, FIELDS, "", _WHAT)
    name = name_of(item.get("lead"))
    text = {field: text_of(item, field, most) for field, most in FIELDS.items() if most}
    said = needed(text, "closing", _WHAT)
    known = [closing.value for closing in Closing]
    if said not in known:
        raise WrongItem("closing", f"{said!r} is no outcome.", f"Write one of {', '.join(known)}.")
    closing = Closing(said)
    at = moment_of(needed(text, "happened_at", _WHAT), now, "happened_at", "nurture handoffs outcomes import")
    if closing in _REASONED and not text["reason"]:
        raise WrongItem("reason", f"A lead that is {closing.value} has a reason.", "Say why.")
    amount = _amount(item, closing)
    telling = Telling(0, closing, min(at, now), amount, text["reason"] or "", text["id"] or "")
    return _Deal(index, name, telling)


def _amount(item: Mapping[str, Any], closing: Closing) -> float | None:
    value = item.get("amount")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise WrongItem("amount", "The amount is not a number.", "Write it as 12500.50, without a currency.")
    if not 0 <= value <= LARGEST:
        raise WrongItem("amount", f"{value} is no amount of a deal.", "Write a number from 0 on.")
    if closing is not Closing.WON:
        raise WrongItem("amount", "An amount belongs to a deal that is won.", "Leave it out.")
    return float(value)
