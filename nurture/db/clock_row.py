"""The clock row: whether a database is live or virtual, and its newest time.

A demo's database ends months ahead of the real clock, so a live sweep would find nothing due for months; a
virtual clock on a live database would send a year's email in a minute. So a database never changes its mode.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final, Literal

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.engine import Database
from nurture.db.tables import installation as installation_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.errors import ClockWentBackwards, InvalidState

Mode = Literal["live", "virtual"]

TOLERANCE: Final = timedelta(minutes=5)
"""A live clock may go back this far: time servers correct it, and clocks of machines differ."""

WRITE_INTERVAL: Final = timedelta(minutes=1)
"""Written at most once a minute, so that parallel workers do not wait for this one row."""

_clock = table(installation_tables.Clock)


def read_mode(db: Database) -> Mode | None:
    """Return the clock mode of *db*, None if nothing has run in it yet."""
    with db.read() as tx:
        mode: Mode | None = tx.execute(select(_clock.c.mode)).scalar()
    return mode


def read_installation_id(db: Database) -> str:
    """Return the id of this installation, 8 random characters; "" before it is bound to a clock."""
    with db.read() as tx:
        return tx.execute(select(_clock.c.installation_id)).scalar() or ""


def read_salt(tx: Transaction) -> str:
    """Return the secret key of this installation's hashes of personal data; it never leaves the database."""
    return tx.execute(select(_clock.c.salt)).scalar() or ""


def read_virtual_now(db: Database) -> datetime:
    """Return the current time of the virtual clock of *db*. Raises InvalidState if it has none."""
    with db.read() as tx:
        row = tx.execute(select(_clock.c.mode, _clock.c.seen_at)).one_or_none()
    if row is None or row.mode != "virtual":
        raise InvalidState(f"The database {db.name} has no virtual clock. Create one that has with `nurture demo`.")
    seen_at: datetime = row.seen_at
    return seen_at


def bind_mode(db: Database, mode: Mode, now: datetime) -> None:
    """Bind *db* to *mode* if it is new, and advance its clock to *now*.

    Raises:
        InvalidState: *db* is bound to the other mode.
        ClockWentBackwards: *now* is before the newest time, in live mode by more than TOLERANCE.
    """
    with db.write() as tx:
        maker = sqlite.insert if tx.is_sqlite else postgresql.insert
        values = {"id": 1, "mode": mode, "seen_at": now, "installation_id": token_hex(4), "salt": token_hex(32)}
        tx.execute(maker(_clock).values(**values, generation=0).on_conflict_do_nothing())
        bound = tx.execute(select(_clock.c.mode)).scalar_one()
        if bound != mode:
            raise InvalidState(_wrong_mode_message(db, bound))
        advance_to(tx, now)


def advance_to(tx: Transaction, now: datetime) -> None:
    """Record *now* as the newest time (live: to the minute), in the caller's transaction.

    Raises:
        ClockWentBackwards: *now* is before the newest time, in live mode by more than TOLERANCE.
        InvalidState: the database is not bound to a clock.
    """
    row = tx.execute(select(_clock.c.mode, _clock.c.seen_at)).one_or_none()
    if row is None:
        raise InvalidState("This database is not bound to a clock yet. Run `nurture admin init` to make it live.")
    live = row.mode == "live"
    if now < row.seen_at - (TOLERANCE if live else timedelta()):
        raise ClockWentBackwards(_went_back_message(row.mode, row.seen_at, now))
    if now > row.seen_at + (WRITE_INTERVAL if live else timedelta()):
        later = update(_clock).where(_clock.c.seen_at < now)
        tx.execute(later.values(seen_at=now, generation=_clock.c.generation + 1))


def _wrong_mode_message(db: Database, bound: str) -> str:
    if bound == "virtual":
        return (
            f"The database {db.name} has a virtual clock: a demo or a simulation created it. "
            "Name another database in NURTURE_DATABASE_URL for real work."
        )
    return (
        f"The database {db.name} is live: its emails go to real people at real times. "
        "Name another database in NURTURE_DATABASE_URL for demos and simulations."
    )


def _went_back_message(mode: str, seen_at: datetime, now: datetime) -> str:
    remedy = (
        "Correct the system clock and try again."
        if mode == "live"
        else "Virtual time only moves forward; start again with a new database."
    )
    return (
        f"The clock shows {now:%Y-%m-%d %H:%M:%S} UTC, before the newest time in this database, "
        f"{seen_at:%Y-%m-%d %H:%M:%S}. Nothing was done. {remedy}"
    )
