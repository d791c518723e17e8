"""What a look at the health of a database finds. Nothing here leaves anything behind."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table, func, select, text, update

from nurture.db.clock_row import Mode
from nurture.db.engine import Database
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import installation as installation_tables

_clock: Table = installation_tables.Clock.__table__  # type: ignore[attr-defined]
_message: Table = delivery_tables.Message.__table__  # type: ignore[attr-defined]


class ClockState(NamedTuple):
    """The kind of time in which a database lives, and the newest time that it has seen (UTC)."""

    mode: Mode
    seen_at: datetime


def read_clock_state(connection: Connection) -> ClockState | None:
    """Return what the database knows of time, None when nothing has run in it yet."""
    row = connection.execute(select(_clock.c.mode, _clock.c.seen_at)).one_or_none()
    return None if row is None else ClockState._make(row)


def require_writable(database: Database) -> None:
    """Write to *database*, and take it back. Raises DatabaseUnavailable."""
    with database.write() as connection:
        connection.execute(update(_clock).values(seen_at=_clock.c.seen_at))
        connection.rollback()


def journal_mode(connection: Connection) -> str:
    """Return how SQLite keeps its journal: "wal" where reading and writing go side by side."""
    mode: str = connection.execute(text("PRAGMA journal_mode")).scalar_one()
    return mode


def read_server_time(connection: Connection) -> datetime:
    """Return what time it is on PostgreSQL's own machine: only to compare clocks, never to decide by."""
    server_time: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return server_time


def read_next_send_at(connection: Connection) -> datetime | None:
    """Return when the first of the messages that wait may go, None if none waits."""
    query = select(func.min(_message.c.send_at)).where(_message.c.state == "planned")
    first: datetime | None = connection.execute(query).scalar_one()
    return first
