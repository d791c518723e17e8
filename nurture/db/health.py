"""Health checks of a database; none of them changes anything."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select, text, update

from nurture.db.clock_row import Mode
from nurture.db.engine import Database
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import installation as installation_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction

_clock = table(installation_tables.Clock)
_message = table(delivery_tables.Message)


class ClockState(NamedTuple):
    """The clock mode of a database, and its newest time (UTC)."""

    mode: Mode
    seen_at: datetime


def read_clock_state(tx: Transaction) -> ClockState | None:
    """Return the clock state, None if nothing has run in the database yet."""
    row = tx.execute(select(_clock.c.mode, _clock.c.seen_at)).one_or_none()
    return None if row is None else ClockState._make(row)


def require_writable(database: Database) -> None:
    """Write to *database*, and roll back. Raises DatabaseUnavailable."""
    with database.write() as tx:
        tx.execute(update(_clock).values(seen_at=_clock.c.seen_at))
        tx.connection.rollback()


def journal_mode(tx: Transaction) -> str:
    """Return SQLite's journal mode, such as "wal"."""
    mode: str = tx.execute(text("PRAGMA journal_mode")).scalar_one()
    return mode


def read_server_time(tx: Transaction) -> datetime:
    """Return the time of the PostgreSQL server: only to compare clocks, never for decisions."""
    server_time: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    return server_time


def read_next_send_at(tx: Transaction) -> datetime | None:
    """Return the earliest send time of planned messages, None without any."""
    query = select(func.min(_message.c.send_at)).where(_message.c.state == "planned")
    first: datetime | None = tx.execute(query).scalar_one()
    return first
