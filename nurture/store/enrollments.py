"""Where leads stand on their tracks."""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, select

from nurture.store import tables

enrollment: Table = tables.Enrollment.__table__  # type: ignore[attr-defined]


def standing(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many leads stand on each (track, step) now."""
    wanted = (
        select(enrollment.c.track, enrollment.c.step, func.count())
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.track, enrollment.c.step)
    )
    return {(track, step): count for track, step, count in connection.execute(wanted)}
