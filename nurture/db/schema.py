"""The state of a database's tables: upgrade them, or say plainly that it must be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock as ThreadLock
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.db.tables.crm import metadata
from nurture.errors import DatabaseUnavailable

_MIGRATIONS = Path(__file__).with_name("migrations")
_ALEMBIC_LOCK = ThreadLock()
_UNRELEASED_REVISIONS = (
    *("0001_the_house", "0002_trusted_delivery", "0003_evidence_and_scores", "0004_mail_events", "0005_api"),
    *("0006_own_links", "0007_pace", "0008_replies", "0009_routing", "0010_offers", "0011_pace", "0012_crm"),
    *("0013_audit", "0014_approval", "0015_open_verdicts"),
)
"""What the first revision of the first release replaced."""


def head() -> str:
    """Return the newest revision that this nurture knows."""
    newest = _scripts().get_current_head()
    assert newest is not None
    return newest


def current(db: Database) -> str | None:
    """Return the revision of *db*, or None when it has no tables of ours yet."""
    if db.is_missing:
        return None
    with db.read() as connection:
        return _revision(connection)


def require_current(db: Database) -> None:
    """Refuse a database whose tables are older or newer than this nurture.

    Raises:
        DatabaseUnavailable: it must be upgraded, or a newer nurture made it.
    """
    found = current(db)
    if found == head():
        return
    _require_known(db, found, _scripts())
    state = "has no tables yet" if found is None else f"is at revision {found}, this nurture needs {head()}"
    raise DatabaseUnavailable(f"The database {db.name} {state}. Run `nurture admin upgrade`.")


def upgrade(db: Database, *more: Path) -> list[str]:
    """Bring the tables of *db* to the newest revision; return the revisions applied, oldest first.

    All are applied in one transaction. Two upgrades at once are safe: the second waits for the first and
    finds nothing to do. *more* are folders with revisions beside nurture's own.

    Raises:
        DatabaseUnavailable: a newer or an unreleased nurture made this database, or it has other tables.
    """
    with _exclusive_connection(db) as connection:
        found = _revision(connection)
        scripts = _scripts(*more)
        _require_known(db, found, scripts)
        if found is None:
            _require_empty(db, connection)
        return _run(connection, scripts)


def _run(connection: Connection, scripts: ScriptDirectory) -> list[str]:
    applied: list[str] = []

    def steps(revision: Any, _context: MigrationContext) -> Any:
        pending = scripts._upgrade_revs("head", revision)  # noqa: SLF001 - as Alembic's own commands do
        applied.extend(step.revision.revision for step in pending)
        return pending

    # Alembic's environment is one per program, not one per thread.
    with _ALEMBIC_LOCK, EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        environment.run_migrations()
    return applied


@contextmanager
def _exclusive_connection(db: Database) -> Iterator[Connection]:
    """Open a writing transaction that no other upgrade shares."""
    with db.alter() as connection:
        if not db.is_sqlite:
            acquire(db, connection, Lock.SCHEMA)
            yield connection
            return
        yield connection
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            tables = ", ".join(sorted({row[0] for row in broken}))
            raise DatabaseUnavailable(
                f"{db.name} was not upgraded: rows of {tables} point to rows that are not there. "
                "Restore the last good copy of the file and upgrade that."
            )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _require_known(db: Database, found: str | None, scripts: ScriptDirectory) -> None:
    if found is None or found in {script.revision for script in scripts.walk_revisions()}:
        return
    if found in _UNRELEASED_REVISIONS:
        raise DatabaseUnavailable(
            f"The database {db.name} is of revision {found}, from before the first release, and cannot be "
            "upgraded. Name a new database in NURTURE_DATABASE_URL and run `nurture admin upgrade`."
        )
    raise DatabaseUnavailable(
        f"The database {db.name} was made by a newer nurture (revision {found}; this one knows {head()}). "
        "Install the newer nurture, or name another database in NURTURE_DATABASE_URL."
    )


def _require_empty(db: Database, connection: Connection) -> None:
    ours = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if ours:
        raise DatabaseUnavailable(
            f"The database {db.name} already has tables that nurture's migrations did not make: "
            f"{', '.join(ours[:5])}. Give nurture a database of its own in NURTURE_DATABASE_URL."
        )


@cache
def _scripts(*more: Path) -> ScriptDirectory:
    folders = [str(folder) for folder in (_MIGRATIONS / "versions", *more)]
    return ScriptDirectory(str(_MIGRATIONS), version_locations=folders)
