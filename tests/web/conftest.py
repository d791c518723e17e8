"""The world of the public pages, on both databases: made once, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from nurture.store.database import Database

from .world import World, moved_to, open_world


@pytest.fixture(scope="session")
def _made_on_sqlite(tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> tuple[World, Path]:
    folder = tmp_path_factory.mktemp("world")
    path = folder / "made.db"
    shutil.copyfile(_migrated_file, path)
    return _made(f"sqlite:///{path}", folder), path


@pytest.fixture(scope="session")
def _made_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, _postgres: Callable[[str], str], _migrated_postgres: str
) -> World:
    _copy(_postgres, _migrated_postgres, "made_world")
    return _made(_postgres("made_world"), tmp_path_factory.mktemp("world"))


def _made(url: str, folder: Path) -> World:
    db = Database(url)
    try:
        return open_world(db, folder)
    finally:
        db.close()


def _copy(url: Callable[[str], str], template: str, name: str) -> None:
    with psycopg.connect(url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


@pytest.fixture
def sqlite_world(_made_on_sqlite: tuple[World, Path], tmp_path: Path) -> Iterator[World]:
    """Four leads with their mail sent, on SQLite, where one database is enough."""
    made, path = _made_on_sqlite
    shutil.copyfile(path, tmp_path / "copy.db")
    db = Database(f"sqlite:///{tmp_path / 'copy.db'}")
    yield moved_to(made, db)
    db.close()


@pytest.fixture
def postgres_world(_made_on_postgres: World, _postgres: Callable[[str], str]) -> Iterator[World]:
    """The same on PostgreSQL."""
    _copy(_postgres, "made_world", "world_copy")
    db = Database(_postgres("world_copy"))
    yield moved_to(_made_on_postgres, db)
    db.close()


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest) -> World:
    """The same on SQLite, and again on PostgreSQL."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found
