"""The location and generation of a database, which distinguish it from a copy or an older state."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import select, text, update

from nurture.db.engine import Database
from nurture.db.tables import installation as installation_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.files import write_private

_clock = table(installation_tables.Clock)

GENERATION_LEAP: Final = 1 << 40
"""A restore rounds the generation up to the next multiple, beyond what other machines may have seen."""

_MARKER_TEXT: Final = (
    "This file marks the location of {name}. Do not copy, move or delete it; see docs/operators.md, Backup.\n"
)


class Installation(NamedTuple):
    """The identity of a database. *location* is None until it has sent anything to people."""

    installation_id: str
    salt: str
    generation: int
    location: dict[str, Any] | None


def read_installation(tx: Transaction) -> Installation | None:
    """Return the identity of the database, None before it is bound to a clock."""
    query = select(_clock.c.installation_id, _clock.c.salt, _clock.c.generation, _clock.c.location)
    row = tx.execute(query).one_or_none()
    return None if row is None else Installation._make(row)


def increment_generation(tx: Transaction) -> int:
    """Increment the generation, and return it.

    Call it last in a transaction: on PostgreSQL it locks the one row that every sender needs.
    """
    incremented = update(_clock).values(generation=_clock.c.generation + 1).returning(_clock.c.generation)
    generation: int = tx.execute(incremented).scalar_one()
    return generation


def leap_generation(tx: Transaction, newest_seen: int) -> int:
    """Raise the generation above *newest_seen* and what other machines may have seen; return it."""
    current = tx.execute(select(_clock.c.generation)).scalar_one()
    generation: int = (max(current, newest_seen) // GENERATION_LEAP + 1) * GENERATION_LEAP
    tx.execute(update(_clock).values(generation=generation))
    return generation


def record_location(tx: Transaction, location: dict[str, Any]) -> None:
    """Set the location of the database."""
    tx.execute(update(_clock).values(location=location))


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
