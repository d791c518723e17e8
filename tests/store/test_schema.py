"""The migrations make exactly the tables that the models describe, once, whoever runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from nurture.store.database import Database
from nurture.store.tables import metadata

APPEND_ONLY = {"journal", "suppression", "publication"}


def shape(connection: Connection) -> dict[str, Any]:
    """Everything that the database itself tells of its tables, in an order of no meaning."""
    found = inspect(connection)

    def column(told: Any) -> tuple[Any, ...]:
        kind = told["type"].compile(connection.dialect)
        return told["name"], kind, told["nullable"], told["default"], told.get("autoincrement")

    def plain(told: Any) -> Any:
        if isinstance(told, dict):
            return sorted((key, plain(value)) for key, value in told.items())
        return " ".join(str(told).split())

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
    with db.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
