"""Leads: what use cases write about them besides custody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import BigInteger, Connection, String, Table, func, insert, select, update

from nurture.store import tables
from nurture.store.database import Database

lead: Table = tables.Lead.__table__  # type: ignore[attr-defined]
enrollment: Table = tables.Enrollment.__table__  # type: ignore[attr-defined]
table_address: Table = tables.Address.__table__  # type: ignore[attr-defined]


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


def pause(connection: Connection, lead_id: int, until: datetime | None, now: datetime) -> None:
    """Write until when the lead is left in peace."""
    connection.execute(update(lead).where(lead.c.id == lead_id).values(paused_until=until, updated_at=now))


def address(connection: Connection, email: str, normal: str) -> tuple[int, int | None]:
    """Return the id of an address, made if it is new, and of its lead, if it has one."""
    found = connection.execute(
        select(table_address.c.id, lead.c.id)
        .outerjoin(lead, lead.c.address_id == table_address.c.id)
        .where(table_address.c.normal == normal)
    ).one_or_none()
    if found is not None:
        return found[0], found[1]
    made = insert(table_address).values(email=email.strip(), normal=normal).returning(table_address.c.id)
    return connection.execute(made).scalar_one(), None
