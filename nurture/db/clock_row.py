"""The clock row: whether a database is live or virtual, its newest time, and what tells it from a copy.

A demo's database ends months ahead of the real clock, so a live sweep would find nothing due for months; a
virtual clock on a live database would send a year's email in a minute. So a database never changes its mode.
"""

from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.engine import Database
from nurture.db.row_values import row_columns
from nurture.db.tables.installation import clock
from nurture.db.transaction import Transaction
from nurture.errors import ClockWentBackwards, InvalidState
from nurture.files import write_private

Mode = Literal["live", "virtual"]

GENERATION_LEAP: Final = 1 << 40
"""A restore rounds the generation up to the next multiple, beyond what other machines may have seen."""

_MARKER_TEXT: Final = (
    "This file marks the location of {name}. Do not copy, move or delete it; see docs/operators.md, Backup.\n"
)


class Installation(NamedTuple):
    """The identity and the clock of a database. *location* is None until it has sent anything to people."""

    installation_id: str
    salt: str
    generation: int
    location: dict[str, Any] | None
    mode: Mode
    seen_at: datetime


TOLERANCE: Final = timedelta(minutes=5)
"""A live clock may go back this far: time servers correct it, and clocks of machines differ."""

WRITE_INTERVAL: Final = timedelta(minutes=1)
"""Written at most once a minute, so that parallel workers do not wait for this one row."""


def read_mode(db: Database) -> Mode | None:
    """Return the clock mode of *db*, None if nothing has run in it yet."""
    with db.read() as tx:
        mode: Mode | None = tx.execute(select(clock.c.mode)).scalar()
    return mode


def read_installation_id(db: Database) -> str:
    """Return the id of this installation, 8 random characters; "" before it is bound to a clock."""
    with db.read() as tx:
        return tx.execute(select(clock.c.installation_id)).scalar() or ""


def read_salt(tx: Transaction) -> str:
    """Return the secret key of this installation's hashes of personal data; it never leaves the database."""
    return tx.execute(select(clock.c.salt)).scalar() or ""


def read_virtual_now(db: Database) -> datetime:
    """Return the current time of the virtual clock of *db*. Raises InvalidState if it has none."""
    with db.read() as tx:
        row = tx.execute(select(clock.c.mode, clock.c.seen_at)).one_or_none()
    if row is None or row.mode != "virtual":
        raise InvalidState(f"The database {db.name} has no virtual clock. Make one with `nurture practice start`.")
    seen_at: datetime = row.seen_at
    return seen_at


class StoredClock:
    """The virtual clock of a database as it stands there: another process may move it. Waiting does not."""

    is_live = False

    def __init__(self, db: Database) -> None:
        self._db = db

    def now(self) -> datetime:
        """Return the current time of the virtual clock, aware, in UTC."""
        return read_virtual_now(self._db)

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Return whether *until* has come."""
        del max_wait
        return until <= self.now()


def bind_mode(db: Database, mode: Mode, now: datetime) -> None:
    """Bind *db* to *mode* if it is new, and advance its clock to *now*.

    Raises:
        InvalidState: *db* is bound to the other mode.
        ClockWentBackwards: *now* is before the newest time, in live mode by more than TOLERANCE.
    """
    with db.write() as tx:
        maker = sqlite.insert if tx.is_sqlite else postgresql.insert
        values = {"id": 1, "mode": mode, "seen_at": now, "installation_id": token_hex(4), "salt": token_hex(32)}
        tx.execute(maker(clock).values(**values, generation=0).on_conflict_do_nothing())
        bound = tx.execute(select(clock.c.mode)).scalar_one()
        if bound != mode:
            raise InvalidState(_wrong_mode_message(db, bound))
        advance_to(tx, now)


def advance_to(tx: Transaction, now: datetime) -> None:
    """Record *now* as the newest time (live: to the minute), in the caller's transaction.

    Raises:
        ClockWentBackwards: *now* is before the newest time, in live mode by more than TOLERANCE.
        InvalidState: the database is not bound to a clock.
    """
    row = tx.execute(_NEWEST_TIME).one_or_none()
    if row is None:
        raise InvalidState("This database is not bound to a clock yet. Run `nurture init` to make it live.")
    live = row.mode == "live"
    if now < row.seen_at - (TOLERANCE if live else timedelta()):
        raise ClockWentBackwards(_went_back_message(row.mode, row.seen_at, now))
    if now > row.seen_at + (WRITE_INTERVAL if live else timedelta()):
        tx.execute(_ADVANCE, {"now": now})


_NEWEST_TIME: Final = select(clock.c.mode, clock.c.seen_at)
_NOW: Final = bindparam("now", type_=clock.c.seen_at.type)
_ADVANCE: Final = update(clock).where(clock.c.seen_at < _NOW).values(seen_at=_NOW, generation=clock.c.generation + 1)


def require_writable(db: Database) -> None:
    """Write to *db*, and roll back. Raises DatabaseUnavailable."""
    with db.write() as tx:
        tx.execute(update(clock).values(seen_at=clock.c.seen_at))
        tx.connection.rollback()


def read_server_time(tx: Transaction) -> datetime:
    """Return the time of the PostgreSQL server: only to compare clocks, never for decisions."""
    server_time: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    return server_time


def _wrong_mode_message(db: Database, bound: str) -> str:
    if bound == "virtual":
        return (
            f"The database {db.name} has a virtual clock: a demo or a practice created it. "
            "Name another database in NURTURE_DATABASE_URL for real work."
        )
    return (
        f"The database {db.name} is live: its emails go to real people at real times. "
        "Name another database in NURTURE_DATABASE_URL for demos and practice."
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


def read_installation(tx: Transaction) -> Installation | None:
    """Return the identity of the database, None before it is bound to a clock."""
    row = tx.execute(select(*row_columns(Installation, clock))).one_or_none()
    return None if row is None else Installation._make(row)


def increment_generation(tx: Transaction) -> int:
    """Increment the generation, and return it.

    Call it last in a transaction: on PostgreSQL it locks the one row that every sender needs.
    """
    incremented = update(clock).values(generation=clock.c.generation + 1).returning(clock.c.generation)
    generation: int = tx.execute(incremented).scalar_one()
    return generation


def leap_generation(tx: Transaction, newest_seen: int) -> int:
    """Raise the generation above *newest_seen* and what other machines may have seen; return it."""
    current = tx.execute(select(clock.c.generation)).scalar_one()
    generation: int = (max(current, newest_seen) // GENERATION_LEAP + 1) * GENERATION_LEAP
    tx.execute(update(clock).values(generation=generation))
    return generation


def record_location(tx: Transaction, location: dict[str, Any]) -> None:
    """Set the location of the database."""
    tx.execute(update(clock).values(location=location))


def marker_path(database: Database) -> Path:
    """Return the path of the marker file of an SQLite database."""
    path = Path(str(database.url.database)).resolve()
    return path.with_name(f"{path.name}.location")


def create_marker(database: Database) -> None:
    """Create the marker file of an SQLite database if it is missing."""
    if database.is_sqlite and not (marker := marker_path(database)).exists():
        write_private(marker, _MARKER_TEXT.format(name=marker.stem))


def current_location(tx: Transaction, machine: str) -> dict[str, Any]:
    """Return the current location of the database on *machine*; a copy differs in at least one value."""
    if tx.is_sqlite:
        marker = marker_path(tx.database)
        known = marker.stat() if marker.exists() else None
        return {
            "machine": machine,
            "path": str(marker.with_name(marker.stem)),
            "device": known.st_dev if known is not None else 0,
            "inode": known.st_ino if known is not None else 0,
        }
    # Some hosted servers do not let users read the system identifier.
    may_read_system_id = tx.execute(text("SELECT has_function_privilege('pg_control_system()', 'execute')")).scalar()
    system = "(SELECT system_identifier::text FROM pg_control_system())" if may_read_system_id else "''"
    query = f"SELECT {system}, oid::bigint, datname FROM pg_database WHERE datname = current_database()"  # noqa: S608
    row = tx.execute(text(query)).one()
    return {"system": row[0], "oid": row[1], "name": row[2]}
