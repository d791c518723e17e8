"""Track budget, authority, need and timeline: the value, its source, its date and its confidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final

from nurture.domain.lead import FieldValue, FieldValues, Lead, has_value

BUDGET, AUTHORITY, NEED, TIMELINE = "budget", "authority", "need", "timeline"
BANT_FIELDS: Final = (BUDGET, AUTHORITY, NEED, TIMELINE)
_TIMELINE_FIELDS: Final = ("purchase_timeframe", "purchase_timeframe_days")
ANSWER_FIELDS: Final = (*BANT_FIELDS, *_TIMELINE_FIELDS, *(f"{name}_confidence" for name in BANT_FIELDS))
"""The fields of a lead on which conditions on budget, authority, need and timeline depend."""


class Confidence(IntEnum):
    """How reliable a value is."""

    GUESSED = 1
    STATED = 2
    CONFIRMED = 3


@dataclass(frozen=True, slots=True)
class BantValue:
    """The value of one of the four fields; *source* and *stated_on* are "" and None if it came with the lead."""

    value: FieldValue
    source: str = ""
    stated_on: date | None = None
    confidence: Confidence = Confidence.STATED


@dataclass(frozen=True, slots=True)
class BantCondition:
    """The four fields are known with at least *min_confidence*; None means that the field must be unknown.

    *at_least*: this many of the four are known, whichever.
    """

    min_confidence: Mapping[str, Confidence | None]
    at_least: int = 0


def find_bant_value(field: str, lead: Lead) -> BantValue | None:
    """Return what is known of *field*, None if nothing is. A stated date is the lead's own statement."""
    if field == TIMELINE and lead.timeline is not None:
        return BantValue(lead.timeline.decides_on.isoformat(), "stated", lead.timeline.stated_at.date())
    names = _TIMELINE_FIELDS if field == TIMELINE else (field,)
    value = next((lead.fields[name] for name in names if has_value(lead.fields.get(name))), None)
    if value is None:
        return None
    on, confidence = lead.fields.get(f"{field}_stated_on"), lead.fields.get(f"{field}_confidence")
    return BantValue(
        value,
        str(lead.fields.get(f"{field}_source") or ""),
        date.fromisoformat(on) if isinstance(on, str) else None,
        Confidence[confidence.upper()]
        if isinstance(confidence, str) and confidence.upper() in Confidence.__members__
        else Confidence.STATED,
    )


def bant_fields(field: str, value: str, source: str, stated_on: date, confidence: Confidence) -> FieldValues:
    """Return the lead fields that store what somebody said of *field*, with source and date."""
    return {
        field: value,
        f"{field}_source": source,
        f"{field}_stated_on": stated_on.isoformat(),
        f"{field}_confidence": confidence.name.lower(),
    }


def drop_stale_details(before: FieldValues, after: FieldValues) -> dict[str, FieldValue]:
    """Return *after* without the source, date and confidence of values that differ from *before*."""
    stale = [
        f"{field}_{suffix}"
        for field in (BUDGET, AUTHORITY, NEED)
        if before.get(field) != after.get(field)
        for suffix in ("source", "stated_on", "confidence")
    ]
    return {name: value for name, value in after.items() if name not in stale}


def evaluate_bant(condition: BantCondition, lead: Lead) -> tuple[bool, str]:
    """Evaluate the condition; the reason names the fields that decide, never their values."""
    found = {field: find_bant_value(field, lead) for field in BANT_FIELDS}
    for field, min_confidence in condition.min_confidence.items():
        one = found[field]
        if min_confidence is None and one is not None:
            return False, f"{field} is known"
        if min_confidence is not None and (one is None or one.confidence < min_confidence):
            return (False, f"{field} is not known" if one is None else f"{field} is only {one.confidence.name.lower()}")
    known_fields = [field for field in BANT_FIELDS if found[field] is not None]
    if len(known_fields) < condition.at_least:
        return (False, f"{len(known_fields)} of budget, authority, need and timeline known, {condition.at_least} asked")
    return True, " and ".join(
        _describe_bant_value(field, found[field]) for field in (condition.min_confidence or known_fields)
    )


def _describe_bant_value(field: str, one: BantValue | None) -> str:
    if one is None:
        return f"{field} not known"
    since = f" since {one.stated_on}" if one.stated_on is not None else ""
    confidence = "known" if one.confidence is Confidence.STATED else one.confidence.name.lower()
    return f"{field} {confidence}{since}"
