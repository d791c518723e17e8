"""The connection to the database, and the differences between SQLite and PostgreSQL."""

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import OperationalError
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from nurture.db.errors import raise_database_unusable, strip_row_values
from nurture.db.key_counts import add_count_keys
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable
from nurture.files import create_file, restrict_permissions
from nurture.versions import require_postgresql, require_sqlite

if TYPE_CHECKING:
    from nurture.db.machine_state import Machine

BUSY_TIMEOUT_MS = 30_000
_WAL_RETRY_SECONDS = 0.01
_DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg"}
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
        self.statement_cache: dict[Hashable, Any] = {}
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
    def read(self) -> Iterator[Transaction]:
        """Open a read-only transaction; a write inside it is an error."""
        with raise_database_unusable(self.name), self.engine.connect() as connection:
            connection.execution_options(nurture_read=True, postgresql_readonly=True)
            if not self.is_sqlite:
                yield Transaction(connection, self)
                return
            with _pragma(connection, "query_only", inside="ON", after="OFF"):
                yield Transaction(connection, self)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that commits at the end, or rolls back on an exception."""
        with raise_database_unusable(self.name):
            with self.engine.begin() as connection:
                tx = Transaction(connection, self)
                yield tx
                done = tx.run_at_commit()
            for after in done:
                after()

    @contextmanager
    def alter(self) -> Iterator[Transaction]:
        """Open a write transaction in which tables may be replaced: on SQLite without foreign key checks."""
        with raise_database_unusable(self.name), self.engine.connect() as connection:
            if not self.is_sqlite:
                with connection.begin():
                    yield Transaction(connection, self)
                return
            with _pragma(connection, "foreign_keys", inside="OFF", after="ON"), connection.begin():
                yield Transaction(connection, self)

    def skip_sync(self) -> None:
        """Leave commits to the operating system: they outlive this process, but not a power failure."""
        if self.file is None:
            return
        self.engine.dispose()

        @event.listens_for(self.engine, "connect")
        def _skip(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        if self.machine is not None:
            self.machine.close()


class OpenDatabase:
    """A database whose every transaction is the one that is open, *tx*: what runs on it is undone with *tx*."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx.database, name)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Provide the open transaction."""
        yield self._tx

    write = read


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
        add_count_keys(connection)

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
