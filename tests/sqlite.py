"""Provide SQLite files for tests: copied from a migrated one, and written without fsync."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import event

from nurture.db.engine import Database


def without_fsync(database: Database) -> Database:
    """Disable SQLite's protection against power failure: no file outlives the session."""

    @event.listens_for(database.engine, "connect")
    def _skip_sync(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    return database


def replace_database(ready: Path, database: Database) -> None:
    """Replace *database* with a copy of *ready*, and empty the rest of its folder."""
    place = Path(str(database.url.database))
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir()
    shutil.copyfile(ready, place)
