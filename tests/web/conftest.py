"""The data of the public pages on both databases, created once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from nurture.db.engine import Database
from tests.postgres import ReusedDatabase
from tests.sqlite import replace_database, without_fsync
from tests.web.world import World, copy_world, open_world


@pytest.fixture(scope="session")
def _made_on_sqlite(tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> tuple[World, Path]:
    folder = tmp_path_factory.mktemp("world")
    path = folder / "made.db"
    shutil.copyfile(_migrated_file, path)
    return _made(f"sqlite:///{path}", folder), path


@pytest.fixture(scope="session")
def _made_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, _postgres: Callable[[str], str], _migrated_postgres: str
) -> Iterator[tuple[World, ReusedDatabase]]:
    with psycopg.connect(_postgres("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE made_world TEMPLATE {_migrated_postgres} STRATEGY file_copy")
    made = _made(_postgres("made_world"), tmp_path_factory.mktemp("world"))
    reused = ReusedDatabase(_postgres, "made_world", "world_copy")
    yield made, reused
    reused.close()


def _made(url: str, folder: Path) -> World:
    db = Database(url)
    try:
        return open_world(db, folder)
    finally:
        db.close()


@pytest.fixture(scope="session")
def _copied_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """One path for all copies, so that statements are compiled once."""
    return without_fsync(Database(f"sqlite:///{tmp_path_factory.mktemp('copies') / 'here' / 'copy.db'}"))


@pytest.fixture
def sqlite_world(_made_on_sqlite: tuple[World, Path], _copied_on_sqlite: Database) -> Iterator[World]:
    """Four leads with their mail sent, on SQLite, where one database is enough."""
    made, path = _made_on_sqlite
    replace_database(path, _copied_on_sqlite)
    world = copy_world(made, _copied_on_sqlite)
    yield world
    world.close()
    _copied_on_sqlite.close()


@pytest.fixture
def postgres_world(_made_on_postgres: tuple[World, ReusedDatabase]) -> Iterator[World]:
    """The same on PostgreSQL."""
    made, reused = _made_on_postgres
    world = copy_world(made, reused.database)
    yield world
    world.close()
    reused.reset()


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest) -> World:
    """The same on SQLite, and again on PostgreSQL."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found
