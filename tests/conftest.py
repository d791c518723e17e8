"""Provide databases for tests, clean for each test (SQLite files and a real PostgreSQL), and a browser."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from nurture.db import schema
from nurture.db.engine import Database
from tests.doc_examples import run_in_folder
from tests.postgres import ReusedDatabase, postgres
from tests.sqlite import create_migrated, replace_database, without_fsync

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PURE_FOLDERS = ("tests/domain/", "tests/definitions/", "tests/journey/ownership/match/")
"""Folders of tests without a database; `make quick` runs them all."""

LONGEST = (
    "tests/console/test_accessibility.py",
    "tests/flows/test_up.py",
    "tests/console/test_imports.py",
    "tests/flows/test_server.py",
    "tests/mail/inbound/test_corpus.py",
    "tests/operations/test_restore.py",
    "tests/journey/handoff/test_requests.py",
    "tests/console/",
    "tests/stories/",
    "tests/flows/",
    "tests/test_readme.py",
    "tests/cli/",
    "tests/web/test_browser.py",
    "tests/journey/",
)
"""Files and folders that take longest, a minute and more for one file, the longest first."""

# The time of an example depends on the machine's load. Examples share a test's folder on purpose.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("untimed")

gc.disable()  # until all is imported and collected: what is made until then stays, and looking through it takes a third
_numbers = itertools.count(1)


def _migrate(url: str) -> None:
    db = Database(url)
    try:
        schema.upgrade(db)
    finally:
        db.close()


@pytest.fixture(scope="session", autouse=True)
def _state_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the machine's state journal out of the real home folder, in child processes too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "migrated.db"
    create_migrated(path)
    return path


@pytest.fixture(scope="session")
def _reused_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Use one path for all files, so that statements are compiled once."""
    return without_fsync(Database(f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'here' / 'nurture.db'}"))


@pytest.fixture
def sqlite_url(_reused_sqlite: Database, _migrated_file: Path) -> str:
    """Provide a migrated SQLite file for this test."""
    replace_database(_migrated_file, _reused_sqlite)
    return f"sqlite:///{_reused_sqlite.url.database}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """Provide the URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Callable[[str], str]]:
    """Provide one server for the session."""
    with postgres() as url:
        yield url


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


@pytest.fixture(scope="session")
def _reused_postgres(_postgres: Callable[[str], str], _migrated_postgres: str) -> Iterator[ReusedDatabase]:
    reused = ReusedDatabase(_postgres, _migrated_postgres, "reused")
    yield reused
    reused.close()


@pytest.fixture
def postgres_url(_reused_postgres: ReusedDatabase) -> Iterator[str]:
    """Provide a clean migrated PostgreSQL database."""
    yield _reused_postgres.url
    _reused_postgres.reset()


@pytest.fixture
def empty_postgres_url(_postgres: Callable[[str], str]) -> Iterator[str]:
    """Provide a PostgreSQL database without tables."""
    with _postgres_database(_postgres, "template0") as url:
        yield url


@pytest.fixture
def lone_postgres_url(_postgres: Callable[[str], str], _migrated_postgres: str) -> Iterator[str]:
    """Provide a migrated PostgreSQL database without other connections, so that it can be copied."""
    with _postgres_database(_postgres, _migrated_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "lone_postgres"])
def lone_url(request: pytest.FixtureRequest) -> str:
    """Provide a migrated database that can be copied and restored, on SQLite and again on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Provide a migrated database for this test, on SQLite and again on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def db(request: pytest.FixtureRequest, database_url: str) -> Database:
    """Provide a migrated database for this test, on SQLite and again on PostgreSQL."""
    kind = "sqlite" if database_url.startswith("sqlite") else "postgres"
    found: Database = request.getfixturevalue(f"{kind}_db")
    return found


@pytest.fixture
def sqlite_db(sqlite_url: str, _reused_sqlite: Database) -> Iterator[Database]:
    """Provide a migrated SQLite database for this test, where one kind is enough."""
    yield _reused_sqlite
    _reused_sqlite.close()


@pytest.fixture
def postgres_db(postgres_url: str, _reused_postgres: ReusedDatabase) -> Database:
    """Provide a clean migrated PostgreSQL database."""
    return _reused_postgres.database


@pytest.fixture(params=["sqlite", "postgres"])
def empty_db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a database without tables, on SQLite and again on PostgreSQL."""
    yield from _open_database(request.getfixturevalue(f"empty_{request.param}_url"))


def _open_database(url: str) -> Iterator[Database]:
    db = Database(url)
    yield db
    db.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long files first, so that no worker is idle at the end; mark the quick ones."""
    long = {part: place for place, part in enumerate(LONGEST)}
    items.sort(key=lambda item: min((long[part] for part in long if item.nodeid.startswith(part)), default=len(long)))
    for item in items:
        if item.nodeid.startswith(PURE_FOLDERS):
            item.add_marker("quick")


def pytest_collection_finish() -> None:
    """Collect garbage from now on, seldom, and only of the tests."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the results of stories: `record_property("story", ...)` is passed on by every worker."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "story":
                terminalreporter.write_line(text)


@pytest.fixture
def run_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Return a function that runs a script in a new folder without settings, and returns nurture's output."""
    for name in [name for name in os.environ if name.startswith("NURTURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return partial(run_in_folder, tmp_path, monkeypatch=monkeypatch, capsys=capsys)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module."""
    from tests.web.browser import chromium

    with chromium() as running:
        yield running
