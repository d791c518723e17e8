"""Databases with planned messages for the experiments, and copies of them."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import psycopg
from sqlalchemy import text

from nurture.clock import RealClock
from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.tracks import advance, enroll
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.journey.builders import sample_rules
from tests.journey.observe import add_leads

BASE_URL: Final = "https://nurture.example.com"
_ALWAYS_OPEN: Final = {
    "days: [mon, tue, wed, thu, fri]": "days: [mon, tue, wed, thu, fri, sat, sun]",
    "between: 09:00-17:00": "between: 00:00-00:00",
}


class RunDatabase(NamedTuple):
    """One database of one run."""

    url: str

    def url_of(self, name: str) -> str:
        """Return a URL that identifies the connections of the worker *name*."""
        return self.url if self.url.startswith("sqlite") else f"{self.url}&application_name={name}"


class DatabaseSource(Protocol):
    """Makes databases with *count* first emails, planned and due; or due to be planned; or sent in a *batch*."""

    name: str
    count: int

    def fresh(self) -> AbstractContextManager[RunDatabase]:
        """Yield a database for one run."""
        ...


class SqliteSource:
    """SQLite files, copied from one."""

    def __init__(
        self, folder: Path, count: int, *, planned: bool = True, ready: bool = False, batch: bool = False
    ) -> None:
        self.name = "sqlite_batch" if batch else "sqlite"
        self.count = count
        self._folder = Path(tempfile.mkdtemp(dir=folder, prefix="sqlite-"))
        self._template = self._folder / "template.db"
        _fill_database(f"sqlite:///{self._template}", count, planned=planned and not ready, ready=ready, batch=batch)
        self._numbers = itertools.count(1)

    @contextmanager
    def fresh(self, folder: Path | None = None) -> Iterator[RunDatabase]:
        """Yield a copy, in *folder* if given."""
        path = (folder or self._folder) / f"run{next(self._numbers)}.db"
        shutil.copyfile(self._template, path)
        try:
            yield RunDatabase(f"sqlite:///{path}")
        finally:
            for left in path.parent.glob(f"{path.name}*"):
                left.unlink()


class PostgresSource:
    """Databases of one PostgreSQL server, copied from one; *url* returns the URL of a database by name."""

    def __init__(
        self, url: Callable[[str], str], count: int, *, planned: bool = True, ready: bool = False, batch: bool = False
    ) -> None:
        self.name = "postgres_batch" if batch else "postgres"
        self.count = count
        self._url = url
        self._stem = f"chaos_{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)
        with self._server() as server:
            server.execute(f"CREATE DATABASE {self._stem}")
        _fill_database(url(self._stem), count, planned=planned and not ready, ready=ready, batch=batch)

    @contextmanager
    def fresh(self, tablespace: str = "pg_default") -> Iterator[RunDatabase]:
        """Yield a copy, in *tablespace*."""
        name = f"{self._stem}_{next(self._numbers)}"
        with self._server() as server:
            server.execute(f"CREATE DATABASE {name} TEMPLATE {self._stem} STRATEGY file_copy TABLESPACE {tablespace}")
        try:
            yield RunDatabase(self._url(name))
        finally:
            with self._server() as server:
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def tablespace(self, folder: Path) -> Iterator[str]:
        """Create a tablespace in *folder* and yield its name."""
        name = f"{self._stem}_{next(self._numbers)}"
        with self._server() as server:
            (home,) = server.execute("SHOW data_directory").fetchone() or ("",)
            owner = Path(str(home)).stat()
            folder.mkdir(exist_ok=True)
            os.chown(folder, owner.st_uid, owner.st_gid)
            server.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        try:
            yield name
        finally:
            with self._server() as server:
                server.execute(f"DROP TABLESPACE {name}")

    @contextmanager
    def _server(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            yield connection


@contextmanager
def empty_databases(server: Callable[[str], str], folder: Path) -> Iterator[dict[str, Database]]:
    """Yield an empty database of each kind, by name."""
    folder.mkdir(exist_ok=True)
    name = f"empty_{secrets.token_hex(4)}"
    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    found = {"sqlite": Database(f"sqlite:///{folder / 'empty.db'}"), "postgres": Database(server(name))}
    try:
        yield found
    finally:
        for database in found.values():
            database.close()
        with psycopg.connect(server("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def now() -> datetime:
    """Return the real time, which the double uses for its rate limits."""
    return RealClock().now()


def _fill_database(url: str, count: int, *, planned: bool, ready: bool, batch: bool) -> None:
    """Import *count* leads: on a track, or *ready* for sales."""
    database = Database(url)
    schema.upgrade(database)
    ctx = AppContext(database, DiscardingProvider(), base_url=BASE_URL, message_kinds=MESSAGE_KINDS)
    due = now() - timedelta(minutes=5)
    start = due - timedelta(hours=1)
    clock_row.bind_mode(database, "live", start)
    rules = _rules()
    if batch:
        rules["tracks/welcome/track.yaml"] += "batch: yes\n"
    publish(ctx, rules, start)
    add_leads(ctx, count, start, title="Head", **({"demo_requested": True} if ready else {}))
    enroll.classify(ctx, start)
    advance.advance(ctx, start)
    if planned:
        advance.advance(ctx, due)
        with database.read() as tx:
            found = tx.execute(text("SELECT count(*) FROM message WHERE state = 'planned'"))
            assert found.scalar_one() == count
    if not database.is_sqlite:
        with database.write() as tx:
            tx.execute(text("ANALYZE"))
    database.close()


def _rules() -> dict[str, str]:
    rules = sample_rules()
    for usual, always in _ALWAYS_OPEN.items():
        assert usual in rules["defaults.yaml"]
        rules["defaults.yaml"] = rules["defaults.yaml"].replace(usual, always)
    return rules
