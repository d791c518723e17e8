"""SQLite files for tests: copied from one that is ready, and written without waiting for the disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import event

from nurture.db.engine import Database


def without_fsync(database: Database) -> Database:
    """Let SQLite skip what keeps data through a power cut: nothing here outlives the session."""

    @event.listens_for(database.engine, "connect")
    def _skip_sync(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    return database


def replace_database(ready: Path, database: Database) -> None:
    """Put a copy of *ready* where *database* is, and leave nothing else in that folder."""
    place = Path(str(database.url.database))
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir()
    shutil.copyfile(ready, place)
