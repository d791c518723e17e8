"""Positions of leads on their tracks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select

from nurture.db.tables import leads as lead_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.journey.leads.custody import bring_forward

custody = table(lead_tables.Custody)
enrollment = table(track_tables.Enrollment)


def count_leads_by_step(tx: Transaction) -> dict[tuple[str, str], int]:
    """Return how many leads are at each (track, step) now."""
    statement = (
        select(enrollment.c.track, enrollment.c.step, func.count())
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.track, enrollment.c.step)
    )
    return {(track, step): count for track, step, count in tx.execute(statement)}


def make_tracks_due(tx: Transaction, tracks: Sequence[str] | None, now: datetime) -> None:
    """Make every lead on these tracks due now; None means all tracks."""
    on_tracks = custody.c.kind == "track"
    bring_forward(tx, now, on_tracks if tracks is None else on_tracks & custody.c.ref.in_(tracks))
