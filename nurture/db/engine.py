"""The connection to the database, and the differences between SQLite and PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import OperationalError
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from sqlalchemy import URL, BigInteger, Connection, Engine, FromClause, TextClause, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import TypeEngine

from nurture.db.errors import raise_database_unusable, strip_row_values
from nurture.db.row_values import (
    first_of_each,
    postgres_column_sql,
    sqlite_column_sql,
    to_driver_rows,
    to_json_payload,
    typed_columns,
)
from nurture.errors import DatabaseUnavailable
from nurture.files import create_file, restrict_permissions
from nurture.versions import require_postgresql, require_sqlite

if TYPE_CHECKING:
    from nurture.db.machine_state import Machine

T = TypeVar("T")
AtCommit = Callable[[Connection, Sequence[Any]], Callable[[], None]]
"""A step at the end of a transaction; it returns a function to call after the commit."""

BUSY_TIMEOUT_MS = 30_000
_WAL_RETRY_SECONDS = 0.01
_AT_COMMIT = "nurture_at_commit"
_LAST_SEQUENCE_ID = "SELECT seq FROM sqlite_sequence WHERE name = :name"
_DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg"}
_UNNEST_SQLITE = "json_each(:payload)"
_UNNEST_POSTGRES = "jsonb_array_elements(CAST(:payload AS jsonb)) AS item"  # no column has this name
_UNNEST_IN_ORDER = "jsonb_array_elements(CAST(:payload AS jsonb)) WITH ORDINALITY AS item (item, place)"
_URL_HINT = "Write sqlite:///nurture.db or postgresql://user@host/name."


class Database:
    """An engine with two kinds of transaction: `read` and `write`.

    On SQLite a write begins IMMEDIATE (the lock is taken first, so that a second writer waits instead of
    failing), the journal is a WAL, and every commit is synced, so that it survives a power failure.
    *machine* is the state kept outside the database, None on a virtual clock.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._cache: dict[Hashable, Any] = {}
        self.machine: Machine | None = None
        self.engine = _engine(self.url.render_as_string(hide_password=False), sqlite=self.is_sqlite)
        if self.file is not None:
            _create_private(self.engine, self.file)

    @property
    def name(self) -> str:
        """Return the URL without its password."""
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def location(self) -> str:
        """Return what identifies this database on this machine: its path, or its server and name."""
        if self.file is not None:
            return str(self.file.resolve())
        return f"{self.url.host or ''}:{self.url.port or ''}/{self.url.database}"

    @property
    def skips_locked(self) -> bool:
        """Return whether a claim can skip rows that another worker has locked; SQLite has a single writer."""
        return not self.is_sqlite

    @property
    def file(self) -> Path | None:
        """Return the path of the SQLite file, None for PostgreSQL and databases in memory."""
        path = self.url.database
        plain = self.is_sqlite and path and path != ":memory:" and not path.startswith("file:")
        return Path(path) if path and plain else None

    @property
    def is_missing(self) -> bool:
        """Return whether this is an SQLite file that does not exist yet; opening it would create it."""
        return self.file is not None and not self.file.exists()

    def tighten(self) -> None:
        """Remove the permissions of other accounts from the SQLite file, its -wal, -shm and -journal."""
        if self.file is not None:
            for path in (self.file, *(Path(f"{self.file}{end}") for end in ("-wal", "-shm", "-journal"))):
                restrict_permissions(path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read-only transaction; a write inside it is an error."""
        with raise_database_unusable(self.name), self.engine.connect() as connection:
            connection.execution_options(nurture_read=True, postgresql_readonly=True)
            if not self.is_sqlite:
                yield connection
                return
            with _pragma(connection, "query_only", inside="ON", after="OFF"):
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end, or rolls back on an exception."""
        with raise_database_unusable(self.name):
            with self.engine.begin() as connection:
                steps: dict[AtCommit, list[Any]] = {}
                connection.info[_AT_COMMIT] = steps
                yield connection
                done = [step(connection, items) for step, items in steps.items()]
            for after in done:
                after()

    def at_commit(self, connection: Connection, step: AtCommit, items: Sequence[Any] = ()) -> None:
        """Run *step* once at the end of this `write`, with the items of all calls."""
        steps: dict[AtCommit, list[Any]] = connection.info[_AT_COMMIT]
        steps.setdefault(step, []).extend(items)

    @contextmanager
    def alter(self) -> Iterator[Connection]:
        """Open a write transaction in which tables may be replaced: on SQLite without foreign key checks."""
        with raise_database_unusable(self.name), self.engine.connect() as connection:
            if not self.is_sqlite:
                with connection.begin():
                    yield connection
                return
            with _pragma(connection, "foreign_keys", inside="OFF", after="ON"), connection.begin():
                yield connection

    def rows(self, name: str, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]) -> FromClause:
        """Return *rows* as a table expression, passed as one JSON parameter.

        One statement then reads, updates or inserts any number of rows. PostgreSQL cannot store NUL: it becomes
        U+FFFD on both databases, so that one row cannot fail its batch.
        """
        listed = self._unnested_rows(columns).bindparams(payload=self.payload(columns, rows))
        return listed.columns(*typed_columns(columns)).cte(name)

    def rows_parameter(self, name: str, columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
        """Return a table expression whose rows are the parameter `payload` of each execution."""
        return self._unnested_rows(columns).columns(*typed_columns(columns)).cte(name)

    def cached(self, key: Hashable, build: Callable[[], T]) -> T:
        """Return the value cached under *key*, built on the first call.

        For statements that run many times a second: building one takes longer than running it.
        """
        if key not in self._cache:
            self._cache[key] = build()
        value: T = self._cache[key]
        return value

    def payload(self, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]) -> str:
        """Return *rows* as the value of the parameter `payload`."""
        return to_json_payload(columns, rows)

    def _unnested_rows(self, columns: Mapping[str, TypeEngine[Any]]) -> TextClause:
        pick = sqlite_column_sql if self.is_sqlite else postgres_column_sql
        listed = ", ".join(
            f'{pick(position, kind)} AS "{label}"' for position, (label, kind) in enumerate(columns.items())
        )
        unnest = _UNNEST_SQLITE if self.is_sqlite else _UNNEST_POSTGRES
        return text(f"SELECT {listed} FROM {unnest}")  # noqa: S608 - names come from the code, values are bound

    def insert(
        self,
        connection: Connection,
        table: str,
        columns: Mapping[str, TypeEngine[Any]],
        rows: Sequence[Sequence[Any]],
        *,
        ignore_conflicts: bool = False,
        unique_columns: Sequence[str] = (),
    ) -> int:
        """Insert *rows* with one statement; return how many were inserted.

        *ignore_conflicts* skips rows that exist. For a table with generated ids, name the *unique_columns*
        instead: PostgreSQL uses up an id before it finds a conflict, so existing rows are excluded before.

        On SQLite, one prepared statement with many rows is three times as fast as unnesting JSON.
        """
        if not rows:
            return 0
        names = ", ".join(f'"{name}"' for name in columns)
        unless = " ON CONFLICT DO NOTHING" if ignore_conflicts or unique_columns else ""
        if self.is_sqlite:
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({names}) VALUES ({marks}){unless}"  # noqa: S608 - names come from the code
            return connection.exec_driver_sql(statement, to_driver_rows(columns, rows)).rowcount
        listed = ", ".join(f"{postgres_column_sql(place, kind)}" for place, kind in enumerate(columns.values()))
        chosen = f"SELECT {listed} FROM {_UNNEST_IN_ORDER if unique_columns else _UNNEST_POSTGRES}"  # noqa: S608
        for position, key in enumerate(unique_columns):
            place = list(columns).index(key)
            value_sql = postgres_column_sql(place, columns[key])
            chosen += " AND" if position else " WHERE"
            chosen += f" NOT EXISTS (SELECT FROM {table} AS had WHERE had.{key} = {value_sql})"
            rows = first_of_each(rows, place)
        chosen += " ORDER BY place" if unique_columns else ""  # the anti-join does not keep the order
        statement = f"INSERT INTO {table} ({names}) {chosen}{unless}"
        return connection.execute(text(statement), {"payload": to_json_payload(columns, rows)}).rowcount

    def ids(self, name: str, ids: Sequence[int]) -> FromClause:
        """Return *ids* as a table expression with the column `id`."""
        return self.rows(name, {"id": BigInteger()}, [(id_,) for id_ in ids])

    def reserve_ids(self, connection: Connection, table: str, count: int) -> list[int]:
        """Reserve *count* ids of *table* inside a write transaction, and return them."""
        if count == 0:
            return []
        if self.is_sqlite:
            newest_query = f"SELECT max(coalesce(max(id), 0), coalesce(({_LAST_SEQUENCE_ID}), 0)) FROM {table}"  # noqa: S608
            newest = connection.execute(text(newest_query), {"name": table}).scalar_one()
            return list(range(newest + 1, newest + 1 + count))
        query = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")
        return list(connection.execute(query, {"name": table, "count": count}).scalars())

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        if self.machine is not None:
            self.machine.close()


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        shown = re.sub(r":[^:@/]*@", ":***@", url)
        raise DatabaseUnavailable(f"NURTURE_DATABASE_URL is not a database URL: {shown!r}. {_URL_HINT}") from error
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "postgres":
        backend = "postgresql"
    if backend not in _DRIVERS:
        raise DatabaseUnavailable(f"nurture runs on SQLite and PostgreSQL, not on {backend}. {_URL_HINT}")
    if driver not in ("", _DRIVERS[backend]):
        raise DatabaseUnavailable(f"nurture connects to {backend} by {_DRIVERS[backend]}, not {driver}. {_URL_HINT}")
    return parsed.set(drivername=f"{backend}+{_DRIVERS[backend]}")


def _use_wal(cursor: Any) -> None:
    """Turn the journal to WAL; retry while another connection does the same to a new file.

    SQLite answers the loser of that race with "database is locked" at once, whatever the busy timeout is.
    """
    give_up_at = monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except OperationalError as error:
            if "locked" not in str(error) or monotonic() > give_up_at:
                raise
            sleep(_WAL_RETRY_SECONDS)
        else:
            return


@contextmanager
def _pragma(connection: Connection, name: str, *, inside: str, after: str) -> Iterator[None]:
    """Set a pragma that SQLite changes only outside a transaction, and reset it at the end."""
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA {name} = {inside}")
    try:
        yield
    finally:
        connection.rollback()  # after a commit this does nothing
        driver.execute(f"PRAGMA {name} = {after}")


def _engine(url: str, *, sqlite: bool) -> Engine:
    def dumps(value: object) -> str:
        return orjson.dumps(value).decode()

    if not sqlite:
        engine = create_engine(
            url,
            json_serializer=dumps,
            json_deserializer=orjson.loads,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={"options": "-c timezone=UTC", "connect_timeout": 10},
        )
        event.listen(engine, "handle_error", strip_row_values)

        @event.listens_for(engine, "connect")
        def _check_version(connection: Any, _record: object) -> None:
            require_postgresql(connection.info.server_version)

        return engine
    require_sqlite()
    engine = create_engine(
        url,
        json_serializer=dumps,
        json_deserializer=orjson.loads,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the "begin" event below sends BEGIN
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA secure_delete = ON")  # erased personal data is overwritten in freed pages too
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA cache_size = -65536")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("nurture_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _create_private(engine: Engine, path: Path) -> None:
    """Create the SQLite file with mode 0600 before SQLite opens it; -wal and -shm inherit the mode."""

    @event.listens_for(engine, "do_connect")
    def _create(*_: object) -> None:
        create_file(path)
