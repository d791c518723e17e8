"""Where a database lives and how far it has come: what tells a copy or an older state from the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, select, text, update

from nurture.db.engine import Database
from nurture.db.tables import installation as installation_tables
from nurture.files import write_private

_clock: Table = installation_tables.Clock.__table__  # type: ignore[attr-defined]

GENERATION_LEAP: Final = 1 << 40
"""How far a restore moves the generation on: beyond whatever another machine may have seen meanwhile."""

_MARKER_TEXT: Final = (
    "This file marks where {name} lives. Do not copy, move or delete it; see docs/operators.md, Backup.\n"
)


class Installation(NamedTuple):
    """What a database knows of itself. *location* None: it has not sent anything to people yet."""

    installation_id: str
    salt: str
    generation: int
    location: dict[str, Any] | None


def read_installation(connection: Connection) -> Installation | None:
    """Return what the database knows of itself, None before it is bound to a clock."""
    query = select(_clock.c.installation_id, _clock.c.salt, _clock.c.generation, _clock.c.location)
    row = connection.execute(query).one_or_none()
    return None if row is None else Installation._make(row)


def increment_generation(connection: Connection) -> int:
    """Begin the next generation, and return it.

    Call it last in a transaction: on PostgreSQL it locks the one row that every sender needs.
    """
    incremented = update(_clock).values(generation=_clock.c.generation + 1).returning(_clock.c.generation)
    generation: int = connection.execute(incremented).scalar_one()
    return generation


def leap_generation(connection: Connection, newest_seen: int) -> int:
    """Move the generation beyond *newest_seen* and beyond what any other machine saw; return it."""
    current = connection.execute(select(_clock.c.generation)).scalar_one()
    generation: int = (max(current, newest_seen) // GENERATION_LEAP + 1) * GENERATION_LEAP
    connection.execute(update(_clock).values(generation=generation))
    return generation


def record_location(connection: Connection, location: dict[str, Any]) -> None:
    """Note that the database lives at *location* from now on."""
    connection.execute(update(_clock).values(location=location))


def marker_path(database: Database) -> Path:
    """Return the file beside an SQLite database that marks its location."""
    path = Path(str(database.url.database)).resolve()
    return path.with_name(f"{path.name}.location")


def create_marker(database: Database) -> None:
    """Create the mark of an SQLite database where there is none."""
    if database.is_sqlite and not (marker := marker_path(database)).exists():
        write_private(marker, _MARKER_TEXT.format(name=marker.stem))


def current_location(database: Database, connection: Connection, machine: str) -> dict[str, Any]:
    """Return where *database* lives now, seen from *machine*; a copy lives elsewhere in some respect."""
    if database.is_sqlite:
        marker = marker_path(database)
        known = marker.stat() if marker.exists() else None
        return {
            "machine": machine,
            "path": str(marker.with_name(marker.stem)),
            "device": known.st_dev if known is not None else 0,
            "inode": known.st_ino if known is not None else 0,
        }
    # Some hosted servers let nobody ask for the system's identifier.
    may_read_system_id = connection.execute(
        text("SELECT has_function_privilege('pg_control_system()', 'execute')")
    ).scalar()
    system = "(SELECT system_identifier::text FROM pg_control_system())" if may_read_system_id else "''"
    query = f"SELECT {system}, oid::bigint, datname FROM pg_database WHERE datname = current_database()"  # noqa: S608
    row = connection.execute(text(query)).one()
    return {"system": row[0], "oid": row[1], "name": row[2]}
