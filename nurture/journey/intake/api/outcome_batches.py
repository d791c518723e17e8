"""Batches of outcomes posted to the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from operator import attrgetter
from typing import Any, Final, NamedTuple

from nurture.domain.lead import Closing
from nurture.formats.lead_item import InvalidItem
from nurture.journey.intake.api import queries
from nurture.journey.intake.api.batches import (
    SOURCE,
    BatchResult,
    ItemError,
    parse_lead_ref,
    parse_timestamp,
    read_text,
    reject_unknown_fields,
    require_text,
)
from nurture.journey.intake.api.queries import LeadRef
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime.context import AppContext

FIELDS: Final = {"lead": 0, "closing": 40, "happened_at": 64, "amount": 0, "reason": 300, "id": 200}
"""The fields of an outcome, with their maximum lengths in characters; 0 for a field that is not text."""

COUNTS: Final = ("closed", "completed", "same", "conflict", "known")
MAX_AMOUNT: Final = 1e12
_CLOSINGS_WITH_REASON: Final = (Closing.LOST, Closing.DISCARDED)
_OWNER: Final = "An outcome"


class _PostedOutcome(NamedTuple):
    """An outcome before its lead is found. *position* is its index in the batch."""

    position: int
    lead_ref: LeadRef
    report: OutcomeReport


def post_outcomes(ctx: AppContext, items: Sequence[object], now: datetime) -> BatchResult:
    """Record the outcomes of a batch. Repeats count once; invalid items do not stop others."""
    result = BatchResult(len(items))
    posted: list[_PostedOutcome] = []
    for index, item in enumerate(items):
        try:
            posted.append(_parse_outcome(index, item, now))
        except InvalidItem as wrong:
            result.rejected.append(ItemError(index, wrong.field, wrong.reason, wrong.remedy))
    with ctx.database.read() as tx:
        found = queries.find_leads(tx, [outcome.lead_ref for outcome in posted])
    reports: list[OutcomeReport] = []
    for number, outcome in enumerate(posted):
        lead_id = found.get(number)
        if lead_id is None:
            remedy = "Check its spelling, or post the lead to /api/leads first."
            result.rejected.append(ItemError(outcome.position, "lead", "No lead matches this reference.", remedy))
        else:
            reports.append(outcome.report._replace(lead_id=lead_id))
    result.accepted = len(reports)
    result.counts = outcomes.count_verdicts(outcomes.record_outcomes(ctx, reports, SOURCE, now))
    result.rejected.sort(key=attrgetter("index"))
    return result


def _parse_outcome(index: int, item: object, now: datetime) -> _PostedOutcome:
    if not isinstance(item, Mapping):
        raise InvalidItem("", f"{_OWNER} is an object.", "Give it lead, closing and happened_at.")
    reject_unknown_fields(item, FIELDS, "", _OWNER)
    lead_ref = parse_lead_ref(item.get("lead"))
    text = {field: read_text(item, field, most) for field, most in FIELDS.items() if most}
    closing_text = require_text(text, "closing", _OWNER)
    known = [closing.value for closing in Closing]
    if closing_text not in known:
        raise InvalidItem("closing", f"{closing_text!r} is not an outcome.", f"Write one of {', '.join(known)}.")
    closing = Closing(closing_text)
    at = parse_timestamp(
        require_text(text, "happened_at", _OWNER), now, "happened_at", "nurture handoffs outcomes import"
    )
    if closing in _CLOSINGS_WITH_REASON and not text["reason"]:
        raise InvalidItem("reason", f"An outcome {closing.value} needs a reason.", "Add reason.")
    amount = _amount(item, closing)
    report = OutcomeReport(0, closing, min(at, now), amount, text["reason"] or "", text["id"] or "")
    return _PostedOutcome(index, lead_ref, report)


def _amount(item: Mapping[str, Any], closing: Closing) -> float | None:
    value = item.get("amount")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InvalidItem("amount", "The amount is not a number.", "Write it as 12500.50, without a currency.")
    if not 0 <= value <= MAX_AMOUNT:
        raise InvalidItem("amount", f"{value} is not a valid amount.", "Write a number, 0 or higher.")
    if closing is not Closing.WON:
        raise InvalidItem("amount", "Only a won deal has an amount.", "Leave it out.")
    return float(value)
