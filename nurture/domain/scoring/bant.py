"""Budget, authority, need and timeline: what is known of each, from whom, since when, and how surely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final

from nurture.domain.lead import Fact, Facts, Lead

BUDGET, AUTHORITY, NEED, TIMELINE = "budget", "authority", "need", "timeline"
FIELDS: Final = (BUDGET, AUTHORITY, NEED, TIMELINE)
_SPOKEN: Final = ("purchase_timeframe", "purchase_timeframe_days")


class Sure(IntEnum):
    """How far what is known is believed."""

    GUESSED = 1
    TOLD = 2
    CONFIRMED = 3


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one of the four. *source* and *on* are "" and None where it came with the lead."""

    value: Fact
    source: str = ""
    on: date | None = None
    sure: Sure = Sure.TOLD


@dataclass(frozen=True, slots=True)
class Bant:
    """The four are known, or not, as *wanted* says: at least how surely, None for not known at all.

    *at_least*: so many of the four are known, whichever.
    """

    wanted: Mapping[str, Sure | None]
    at_least: int = 0


def known(field: str, lead: Lead) -> Known | None:
    """Return what is known of *field*, None if nothing is. A stated date is the lead's own word."""
    if field == TIMELINE and lead.timeline is not None:
        return Known(lead.timeline.decides_on.isoformat(), "stated", lead.timeline.stated_at.date())
    names = _SPOKEN if field == TIMELINE else (field,)
    value = next((lead.facts[name] for name in names if _is_said(lead.facts.get(name))), None)
    if value is None:
        return None
    on, sure = lead.facts.get(f"{field}_on"), lead.facts.get(f"{field}_sure")
    return Known(
        value,
        str(lead.facts.get(f"{field}_source") or ""),
        date.fromisoformat(on) if isinstance(on, str) else None,
        Sure[sure.upper()] if isinstance(sure, str) and sure.upper() in Sure.__members__ else Sure.TOLD,
    )


def _is_said(value: Fact) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def told(field: str, value: str, source: str, on: date, sure: Sure) -> Facts:
    """Return the facts that keep what somebody said of *field*, with whom and when."""
    return {
        field: value,
        f"{field}_source": source,
        f"{field}_on": on.isoformat(),
        f"{field}_sure": sure.name.lower(),
    }


def without_stale(before: Facts, after: Facts) -> dict[str, Fact]:
    """Return *after* without the source and date of what it says otherwise than *before* did."""
    stale = [
        f"{field}_{mark}"
        for field in (BUDGET, AUTHORITY, NEED)
        if before.get(field) != after.get(field)
        for mark in ("source", "on", "sure")
    ]
    return {name: value for name, value in after.items() if name not in stale}


def asked(condition: Bant, lead: Lead) -> tuple[bool, str]:
    """Answer the condition, and say which of the four decide; never what their values are."""
    found = {field: known(field, lead) for field in FIELDS}
    for field, sure in condition.wanted.items():
        one = found[field]
        if sure is None and one is not None:
            return False, f"{field} is known"
        if sure is not None and (one is None or one.sure < sure):
            return (
                False,
                f"{field} is not known" if one is None else f"{field} is only {one.sure.name.lower()}",
            )
    there = [field for field in FIELDS if found[field] is not None]
    if len(there) < condition.at_least:
        return (
            False,
            f"{len(there)} of budget, authority, need and timeline known, {condition.at_least} asked",
        )
    return True, " and ".join(_word(field, found[field]) for field in (condition.wanted or there))


def _word(field: str, one: Known | None) -> str:
    if one is None:
        return f"{field} not known"
    since = f" since {one.on}" if one.on is not None else ""
    return f"{field} {one.sure.name.lower() if one.sure is not Sure.TOLD else 'known'}{since}"
