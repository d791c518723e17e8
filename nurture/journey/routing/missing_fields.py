"""Facts that routing waits for: who came to know them, how long that took, and who is looked at again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import median

from nurture.domain.routing.routing import is_known
from nurture.journey.leads.changeset import hold
from nurture.journey.routing import queries
from nurture.journey.routing.queries import Wait
from nurture.runtime.context import House


@dataclass(frozen=True, slots=True)
class Lacking:
    """How often a fact was missing: leads that wait, or waited in vain, and how it came to be known.

    *median_hours* is how long that took, None where it never did.
    """

    field: str
    leads: int
    waiting: int
    overdue: int
    told_by_lead: int
    told_otherwise: int
    median_hours: float | None


def lacking(house: House, now: datetime) -> list[Lacking]:
    """Return for each fact how it was waited for, the one that held most leads up first."""
    by_field: dict[str, list[Wait]] = {}
    with house.database.read() as connection:
        for wait in queries.waits(connection):
            by_field.setdefault(wait.field, []).append(wait)
    found = [_of(field, waits, now) for field, waits in by_field.items()]
    return sorted(found, key=lambda one: (-one.leads, one.field))


def _of(field: str, waits: list[Wait], now: datetime) -> Lacking:
    open_ones = [one for one in waits if one.filled_at is None]
    took = [(one.filled_at - one.wanted_at).total_seconds() / 3600 for one in waits if one.filled_at]
    by_lead = sum(one.filled_by == "lead" for one in waits)
    return Lacking(
        field,
        len(waits),
        sum(one.overdue_at > now for one in open_ones),
        sum(one.overdue_at <= now for one in open_ones),
        by_lead,
        len(took) - by_lead,
        median(took) if took else None,
    )


def look_again(house: House, now: datetime) -> int:
    """Have the leads looked at whose missing fact came in meanwhile, by a file or the API."""
    with house.database.write() as connection:
        known = [
            (lead_id, field)
            for lead_id, field, facts in queries.known_by_now(connection)
            if is_known(facts.get(field))
        ]
        ids = sorted({lead_id for lead_id, _ in known})
        hold(house.database, connection, ids)
        queries.fill(house.database, connection, [(*one, "source") for one in known], now)
        queries.wake(house.database, connection, ids, now)
    return len(ids)
