"""Where a database lives and how far it has come: what tells a copy or an older state from the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, select, text, update

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.files import write_private

_clock: Table = core.Clock.__table__  # type: ignore[attr-defined]

LEAP: Final = 1 << 40
"""How far a restore moves the generation on: beyond whatever another machine may have seen meanwhile."""

_MARK: Final = "This file marks where {name} lives. Do not copy, move or delete it; see README.md, Backup.\n"


class Instance(NamedTuple):
    """What a database knows of itself. *place* None: it has not sent anything to people yet."""

    origin: str
    salt: str
    generation: int
    place: dict[str, Any] | None


def read(connection: Connection) -> Instance | None:
    """Return what the database knows of itself, None before it is bound to a clock."""
    wanted = select(_clock.c.origin, _clock.c.salt, _clock.c.generation, _clock.c.place)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else Instance._make(row)


def grow(connection: Connection) -> int:
    """Begin the next generation, and return it.

    Call it last in a transaction: on PostgreSQL it locks the one row that every sender needs.
    """
    grown = update(_clock).values(generation=_clock.c.generation + 1).returning(_clock.c.generation)
    generation: int = connection.execute(grown).scalar_one()
    return generation


def leap(connection: Connection, seen: int) -> int:
    """Move the generation beyond *seen* and beyond what any other machine saw; return it."""
    here = connection.execute(select(_clock.c.generation)).scalar_one()
    beyond: int = (max(here, seen) // LEAP + 1) * LEAP
    connection.execute(update(_clock).values(generation=beyond))
    return beyond


def settle_in(connection: Connection, place: dict[str, Any]) -> None:
    """Note that the database lives at *place* from now on."""
    connection.execute(update(_clock).values(place=place))


def mark_of(database: Database) -> Path:
    """Return the file beside an SQLite database that marks its place."""
    path = Path(str(database.url.database)).resolve()
    return path.with_name(f"{path.name}.place")


def make_mark(database: Database) -> None:
    """Create the mark of an SQLite database where there is none."""
    if database.is_sqlite and not (mark := mark_of(database)).exists():
        write_private(mark, _MARK.format(name=mark.stem))


def place_of(database: Database, connection: Connection, machine: str) -> dict[str, Any]:
    """Return where *database* lives now, seen from *machine*; a copy lives elsewhere in some respect."""
    if database.is_sqlite:
        mark = mark_of(database)
        known = mark.stat() if mark.exists() else None
        return {
            "machine": machine,
            "path": str(mark.with_name(mark.stem)),
            "device": known.st_dev if known is not None else 0,
            "inode": known.st_ino if known is not None else 0,
        }
    # Some hosted servers let nobody ask for the system's identifier.
    asks = connection.execute(
        text("SELECT has_function_privilege('pg_control_system()', 'execute')")
    ).scalar()
    system = "(SELECT system_identifier::text FROM pg_control_system())" if asks else "''"
    wanted = f"SELECT {system}, oid::bigint, datname FROM pg_database WHERE datname = current_database()"  # noqa: S608
    row = connection.execute(text(wanted)).one()
    return {"system": row[0], "oid": row[1], "name": row[2]}
