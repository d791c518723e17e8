"""Positions of leads on their tracks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from nurture.db.engine import Database
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table

custody = table(lead_tables.Custody)
enrollment = table(track_tables.Enrollment)


def count_leads_by_step(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many leads are at each (track, step) now."""
    statement = (
        select(enrollment.c.track, enrollment.c.step, func.count())
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.track, enrollment.c.step)
    )
    return {(track, step): count for track, step, count in connection.execute(statement)}


def make_tracks_due(database: Database, connection: Connection, tracks: Sequence[str] | None, now: datetime) -> None:
    """Make every lead on these tracks due now; None means all tracks."""
    not_due = (custody.c.kind == "track") & (custody.c.due_at > now)
    if tracks is not None:
        not_due &= custody.c.ref.in_(tracks)
    if database.skips_locked:
        # In the order of ids, like every lock on leads: prevents deadlocks.
        connection.execute(select(custody.c.lead_id).where(not_due).order_by(custody.c.lead_id).with_for_update())
    connection.execute(update(custody).where(not_due).values(due_at=now, version=custody.c.version + 1))
