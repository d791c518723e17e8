"""Facts that routing waits for: who came to know them, how long that took, and who is looked at again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import median

from nurture.domain.routing.routing import is_known
from nurture.journey.leads.changeset import lock_leads
from nurture.journey.routing import queries
from nurture.journey.routing.queries import FieldWait
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class MissingFieldStats:
    """How often a fact was missing: leads that wait, or waited in vain, and how it came to be known.

    *median_hours* is how long that took, None where it never did.
    """

    field: str
    leads: int
    waiting: int
    overdue: int
    filled_by_lead: int
    filled_by_source: int
    median_hours: float | None


def load_missing_field_stats(ctx: AppContext, now: datetime) -> list[MissingFieldStats]:
    """Return for each fact how it was waited for, the one that held most leads up first."""
    by_field: dict[str, list[FieldWait]] = {}
    with ctx.database.read() as connection:
        for wait in queries.load_field_waits(connection):
            by_field.setdefault(wait.field, []).append(wait)
    found = [_field_stats(field, waits, now) for field, waits in by_field.items()]
    return sorted(found, key=lambda one: (-one.leads, one.field))


def _field_stats(field: str, waits: list[FieldWait], now: datetime) -> MissingFieldStats:
    open_ones = [one for one in waits if one.filled_at is None]
    hours = [(one.filled_at - one.requested_at).total_seconds() / 3600 for one in waits if one.filled_at]
    by_lead = sum(one.filled_by == "lead" for one in waits)
    return MissingFieldStats(
        field,
        len(waits),
        sum(one.due_at > now for one in open_ones),
        sum(one.due_at <= now for one in open_ones),
        by_lead,
        len(hours) - by_lead,
        median(hours) if hours else None,
    )


def recheck_filled_fields(ctx: AppContext, now: datetime) -> int:
    """Have the leads looked at whose missing fact came in meanwhile, by a file or the API."""
    with ctx.database.write() as connection:
        filled = [
            (lead_id, field)
            for lead_id, field, fields in queries.load_newly_filled(connection)
            if is_known(fields.get(field))
        ]
        ids = sorted({lead_id for lead_id, _ in filled})
        lock_leads(ctx.database, connection, ids)
        queries.mark_filled(ctx.database, connection, [(*one, "source") for one in filled], now)
        queries.wake_leads(ctx.database, connection, ids, now)
    return len(ids)
