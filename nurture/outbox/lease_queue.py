"""The leased queue under mail and CRM records: the state of a row says what a dead worker has done with it.

    planned -> claimed -> sending -> a result, planned again, or unknown

A worker claims rows under a lease, and marks them `sending` in a transaction of its own before it calls. When its
lease expires, what is still `claimed` was certainly not sent and returns to `planned`; what is `sending` may have been
sent and becomes `unknown`, which is never sent again by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from threading import Event, Thread
from typing import Any, Final, Generic, TypeVar

import orjson
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    null,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from nurture.clock import Clock
from nurture.db.engine import Database
from nurture.db.row_values import column_types
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.errors import NurtureError

Result = TypeVar("Result", bound=tuple[Any, ...])

CheckpointObserver = Callable[[str, Sequence[str]], None]
"""Called at each checkpoint with its name and the send keys concerned. Crash tests never return from it."""

LEASE: Final = timedelta(seconds=20)
"""How long a worker keeps its rows without a heartbeat."""

BEAT_INTERVAL: Final = timedelta(seconds=5)


def ignore_checkpoint(_point: str, _keys: Sequence[str]) -> None:
    """Do nothing at a checkpoint."""


AT: Final = bindparam("at", type_=UtcDateTime())
"""The time of a statement, for the values that a queue adds."""

_LEASE: Final = bindparam("lease", type_=UtcDateTime())
_WORKER: Final[BindParameter[str]] = bindparam("worker")
_UNCOUNTED_STATES: Final = ("planned", "cancelled", "rejected")
"""States of rows that were not sent: the time of their claim does not count against a limit."""


@dataclass(frozen=True, eq=False)
class LeaseQueue(Generic[Result]):
    """A table with the columns of the protocol, and how its results differ.

    *result_type* is a named tuple of columns: `id`, `state`, `reason` and `send_at` (None: unchanged), then others,
    one of them `provider`. *result_values* are the other columns that a result sets, from its row;
    *unknown_values* are set when a lease expires during a call. *claim_columns* are written with a claim,
    *stamp_columns* before a call, where they are not NULL.
    """

    table: Table
    result_type: type[Result]
    result_values: Callable[[FromClause], Mapping[str, Any]]
    unknown_values: Mapping[str, Any]
    claim_columns: tuple[str, ...] = ("id",)
    stamp_columns: tuple[str, ...] = ("id",)

    @cached_property
    def _leased(self) -> ColumnElement[bool]:
        """Literal values, as in the partial index on leases; with bound values SQLite scans the whole table."""
        leased: BindParameter[Any] = bindparam("leased", ["claimed", "sending"], expanding=True, literal_execute=True)
        return self.table.c.state.in_(leased)

    @cached_property
    def _claimed_by_worker(self) -> ColumnElement[bool]:
        return and_(self.table.c.state == "claimed", self.table.c.lease_token == _WORKER)

    def claim(self, tx: Transaction, rows: Sequence[Sequence[Any]], token: str, until: datetime, now: datetime) -> None:
        """Claim planned rows, given by their *claim_columns*, for the worker that holds *token*, until *until*."""
        if rows:
            columns = column_types(self.table, self.claim_columns)
            values = {"payload": tx.payload(columns, rows), "worker": token, "lease": until, "at": now}
            tx.execute(tx.cached((self, "claim"), lambda: self._claim_statement(tx)), values)

    def _claim_statement(self, tx: Transaction) -> Update:
        table = self.table
        claimed = tx.rows_parameter("locked", column_types(table, self.claim_columns))
        values: dict[str, Any] = {name: claimed.c[name] for name in self.claim_columns if name != "id"}
        values |= {"state": "claimed", "state_at": AT, "claimed_at": AT, "lease_token": _WORKER, "lease_until": _LEASE}
        return update(table).where(table.c.id == claimed.c.id, table.c.state == "planned").values(values)

    def renew(self, tx: Transaction, token: str, until: datetime) -> int:
        """Extend the leases that *token* holds; return how many.

        Skips rows that the worker is writing now: that write renews or ends the lease.
        """
        leased = select(self.table.c.id).where(self._leased, self.table.c.lease_token == token)
        return tx.execute(self._update_unlocked(tx, leased).values(lease_until=until)).rowcount

    def stamp(
        self, tx: Transaction, rows: Sequence[Sequence[Any]], token: str, until: datetime, now: datetime
    ) -> set[int]:
        """Mark claimed rows `sending`, given by their *stamp_columns*; return those that *token* still holds."""
        if not rows:
            return set()
        values = {"payload": tx.payload(column_types(self.table, self.stamp_columns), rows), "worker": token}
        stamp = tx.cached((self, "stamp"), lambda: self._stamp_statement(tx))
        stamped = values | {"lease": until, "at": now}
        if not tx.is_sqlite:
            return set(tx.execute(stamp.returning(self.table.c.id), stamped).scalars())
        # SQLite has one writer, so the ids can be selected before the update. They come as one JSON row: for each
        # row that SQLite returns, the interpreter switches to the thread that makes the calls.
        still_claimed = tx.execute(tx.cached((self, "held"), lambda: self._held_query(tx)), values).scalar_one()
        tx.execute(stamp, stamped)
        return set(orjson.loads(still_claimed))

    def _stamp_statement(self, tx: Transaction) -> Update:
        table = self.table
        stamped = tx.rows_parameter("locked", column_types(table, self.stamp_columns))
        values: dict[str, Any] = {
            name: func.coalesce(stamped.c[name], table.c[name]) for name in self.stamp_columns if name != "id"
        }
        values |= {"state": "sending", "state_at": AT, "lease_until": _LEASE, "attempts": table.c.attempts + 1}
        return update(table).where(table.c.id == stamped.c.id, self._claimed_by_worker).values(values)

    def _held_query(self, tx: Transaction) -> Select[tuple[str]]:
        candidates = tx.rows_parameter("locked", {"id": BigInteger()})
        query = select(func.json_group_array(self.table.c.id)).join(candidates, candidates.c.id == self.table.c.id)
        return query.where(self._claimed_by_worker)

    def write_results(self, tx: Transaction, results: Sequence[Result], token: str | None, now: datetime) -> int:
        """Write results, and end the leases; with *token*, only of rows that it still holds. Return how many.

        So a slow worker overwrites no newer result, and resolves its own row that has become `unknown`.
        """
        if not results:
            return 0
        columns = column_types(self.table, self._result_columns)
        values = {"payload": tx.payload(columns, results), "at": now}
        if token is None:
            return tx.update_rows(tx.cached((self, "any result"), lambda: self._result_statement(tx)), values)
        is_held = self.table.c.lease_token == _WORKER
        statement = tx.cached((self, "held result"), lambda: self._result_statement(tx).where(is_held))
        return tx.update_rows(statement, values | {"worker": token})

    @property
    def _result_columns(self) -> tuple[str, ...]:
        names: tuple[str, ...] = self.result_type._fields  # type: ignore[attr-defined]
        return names

    def _result_statement(self, tx: Transaction) -> Update:
        table = self.table
        new = tx.rows_parameter("new", column_types(table, self._result_columns))
        values: dict[str, Any] = {
            "state": new.c.state,
            "state_at": AT,
            "provider": new.c.provider,
            "reason": new.c.reason,
            "send_at": func.coalesce(new.c.send_at, table.c.send_at),
            "claimed_at": case((new.c.state.in_(_UNCOUNTED_STATES), null()), else_=table.c.claimed_at),
            "lease_token": None,
            "lease_until": None,
        }
        return update(table).where(table.c.id == new.c.id).values({**values, **self.result_values(new)})

    def release_expired(self, tx: Transaction, now: datetime) -> tuple[int, int]:
        """End expired leases: `claimed` returns to `planned`, `sending` becomes `unknown`. Return both counts.

        An unknown row keeps its token, so that a worker that was only slow can still write its result.
        """
        planned = {"state": "planned", "state_at": AT, "claimed_at": None, "lease_token": None}
        unknown = {"state": "unknown", **self.unknown_values}
        return self._release(tx, "claimed", planned, now), self._release(tx, "sending", unknown, now)

    def has_leases(self, tx: Transaction) -> bool:
        """Return whether any worker holds rows, alive or not."""
        return bool(tx.execute(select(exists().where(self._leased))).scalar_one())

    def _release(self, tx: Transaction, state: str, values: Mapping[str, Any], now: datetime) -> int:
        def build() -> Update:
            expired = select(self.table.c.id).where(
                self._leased, self.table.c.state == state, self.table.c.lease_until < AT
            )
            return self._update_unlocked(tx, expired).values(lease_until=None, **values)

        return tx.execute(tx.cached((self, "release", state), build), {"at": now}).rowcount

    def _update_unlocked(self, tx: Transaction, ids: Select[tuple[int]]) -> Update:
        """Return an update of the rows *ids*, without those that another worker is writing."""
        unlocked = ids.with_for_update(skip_locked=True) if tx.skips_locked else ids
        return update(self.table).where(self.table.c.id.in_(unlocked))

    def count_recent_unknown(self, tx: Transaction, provider: str, since: datetime) -> int:
        """Return how many rows given to *provider* became unknown after *since*."""
        columns = self.table.c
        query = select(func.count()).where(
            columns.state == "unknown", columns.provider == provider, columns.state_at > since
        )
        return tx.execute(query).scalar_one()


@contextmanager
def heartbeat(
    database: Database,
    queue: LeaseQueue[Any],
    token: str,
    clock: Clock,
    interval: timedelta = BEAT_INTERVAL,
    observe: CheckpointObserver = ignore_checkpoint,
) -> Iterator[None]:
    """Extend the leases of *token* until the block ends; does nothing on a virtual clock."""
    if not clock.is_live:
        yield
        return
    stopped = Event()

    def beat() -> None:
        while not stopped.wait(interval.total_seconds()):
            # A failed beat is not fatal: the next one may succeed before the lease ends.
            with suppress(NurtureError, SQLAlchemyError), database.write() as tx:
                queue.renew(tx, token, clock.now() + LEASE)
                observe("heartbeat", [])
            observe("renewed", [])

    thread = Thread(target=beat, name=f"heartbeat-{token}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
