"""Provide SQLite files for tests: copied from a migrated one, and written without fsync."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import event

from nurture.db import schema
from nurture.db.engine import Database


def without_fsync(database: Database) -> Database:
    """Disable SQLite's protection against power failure: no file outlives the session."""

    @event.listens_for(database.engine, "connect")
    def _skip_sync(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    return database


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/migrated.db")
        schema.upgrade(database)
        database.close()
        return Path(str(database.url.database)).read_bytes()


def create_migrated(path: Path) -> Database:
    """Create a migrated SQLite file at *path*: a copy, because all revisions take half a second."""
    path.touch(0o600)
    path.write_bytes(_migrated())
    return Database(f"sqlite:///{path}")


def create_in_memory() -> Database:
    """Create a migrated database in memory."""
    database = Database("sqlite://")
    with TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/migrated.db")) as source:
        Path(folder, "migrated.db").write_bytes(_migrated())
        source.execute("PRAGMA journal_mode = DELETE")  # a database in memory has no WAL
        connection = database.engine.raw_connection()
        source.backup(connection.driver_connection)
        connection.close()
    return database


def replace_database(ready: Path, database: Database) -> None:
    """Replace *database* with a copy of *ready*, and empty the rest of its folder."""
    place = Path(str(database.url.database))
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir()
    shutil.copyfile(ready, place)
