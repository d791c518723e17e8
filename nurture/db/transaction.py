"""One transaction: its connection, and the statements that are written differently on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    CursorResult,
    Executable,
    FromClause,
    Table,
    TextClause,
    Update,
    bindparam,
    text,
    update,
)

from nurture.db.row_values import (
    Columns,
    column_types,
    first_of_each,
    postgres_column_sql,
    sqlite_column_sql,
    to_driver_values,
    to_json_payload,
    typed_columns,
)

if TYPE_CHECKING:
    from nurture.db.engine import Database

T = TypeVar("T")
AtCommit = Callable[["Transaction", Sequence[Any]], Callable[[], None]]
"""A step at the end of a transaction; it returns a function to call after the commit."""

_ID = {"id": BigInteger()}
_MIN_ROWS_AT_ONCE, _MAX_ROWS_AT_ONCE = 16, 40
_LAST_SEQUENCE_ID = "SELECT seq FROM sqlite_sequence WHERE name = :name"
_UNNEST_SQLITE = "json_each(:payload)"
_UNNEST_POSTGRES = "jsonb_array_elements(CAST(:payload AS jsonb)) AS item"  # no column has this name
_UNNEST_IN_ORDER = "jsonb_array_elements(CAST(:payload AS jsonb)) WITH ORDINALITY AS item (item, place)"


class Transaction:
    """A connection inside `Database.read` or `Database.write`, and the database that it belongs to."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.connection = connection
        self.database = database
        self.is_sqlite = database.is_sqlite
        self.execute = connection.execute
        self.exec_driver_sql = connection.exec_driver_sql
        self._at_commit: dict[tuple[bool, AtCommit], list[Any]] = {}

    @property
    def skips_locked(self) -> bool:
        """Return whether a claim can skip rows that another worker has locked; SQLite has a single writer."""
        return not self.is_sqlite

    @property
    def worker_number(self) -> int:
        """Return a number that no other open connection has; 0 on SQLite, which has a single writer."""
        driver: Any = self.connection.connection.driver_connection
        return 0 if self.is_sqlite else int(driver.info.backend_pid)

    def at_commit(self, step: AtCommit, items: Sequence[Any] = (), *, last: bool = False) -> None:
        """Run *step* once at the end of this `write`, with the items of all calls; *last* after the other steps."""
        self._at_commit.setdefault((last, step), []).extend(items)

    def run_at_commit(self) -> list[Callable[[], None]]:
        """Run the steps of `at_commit`; return what to call after the commit."""
        steps = sorted(self._at_commit.items(), key=lambda item: item[0][0])
        return [step(self, items) for (_, step), items in steps]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what this block did, and let the transaction go on, if the block raises an error."""
        planned = {step: list(items) for step, items in self._at_commit.items()}
        try:
            with self.connection.begin_nested():
                yield
        except BaseException:
            self._at_commit = planned
            raise

    def cached(self, key: Hashable, build: Callable[[], T]) -> T:
        """Return the value that the database caches under *key*, built on the first call.

        For statements that run many times a second: building one takes longer than running it.
        """
        cache = self.database.statement_cache
        if key not in cache:
            cache[key] = build()
        value: T = cache[key]
        return value

    def rows(self, name: str, columns: Columns, rows: Sequence[Sequence[Any]]) -> FromClause:
        """Return *rows* as a table expression, passed as one JSON parameter.

        One statement then reads, updates or inserts any number of rows. PostgreSQL cannot store NUL: it becomes
        U+FFFD on both databases, so that one row cannot fail its batch.
        """
        listed = self._unnested_rows(columns).bindparams(payload=self.payload(columns, rows))
        return listed.columns(*typed_columns(columns)).cte(name)

    def rows_parameter(self, name: str, columns: Columns) -> FromClause:
        """Return a table expression whose rows are the parameter `payload` of each execution."""
        return self._unnested_rows(columns).columns(*typed_columns(columns)).cte(name)

    def payload(self, columns: Columns, rows: Sequence[Sequence[Any]]) -> str:
        """Return *rows* as the value of the parameter `payload`."""
        return to_json_payload(columns, rows)

    def _unnested_rows(self, columns: Columns) -> TextClause:
        pick = sqlite_column_sql if self.is_sqlite else postgres_column_sql
        listed = ", ".join(
            f'{pick(position, kind)} AS "{label}"' for position, (label, kind) in enumerate(columns.items())
        )
        unnest = _UNNEST_SQLITE if self.is_sqlite else _UNNEST_POSTGRES
        return text(f"SELECT {listed} FROM {unnest}")  # noqa: S608 - names come from the code, values are bound

    def insert(
        self,
        table: Table,
        names: tuple[str, ...],
        rows: Sequence[Sequence[Any]],
        *,
        ignore_conflicts: bool = False,
        adds: bool = False,
        unique_columns: Sequence[str] = (),
    ) -> int:
        """Insert *rows* of the columns *names* with one statement, or two; return how many were inserted.

        *ignore_conflicts* skips rows that exist, by any key; *adds* adds the numbers to them. For a table with
        generated ids, name instead the
        *unique_columns*, each of them unique by itself: PostgreSQL uses up an id before it finds a conflict, so
        existing rows are excluded before.

        On SQLite, a prepared statement with bound rows is twice as fast as unnesting JSON. It is executed for up to
        40 rows at once: each time SQLite builds the lists of values that the table's checks allow.
        """
        if not rows:
            return 0
        columns = column_types(table, names)
        listed_names = ", ".join(f'"{name}"' for name in names)
        unless = " ON CONFLICT DO NOTHING" if ignore_conflicts or unique_columns else _add_to_row(table) if adds else ""
        if self.is_sqlite:
            inserted, values = 0, to_driver_values(columns, rows)
            for size, times in _split_rows(len(rows)):
                marks = ", ".join([f"({', '.join('?' * len(columns))})"] * size)
                statement = f"INSERT INTO {table.name} ({listed_names}) VALUES {marks}{unless}"  # noqa: S608 - names come from the code
                parts = [tuple(islice(values, size * len(columns))) for _ in range(times)]
                inserted += self.connection.exec_driver_sql(statement, parts).rowcount
            return inserted
        listed = ", ".join(f"{postgres_column_sql(place, kind)}" for place, kind in enumerate(columns.values()))
        chosen = f"SELECT {listed} FROM {_UNNEST_IN_ORDER if unique_columns else _UNNEST_POSTGRES}"  # noqa: S608
        for position, key in enumerate(unique_columns):
            place = names.index(key)
            value_sql = postgres_column_sql(place, columns[key])
            chosen += " AND" if position else " WHERE"
            chosen += f" NOT EXISTS (SELECT FROM {table.name} AS had WHERE had.{key} = {value_sql})"
            rows = first_of_each(rows, place)
        chosen += " ORDER BY place" if unique_columns else ""  # the anti-join does not keep the order
        statement = f"INSERT INTO {table.name} ({listed_names}) {chosen}{unless}"
        return self.connection.execute(text(statement), {"payload": to_json_payload(columns, rows)}).rowcount

    def update_by_id(
        self, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[Any]], *where: Any, **values: object
    ) -> None:
        """Set columns of the rows of *table* for which *where* holds, with one statement.

        Each of *rows* is the id and then the values of the columns *names*; *values* are the same for all rows.
        """
        if rows:
            columns = column_types(table, ("id", *names))

            def build() -> Update:
                new = self.rows_parameter("new", columns)
                same = {name: bindparam(f"all_{name}", type_=table.c[name].type) for name in values}
                statement = update(table).where(table.c.id == new.c.id, *where)
                return statement.values({name: new.c[name] for name in names} | same)

            statement = build() if where else self.cached((table, names, *values), build)
            for_all = {f"all_{name}": value for name, value in values.items()}
            self.execute(statement, {"payload": self.payload(columns, rows), **for_all})

    def update_rows(self, statement: Update, values: Mapping[str, Any]) -> int:
        """Execute an update; return how many rows it changed. SQLite's driver does not count those of a CTE."""
        changed = self.execute(statement, values).rowcount
        return int(self.exec_driver_sql("SELECT changes()").scalar_one()) if self.is_sqlite else changed

    def ids(self, name: str, ids: Sequence[int]) -> FromClause:
        """Return *ids* as a table expression with the column `id`."""
        return self.rows(name, _ID, [(id_,) for id_ in ids])

    def execute_for(
        self, build: Callable[[FromClause], Executable], ids: Iterable[int], **values: object
    ) -> CursorResult[Any]:
        """Execute the statement that *build* makes of a table expression with the column `id`: the *ids*.

        It is built once, so everything else that varies is a parameter of it.
        """
        statement = self.cached(build, lambda: build(self.rows_parameter("chosen", _ID)))
        return self.execute(statement, {"payload": self.payload(_ID, [(id_,) for id_ in ids]), **values})

    def reserve_ids(self, table: str, count: int) -> list[int]:
        """Reserve *count* ids of *table* inside a write transaction, and return them."""
        if count == 0:
            return []
        if self.is_sqlite:
            newest_query = f"SELECT max(coalesce(max(id), 0), coalesce(({_LAST_SEQUENCE_ID}), 0)) FROM {table}"  # noqa: S608
            newest = self.connection.execute(text(newest_query), {"name": table}).scalar_one()
            return list(range(newest + 1, newest + 1 + count))
        query = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :count)")
        return list(self.connection.execute(query, {"name": table, "count": count}).scalars())


def _split_rows(count: int) -> list[tuple[int, int]]:
    """Return how many rows to insert at once, and how many times; a second pair for a rest, if few rows divide all."""
    size = next(one for one in range(_MAX_ROWS_AT_ONCE, 0, -1) if count % one == 0)
    if size >= _MIN_ROWS_AT_ONCE or count <= _MAX_ROWS_AT_ONCE:
        return [(size, count // size)]
    return [(_MAX_ROWS_AT_ONCE, count // _MAX_ROWS_AT_ONCE), (count % _MAX_ROWS_AT_ONCE, 1)]


def _add_to_row(table: Table) -> str:
    """Return the SQL that adds all columns but the key to the row that has the same key."""
    key = ", ".join(column.name for column in table.primary_key)
    sums = (f"{one.name} = {table.name}.{one.name} + excluded.{one.name}" for one in table.c if not one.primary_key)
    return f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(sums)}"
