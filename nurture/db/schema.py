"""Upgrades of a database's tables, and the check that they are current."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock as ThreadLock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, MetaData, String, Table, inspect, select

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).with_name("migrations")
_VERSIONS = _MIGRATIONS / "versions"
_ALEMBIC_VERSION: Final = Table("alembic_version", MetaData(), Column("version_num", String(32)))
"""Alembic's own table. It is read here without Alembic, whose import costs every command a tenth of a second."""

_ALEMBIC_LOCK = ThreadLock()
_UNRELEASED_REVISIONS = (
    *("0001_the_house", "0002_trusted_delivery", "0003_evidence_and_scores", "0004_mail_events", "0005_api"),
    *("0006_own_links", "0007_pace", "0008_replies", "0009_routing", "0010_offers", "0011_pace", "0012_crm"),
    *("0013_audit", "0014_approval", "0015_open_verdicts"),
)
"""Revisions from before the first release, which cannot be upgraded."""


def head() -> str:
    """Return the newest revision of this nurture."""
    return max(_revisions())


def current(db: Database) -> str | None:
    """Return the revision of *db*, None if it has no tables yet."""
    if db.is_missing:
        return None
    with db.read() as tx:
        return _revision(tx)


def require_current(db: Database) -> None:
    """Raise DatabaseUnavailable if the tables of *db* are older or newer than this nurture."""
    found = current(db)
    if found == head():
        return
    _require_known(db, found, _revisions())
    state = "has no tables yet" if found is None else f"is at revision {found}, this nurture needs {head()}"
    raise DatabaseUnavailable(f"The database {db.name} {state}. Run `nurture admin upgrade`.")


def upgrade(db: Database, *more: Path) -> list[str]:
    """Upgrade the tables of *db* in one transaction; return the applied revisions, oldest first.

    Concurrent upgrades are safe: the second waits for the first and finds nothing to do. *more* are folders
    with additional revisions. Raises DatabaseUnavailable for a database of a newer or unreleased nurture, or one
    with tables of another program.
    """
    with _exclusive_connection(db) as tx:
        found = _revision(tx)
        _require_known(db, found, _revisions(*more))
        if found is None:
            _require_empty(tx)
        return _run(tx, _scripts(*more))


def _run(tx: Transaction, scripts: ScriptDirectory) -> list[str]:
    from alembic.config import Config  # noqa: PLC0415 - only an upgrade needs it
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415

    from nurture.db.metadata import metadata  # noqa: PLC0415 - as above

    applied: list[str] = []

    def steps(revision: Any, _context: MigrationContext) -> Any:
        pending = scripts._upgrade_revs("head", revision)  # noqa: SLF001 - as Alembic's own commands do
        applied.extend(step.revision.revision for step in pending)
        return pending

    # Alembic's environment is global to the process.
    with _ALEMBIC_LOCK, EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=tx.connection, target_metadata=metadata, render_as_batch=True)
        environment.run_migrations()
    return applied


@contextmanager
def _exclusive_connection(db: Database) -> Iterator[Transaction]:
    """Open a write transaction that excludes other upgrades."""
    with db.alter() as tx:
        if not tx.is_sqlite:
            acquire(tx, Lock.SCHEMA)
            yield tx
            return
        yield tx
        broken = tx.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            tables = ", ".join(sorted({row[0] for row in broken}))
            raise DatabaseUnavailable(
                f"{db.name} was not upgraded: rows of {tables} refer to missing rows. "
                "Restore the last good backup and upgrade that."
            )


def _revision(tx: Transaction) -> str | None:
    if not inspect(tx.connection).has_table(_ALEMBIC_VERSION.name):
        return None
    return tx.execute(select(_ALEMBIC_VERSION.c.version_num)).scalar()


def _require_known(db: Database, found: str | None, known: frozenset[str]) -> None:
    if found is None or found in known:
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


def _require_empty(tx: Transaction) -> None:
    from nurture.db.metadata import metadata  # noqa: PLC0415 - for a new database only

    ours = sorted(set(inspect(tx.connection).get_table_names()) & set(metadata.tables))
    if ours:
        raise DatabaseUnavailable(
            f"The database {tx.database.name} already has tables that nurture's migrations did not create: "
            f"{', '.join(ours[:5])}. Name a database for nurture alone in NURTURE_DATABASE_URL."
        )


@cache
def _revisions(*more: Path) -> frozenset[str]:
    """Return the revisions that this nurture knows: each file is named for its own, and the numbers rise."""
    return frozenset(file.stem for folder in (_VERSIONS, *more) for file in folder.glob("[0-9]*.py"))


@cache
def _scripts(*more: Path) -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - only an upgrade needs it

    folders = [str(folder) for folder in (_VERSIONS, *more)]
    return ScriptDirectory(str(_MIGRATIONS), version_locations=folders)
