"""A backup of an SQLite database: complete, private, and opened once before it counts."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

from nurture.db.engine import Database
from nurture.errors import FileUnreadable, NotFound, Refused
from nurture.files import create_file, make_folder, sync_folder

_COUNTED: Final = ("lead", "message", "suppression")

ON_POSTGRES: Final = (
    "PostgreSQL backs itself up while work goes on: `pg_dump --format=custom --file=FILE NAME`, or a base "
    "backup and its WAL, which comes back to any moment (its manual: Continuous Archiving and Point-in-Time "
    "Recovery). After either comes back, run `nurture admin restored --since TIME`."
)


class BackedUp(NamedTuple):
    """A backup that was opened and found whole, up to when it knows, and how many rows it has."""

    path: Path
    revision: str
    seen_at: str
    rows: dict[str, int]


def back_up(database: Database, path: Path) -> BackedUp:
    """Write a backup of *database* to *path*, which must not exist, while others go on writing.

    Raises Refused for PostgreSQL, for a file that exists and for a copy that is not whole; NotFound without a
    database; FileUnreadable where the backup cannot be written.
    """
    if not database.is_sqlite:
        raise Refused(ON_POSTGRES)
    if database.file is None or database.is_missing:
        raise NotFound(f"There is no database {database.name} to back up. Check NURTURE_DATABASE_URL.")
    if path.exists():
        raise Refused(f"{path} exists. Name a new file: a backup never takes the place of another one.")
    draft = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        make_folder(path.parent, ours=False)
        create_file(draft)
        with closing(sqlite3.connect(database.file)) as ours, closing(sqlite3.connect(draft)) as theirs:
            ours.backup(theirs)  # all of it from one snapshot: in steps, each write would begin it anew
            theirs.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        found = _verified(draft)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.rename(path)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        why = f"The backup {path} was not written: {error}. Check the folder and its disk."
        raise FileUnreadable(why) from error
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                draft.with_name(draft.name + end).unlink()
    return found._replace(path=path)


def _verified(path: Path) -> BackedUp:
    """Open a backup and look at all of it. Raises Refused."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as plain:
        faults = [row[0] for row in plain.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
        if faults:
            raise Refused(f"The backup is not whole: {'; '.join(faults)}. Check the disk, and the database.")
        rows = {name: plain.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _COUNTED}  # noqa: S608
        (revision,) = plain.execute("SELECT version_num FROM alembic_version").fetchone()
        (seen_at,) = plain.execute("SELECT max(seen_at) FROM clock").fetchone()
    return BackedUp(path, revision, seen_at or "", rows)
