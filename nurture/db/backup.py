"""Backups of an SQLite database."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

from nurture.db.engine import Database
from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.files import create_file, make_folder, sync_folder

_COUNTED: Final = ("lead", "message", "suppression")

ON_POSTGRES: Final = (
    "Use PostgreSQL's own backups, which need no downtime: `pg_dump --format=custom --file=FILE NAME`, or a base "
    "backup and its WAL, which can be restored to any time (see Continuous Archiving and Point-in-Time Recovery "
    "in its manual). After a restore, run `nurture admin restored --since TIME`."
)


class BackupInfo(NamedTuple):
    """A verified backup: its newest time (UTC, ISO text) and its numbers of rows."""

    path: Path
    revision: str
    seen_at: str
    rows: dict[str, int]


def create_backup(database: Database, path: Path) -> BackupInfo:
    """Write a backup of *database* to the new file *path*, while others continue to write.

    Raises InvalidState for PostgreSQL, an existing file or a damaged copy; NotFound without a database;
    FileUnreadable if the backup cannot be written.
    """
    if not database.is_sqlite:
        raise InvalidState(ON_POSTGRES)
    if database.file is None or database.is_missing:
        raise NotFound(f"There is no database {database.name} to back up. Check NURTURE_DATABASE_URL.")
    if path.exists():
        raise InvalidState(f"{path} exists. Name a new file: a backup never replaces a file.")
    draft = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        make_folder(path.parent, owned=False)
        create_file(draft)
        with closing(sqlite3.connect(database.file)) as source, closing(sqlite3.connect(draft)) as target:
            source.backup(target)  # in one step, from one snapshot: in several, each write would restart it
            target.execute("PRAGMA journal_mode = DELETE")  # a single file, without -wal and -shm
        found = _verify(draft)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.rename(path)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        message = f"The backup {path} was not written: {error}. Check the folder and its disk."
        raise FileUnreadable(message) from error
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                draft.with_name(draft.name + end).unlink()
    return found._replace(path=path)


def _verify(path: Path) -> BackupInfo:
    """Check the integrity of a backup. Raises InvalidState."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
        if problems:
            raise InvalidState(f"The backup is damaged: {'; '.join(problems)}. Check the disk and the database.")
        rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _COUNTED}  # noqa: S608
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        (seen_at,) = connection.execute("SELECT max(seen_at) FROM clock").fetchone()
    return BackupInfo(path, revision, seen_at or "", rows)
