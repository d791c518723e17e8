"""Leads: what use cases write about them besides custody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import BigInteger, Connection, String, Table, func, select, update

from nurture.store import tables
from nurture.store.database import Database

lead: Table = tables.Lead.__table__  # type: ignore[attr-defined]
enrollment: Table = tables.Enrollment.__table__  # type: ignore[attr-defined]


def spend_evidence(
    database: Database, connection: Connection, lead_ids: Sequence[int], now: datetime
) -> None:
    """Forget what led to a hand-off: a rep has answered it. What the lead does later counts anew."""
    chosen = database.ids("chosen", lead_ids)
    connection.execute(
        update(lead)
        .where(lead.c.id == chosen.c.id)
        .values(
            engagement=0.0,
            engagement_at=None,
            decides_on=None,
            decides_stated_at=None,
            evidence_since=now,
            updated_at=now,
        )
    )


def state_timeline(connection: Connection, lead_id: int, decides_on: date, now: datetime) -> None:
    """Note when the lead decides."""
    connection.execute(
        update(lead)
        .where(lead.c.id == lead_id)
        .values(decides_on=decides_on, decides_stated_at=now, updated_at=now)
    )


def name_readiness(database: Database, connection: Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Write the readiness rule that classified each lead."""
    if not rows:
        return
    named = database.rows("named", {"id": BigInteger(), "rule": String()}, rows)
    connection.execute(update(lead).where(lead.c.id == named.c.id).values(readiness=named.c.rule))


def last_stays(
    database: Database, connection: Connection, lead_ids: Sequence[int]
) -> dict[tuple[int, str], datetime]:
    """Return when each lead last left each track, or entered it if it is still there."""
    chosen = database.ids("chosen", lead_ids)
    last = func.max(
        func.coalesce(enrollment.c.ended_at, enrollment.c.entered_at), type_=enrollment.c.entered_at.type
    )
    wanted = (
        select(enrollment.c.lead_id, enrollment.c.track, last)
        .join(chosen, chosen.c.id == enrollment.c.lead_id)
        .group_by(enrollment.c.lead_id, enrollment.c.track)
    )
    return {(lead_id, track): moment for lead_id, track, moment in connection.execute(wanted)}
