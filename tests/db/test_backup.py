"""A backup is complete, private, and never replaces another file."""

from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

import nurture.db.migrations
from nurture.db.backup import create_backup
from nurture.db.engine import Database
from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.journey.consent.suppression import suppress
from tests.journey.builders import START, add_lead, make_context

REVISIONS = Path(nurture.db.migrations.__path__[0]) / "versions"


def test_a_backup_holds_what_was_committed_also_in_the_wal(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    add_lead(ctx, email="mia@people.example")
    done = create_backup(sqlite_db, tmp_path / "kept" / "backup.db")
    assert done.rows["lead"] == 1
    assert done.revision == max(path.stem for path in REVISIONS.glob("0*.py"))
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert [path.name for path in done.path.parent.iterdir()] == ["backup.db"]
    with closing(sqlite3.connect(done.path)) as plain:
        assert plain.execute("SELECT email FROM address").fetchall() == [("mia@people.example",)]


def test_a_backup_is_made_while_others_write(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            suppress(ctx, [f"p{number}@people.example"], START)
            number += 1
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        done = [create_backup(sqlite_db, tmp_path / f"{n}.db") for n in range(5)]
    finally:
        stop.set()
        writer.join()
    counts = [one.rows["suppression"] for one in done]
    assert counts == sorted(counts)
    assert counts[0] >= 1


def test_a_backup_replaces_no_file(sqlite_db: Database, tmp_path: Path) -> None:
    precious = tmp_path / "precious.db"
    precious.write_text("notes")
    with pytest.raises(InvalidState, match="exists"):
        create_backup(sqlite_db, precious)
    assert precious.read_text() == "notes"


def test_a_damaged_copy_is_no_backup(sqlite_db: Database, tmp_path: Path) -> None:
    make_context(sqlite_db, tmp_path)
    with sqlite_db.write() as tx:
        tx.exec_driver_sql("CREATE INDEX ix_broken ON address (email)")
        tx.exec_driver_sql("INSERT INTO address (email, normalized) VALUES ('a', 'a'), ('b', 'b')")
    with closing(sqlite3.connect(str(sqlite_db.url.database))) as plain:
        plain.execute("PRAGMA writable_schema = ON")
        plain.execute(
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX ix_broken ON address (normalized DESC)' "
            "WHERE name = 'ix_broken'"
        )
        plain.commit()
    sqlite_db.close()
    with pytest.raises((InvalidState, FileUnreadable)):
        create_backup(sqlite_db, tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()
    assert not list(tmp_path.glob(".backup*"))


def test_a_folder_that_cannot_be_used_is_reported(sqlite_db: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileUnreadable, match="was not written"):
        create_backup(sqlite_db, tmp_path / "file" / "backup.db")


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'none' / 'nurture.db'}")
    with pytest.raises(NotFound, match="NURTURE_DATABASE_URL"):
        create_backup(database, tmp_path / "backup.db")


def test_on_postgresql_the_error_names_its_own_tools(postgres_db: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidState, match="pg_dump"):
        create_backup(postgres_db, tmp_path / "backup.db")
