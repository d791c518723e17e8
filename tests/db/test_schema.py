"""The migrations create exactly the tables of the models, once, even if run concurrently."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text

from nurture.db import schema
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable


def shape(tx: Transaction) -> dict[str, Any]:
    """All that the database reports about its tables, in a fixed order."""
    found = inspect(tx.connection)

    def column(info: Any) -> tuple[Any, ...]:
        kind = info["type"].compile(tx.connection.dialect)
        counted = info.get("identity"), info.get("autoincrement")
        return info["name"], kind, info["nullable"], info["default"], *map(str, counted)

    def plain(info: Any) -> Any:
        if isinstance(info, dict):
            return sorted((key, plain(value)) for key, value in info.items())
        return " ".join(str(info).split())

    return {
        table: {
            "columns": sorted(map(column, found.get_columns(table)), key=str),
            "primary key": plain(found.get_pk_constraint(table)),
            "foreign keys": sorted(map(plain, found.get_foreign_keys(table))),
            "uniques": sorted(map(plain, found.get_unique_constraints(table))),
            "checks": sorted(map(plain, found.get_check_constraints(table))),
            "indexes": sorted(map(plain, found.get_indexes(table))),
        }
        for table in sorted(set(found.get_table_names()) - {"alembic_version"})
    }


@pytest.fixture(params=["sqlite", "postgres"])
def two(request: pytest.FixtureRequest) -> Iterator[tuple[Database, Database]]:
    """A migrated database and an empty one of the same kind."""
    migrated = Database(request.getfixturevalue(f"{request.param}_url"))
    empty = Database(request.getfixturevalue(f"empty_{request.param}_url"))
    yield migrated, empty
    migrated.close()
    empty.close()


def test_from_empty_all_migrations_make_what_the_models_say(two: tuple[Database, Database]) -> None:
    migrated, modelled = two
    metadata.create_all(modelled.engine)
    with migrated.read() as one, modelled.read() as other:
        made, meant = shape(one), shape(other)
    assert made.keys() == metadata.tables.keys()
    for table, said in meant.items():
        assert made[table] == said, table


def test_alembic_finds_nothing_to_change_after_all_migrations(db: Database) -> None:
    with db.read() as tx:
        # Alembic misses the default of SQLite's generated keys. `shape` compares them above.
        options = {"compare_type": True, "compare_server_default": not tx.is_sqlite}
        context = MigrationContext.configure(tx.connection, opts=options)
        assert compare_metadata(context, metadata) == []


def triggers(tx: Transaction) -> set[tuple[str, str]]:
    sqlite = "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'"
    postgres = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal"
    found = tx.execute(text(sqlite if tx.is_sqlite else postgres))
    return {(table, name) for table, name in found}


def test_logs_and_custody_are_guarded_by_triggers_and_no_row_is_there_from_the_start(db: Database) -> None:
    logs = {"journal", "suppression", "consent_statement", "publication", "approval", "mail_stop", "console_action"}
    suffixes = ("_no_update", "_no_delete") if db.is_sqlite else ("_append_only",)
    with db.read() as tx:
        words = {(log, f"{log}_no_text_change") for log in ("journal", "suppression", "consent_statement")}
        assert triggers(tx) == {("custody", "custody_version_guard")} | words | {
            (log, log + suffix) for log in logs for suffix in suffixes
        } | {("journal", "journal_no_delete")}
        for table in metadata.sorted_tables:
            assert tx.execute(select(func.count()).select_from(table)).scalar() == 0, table.name


def test_ids_and_what_refers_to_them_have_64_bits(postgres_db: Database) -> None:
    narrow = """
        SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'integer' AND column_name ~ '(^|_)id$'
        """
    with postgres_db.read() as tx:
        assert set(tx.execute(text(narrow)).scalars()) == {"clock.id", "capacity_forecast.id", "queue_scan.id"}


@pytest.mark.parametrize("past", ["0001_the_house", "0009_routing", "0015_open_verdicts"])
def test_a_database_from_before_the_first_release_is_refused(db: Database, past: str) -> None:
    with db.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = :past"), {"past": past})
    for ask in (schema.require_current, schema.upgrade):
        with pytest.raises(DatabaseUnavailable, match=rf"is of revision {past}, .*Name a new database in NURTURE"):
            ask(db)
    with db.read() as tx:
        assert tx.execute(text("SELECT version_num FROM alembic_version")).scalar() == past


_NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999_color", "HEAD"
def upgrade():
    op.add_column("address", sa.Column("color", sa.String))
    op.execute("UPDATE address SET color = 'blue'")
    with op.batch_alter_table("address") as address:
        address.alter_column("color", existing_type=sa.String, nullable=False)
"""


def test_a_further_revision_is_applied_once_and_keeps_the_rows(db: Database, tmp_path: Path) -> None:
    (tmp_path / "9999_color.py").write_text(_NEXT.replace("HEAD", schema.head()))
    with db.write() as tx:
        tx.execute(text("INSERT INTO address (email, normalized) VALUES ('Mia@x.example', 'mia@x.example')"))
    assert schema.upgrade(db, tmp_path) == ["9999_color"]
    assert schema.upgrade(db, tmp_path) == []
    with db.read() as tx:
        assert tx.execute(text("SELECT normalized, color FROM address")).all() == [("mia@x.example", "blue")]
    with pytest.raises(DatabaseUnavailable, match=r"made by a newer nurture \(revision 9999_color"):
        schema.require_current(db)


def test_an_upgrade_says_what_it_did_and_a_second_one_does_nothing(empty_db: Database) -> None:
    assert schema.current(empty_db) is None
    assert schema.upgrade(empty_db)[-1] == schema.head()
    assert schema.current(empty_db) == schema.head()
    assert schema.upgrade(empty_db) == []
    schema.require_current(empty_db)


def test_of_two_upgrades_at_once_one_does_the_work(empty_db: Database) -> None:
    others = [Database(empty_db.url.render_as_string(hide_password=False)) for _ in range(3)]
    with ThreadPoolExecutor(len(others)) as pool:
        done = list(pool.map(schema.upgrade, others))
    for other in others:
        other.close()
    assert sorted(map(len, done)) == [0, 0, len(max(done, key=len))]
    schema.require_current(empty_db)


def test_a_database_without_tables_names_the_command_that_makes_them(empty_db: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"has no tables yet\. Run `nurture admin upgrade`"):
        schema.require_current(empty_db)


def test_asking_about_a_missing_file_does_not_create_it(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'no.db'}")
    assert schema.current(db) is None
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_a_newer_nurture_is_left_alone(db: Database) -> None:
    with db.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999_the_tower'"))
    for ask in (schema.require_current, schema.upgrade):
        with pytest.raises(DatabaseUnavailable, match=r"made by a newer nurture \(revision 9999_the_tower"):
            ask(db)


def test_tables_that_another_program_made_are_left_alone(empty_db: Database) -> None:
    with empty_db.write() as tx:
        tx.execute(text("CREATE TABLE lead (name text)"))
    with pytest.raises(DatabaseUnavailable, match=r"already has tables .* lead\. Name a database for nurture alone"):
        schema.upgrade(empty_db)
    with empty_db.read() as tx:
        assert inspect(tx.connection).get_table_names() == ["lead"]


def test_foreign_keys_are_checked_again_after_an_upgrade(empty_sqlite_url: str) -> None:
    db = Database(empty_sqlite_url)
    schema.upgrade(db)
    with db.read() as tx:
        assert tx.execute(text("PRAGMA foreign_keys")).scalar() == 1
    db.close()


def test_an_upgrade_that_finds_rows_pointing_nowhere_is_undone(sqlite_db: Database) -> None:
    with sqlite_db.alter() as tx:
        tx.execute(text("INSERT INTO identity VALUES ('crm', '1', 404, false)"))
    with pytest.raises(DatabaseUnavailable, match="rows of identity refer to missing rows"):
        schema.upgrade(sqlite_db)
