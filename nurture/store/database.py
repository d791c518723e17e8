"""The connection to the database, and the few things that SQLite and PostgreSQL do differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    Engine,
    Float,
    FromClause,
    Integer,
    String,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.sql import column
from sqlalchemy.types import TypeEngine

from nurture.errors import DatabaseUnusable
from nurture.store.types import Json, UtcDateTime, encode

BUSY_TIMEOUT_MS = 30_000


class Database:
    """An engine with two kinds of transaction: `read` and `write`.

    On SQLite a write begins IMMEDIATE (the lock is taken first, so that two writers wait instead of
    failing), the journal is a WAL and every commit is synced: what was promised survives a power cut.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise DatabaseUnusable(
                f"NURTURE_DATABASE_URL is not a database URL: {url!r}. "
                "Write sqlite:///nurture.db or postgresql://user@host/name."
            ) from error
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise DatabaseUnusable(
                f"nurture runs on SQLite and PostgreSQL, not on {parsed.get_backend_name()}. "
                "Write sqlite:///nurture.db or postgresql://user@host/name."
            )
        self.url = parsed
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = _engine(parsed.render_as_string(hide_password=False), sqlite=self.is_sqlite)

    @property
    def name(self) -> str:
        """Return the URL without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def skips_locked(self) -> bool:
        """Whether a claim can step over rows that another worker holds; SQLite has one writer at a time."""
        return not self.is_sqlite

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with _explained(self), self.engine.connect() as connection:
            yield connection.execution_options(nurture_read=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end, or leaves nothing behind."""
        with _explained(self), self.engine.begin() as connection:
            yield connection

    def rows(
        self, name: str, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]
    ) -> FromClause:
        """Return *rows* as a table expression, passed as one JSON parameter however many they are.

        One statement then reads, updates or inserts them all, with no limit of bound variables.
        """
        payload = orjson.dumps(rows, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()
        pick = _pick_sqlite if self.is_sqlite else _pick_postgres
        listed = ", ".join(
            f'{pick(place, kind)} AS "{label}"' for place, (label, kind) in enumerate(columns.items())
        )
        unnest = "json_each(:payload)" if self.is_sqlite else "jsonb_array_elements(CAST(:payload AS jsonb)) AS value"
        typed = [column(label, kind) for label, kind in columns.items()]
        return (
            text(f"SELECT {listed} FROM {unnest}")  # noqa: S608 - names come from the code, values are bound
            .bindparams(payload=payload)
            .columns(*typed)
            .cte(name)
        )

    def ids(self, name: str, ids: Sequence[int]) -> FromClause:
        """Return *ids* as a table expression with the column `id`."""
        return self.rows(name, {"id": BigInteger()}, [(id_,) for id_ in ids])

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


def _engine(url: str, *, sqlite: bool) -> Engine:
    def dumps(value: object) -> str:
        return orjson.dumps(value).decode()

    if not sqlite:
        engine = create_engine(
            url, json_serializer=dumps, json_deserializer=orjson.loads, pool_pre_ping=True,
            connect_args={"options": "-c timezone=UTC", "connect_timeout": 10},
        )
        return engine
    engine = create_engine(
        url, json_serializer=dumps, json_deserializer=orjson.loads,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None   # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA cache_size = -65536")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("nurture_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return encode(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"cannot store {value!r}")


def _pick_sqlite(place: int, kind: TypeEngine[Any]) -> str:
    del kind
    return f"json_extract(value, '$[{place}]')"


_POSTGRES_CASTS: dict[type, str] = {
    BigInteger: "bigint", Integer: "integer", Float: "double precision", Boolean: "boolean", Date: "date",
    UtcDateTime: "timestamptz", String: "text",
}


def _pick_postgres(place: int, kind: TypeEngine[Any]) -> str:
    if isinstance(kind, type(Json)):
        return f"NULLIF(value -> {place}, 'null'::jsonb)"
    cast = next(name for type_, name in _POSTGRES_CASTS.items() if isinstance(kind, type_))
    return f"(value ->> {place})::{cast}"


@contextmanager
def _explained(database: Database) -> Iterator[None]:
    """Turn what the driver says about the set-up into what a person can do."""
    try:
        yield
    except OperationalError as error:
        said = str(error.orig)
        raise DatabaseUnusable(f"{_remedy(said)} ({database.name}: {said.strip()})") from error
    except SQLAlchemyError as error:
        if "no such table" in str(error) or "does not exist" in str(error):
            raise DatabaseUnusable(
                f"The database {database.name} has no tables yet, or old ones. Run `nurture db upgrade`."
            ) from error
        raise


def _remedy(said: str) -> str:
    lower = said.lower()
    if "readonly" in lower or "read-only" in lower:
        return "The database is read-only. Check the permissions of the file and its folder."
    if "unable to open" in lower:
        return "The database cannot be opened. Check that its folder exists and is writable."
    if "no such table" in lower:
        return "The database has no tables yet. Run `nurture db upgrade`."
    if "disk" in lower or "full" in lower:
        return "The disk is full. Make room; nothing was half-done."
    if "locked" in lower:
        return "Another program holds the database. Wait for it, or stop it."
    return "The database does not answer. Check NURTURE_DATABASE_URL and that the server runs."
