"""Send what a worker has claimed: check, mark as sending, call, write back. One loop for mail and CRM records."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar, assert_never, cast

from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.db.engine import Database
from nurture.db.errors import is_transaction_conflict
from nurture.db.transaction import Transaction
from nurture.domain.delivery.backoff import backoff
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import DatabaseUnavailable
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import PROBE_AFTER, Breaker
from nurture.outbox.lease_queue import BEAT_INTERVAL, CheckpointObserver, LeaseQueue, heartbeat, ignore_checkpoint

MAX_WRITE_ATTEMPTS: Final = 3
"""How often a write is tried that fails with a transaction conflict, such as a deadlock."""

STALE_AFTER: Final = timedelta(seconds=5)
"""A call that starts later than this after its last check is not made: the machine may have been suspended."""

Row = TypeVar("Row", bound=Any)
"""A row of a leased queue: it has `id`, `send_key` and `attempts`."""


@dataclass
class SendResult:
    """How many rows are in each state after sending; *stopped_until* is when calls are accepted again.

    *held* rows were not called. *consecutive_unknown* is the number of unknown results in a row.
    """

    held: int = 0
    states: Counter[str] = field(default_factory=Counter)
    stopped_until: datetime | None = None
    consecutive_unknown: int = 0


class _InFlightChunk(NamedTuple):
    """A chunk that is being called."""

    rows: Sequence[Any]
    receipts: Future[Sequence[Receipt]]

    @property
    def keys(self) -> list[str]:
        return [one.send_key for one in self.rows]


@dataclass(kw_only=True)
class Sender(ABC, Generic[Row]):
    """One worker that holds rows of *queue* with *token*. A subclass says what is special to its table.

    *name* is the provider or CRM, which names its circuit breaker; *is_probe*: the rows probe that breaker.
    """

    max_in_flight: ClassVar[int] = 1
    """How many chunks are called at once."""

    max_consecutive_unknown: ClassVar[int]
    """How many unknown results in a row open the circuit breaker."""

    database: Database
    clock: Clock
    queue: LeaseQueue[Any]
    name: str
    token: str
    is_probe: bool = False
    observe: CheckpointObserver = ignore_checkpoint
    beat_interval: timedelta = BEAT_INTERVAL
    result: SendResult = field(default_factory=SendResult)
    while_calling: Callable[[], None] = lambda: None
    """Called once, while the last chunks are at the provider."""

    @abstractmethod
    def lock(self, tx: Transaction, rows: Sequence[Row]) -> None:
        """Lock what the other methods change, in the order of all other code, so that no deadlock occurs."""

    @abstractmethod
    def stamp(self, tx: Transaction, chunk: Sequence[Row], now: datetime, states: Counter[str]) -> Sequence[Row]:
        """Check *chunk* for the last time, and mark as sending what may go; count in *states* what may not."""

    @abstractmethod
    def call(self, rows: Sequence[Row], now: datetime) -> Sequence[Receipt]:
        """Send rows that were marked; return one receipt each. Runs in a thread of its own."""

    @abstractmethod
    def accepted(self, row: Row, receipt: Accepted, now: datetime) -> Any:
        """Return the result of a row that was accepted."""

    def write_back(self, tx: Transaction, answers: Sequence[tuple[Row, Receipt]], now: datetime) -> Counter[str]:
        """Write the results of calls; return how many rows are in each state."""
        results = [self._result(row, receipt, now) for row, receipt in answers]
        self.write_results(tx, results, [row for row, _ in answers], now)
        return Counter(one.state for one in results)

    def write_results(self, tx: Transaction, results: Sequence[Any], rows: Sequence[Row], now: datetime) -> None:
        """Write results of *rows* that are still held."""
        del rows
        self.queue.write_results(tx, results, self.token, now)

    def _result(self, row: Row, receipt: Receipt, now: datetime) -> Any:
        if isinstance(receipt, Accepted):
            return self.accepted(row, receipt, now)
        make = partial[Any](cast("Any", self.queue.result_type), row.id, provider=self.name)
        match receipt:
            case Rejected(reason=reason):
                return make(state="rejected", reason=reason)
            case NotSent(reason=reason, retry_at=retry_at, blocks_all=stops):
                delay = PROBE_AFTER if stops else backoff(row.attempts, row.send_key)
                return make(state="planned", reason=reason, send_at=retry_at or now + delay)
            case Unknown(reason=reason):
                return make(state="unknown", reason=reason)
            case _:
                assert_never(receipt)

    def send(self, chunks: Iterable[Sequence[Row]]) -> SendResult:
        """Send *chunks* of claimed rows; put back the others if the provider stops.

        While chunks are called, the previous one is written back and the next one is stamped.
        """
        pending, in_flight = deque(chunks), deque[_InFlightChunk]()
        stop: NotSent | None = None
        is_idle = True
        if not pending:
            return self.result
        beats = heartbeat(self.database, self.queue, self.token, self.clock, self.beat_interval, self.observe)
        with beats, ThreadPoolExecutor(self.max_in_flight, "call") as executor:
            while in_flight or (pending and stop is None):
                if is_idle and not pending and stop is None:
                    is_idle = False
                    self.while_calling()
                is_full = len(in_flight) == self.max_in_flight or not pending or stop is not None
                completed = in_flight.popleft() if is_full else None
                if completed is not None:
                    receipts = completed.receipts.result()
                    self.observe("after the call", completed.keys)
                    stop = stop or self._find_stop(receipts)
                chunk = pending.popleft() if pending and stop is None else ()
                sending = self._write_back_and_stamp(completed, chunk)
                if sending:
                    checked_at = self.clock.now()
                    call = executor.submit(self._call, sending, checked_at)
                    in_flight.append(_InFlightChunk(sending, call))
        if stop is not None:
            self.open_breaker(stop, [one for chunk in pending for one in chunk])
        return self.result

    def _call(self, rows: Sequence[Row], checked_at: datetime) -> Sequence[Receipt]:
        now = self.clock.now()
        if now - checked_at > STALE_AFTER:
            reason = f"not called: more than {STALE_AFTER.seconds} s passed since the last check"
            return [NotSent(reason, now) for _ in rows]
        try:
            receipts = self.call(rows, now)
        except Exception as error:  # noqa: BLE001 - any of them may have been sent
            return [Unknown(f"{self.name} failed: {type(error).__name__}") for _ in rows]
        if len(receipts) == len(rows):
            return receipts
        return [Unknown(f"{self.name} returned {len(receipts)} results for {len(rows)} of a call") for _ in rows]

    def _write_back_and_stamp(self, completed: _InFlightChunk | None, chunk: Sequence[Row]) -> Sequence[Row]:
        """Write back *completed*, and stamp what may go of *chunk*, in one transaction to wait for the disk once."""
        keys = [one.send_key for one in chunk]
        for attempt in range(MAX_WRITE_ATTEMPTS):
            if chunk:
                self.observe("last check", keys)
            states: Counter[str] = Counter()
            try:
                with self.database.write() as tx:
                    now = self.clock.now()  # read after the lock is held: a lease starts when it is written
                    self.lock(tx, [*chunk, *(completed.rows if completed else ())])
                    if completed is not None:
                        self._write_completed(tx, completed, now, states)
                    sending = self.stamp(tx, chunk, now, states) if chunk else ()
                break
            except (DBAPIError, DatabaseUnavailable) as error:
                # The results of the calls must survive a passing conflict.
                if attempt + 1 == MAX_WRITE_ATTEMPTS or not is_transaction_conflict(error):
                    raise
        self.result.states += states
        if completed is not None:
            self.observe("written back", completed.keys)
        if sending:
            self.observe("before the call", keys)
        return sending

    def _write_completed(self, tx: Transaction, completed: _InFlightChunk, now: datetime, states: Counter[str]) -> None:
        receipts = completed.receipts.result()
        states += self.write_back(tx, list(zip(completed.rows, receipts, strict=True)), now)
        if self.is_probe and any(isinstance(receipt, Accepted | Rejected) for receipt in receipts):
            circuit_breakers.release(tx, "provider", self.name, "a successful probe", now)
        self.observe("write-back", completed.keys)

    def _find_stop(self, receipts: Sequence[Receipt]) -> NotSent | None:
        """Return the receipt that stops sending, or a new one after too many unknown results in a row."""
        stops = [receipt for receipt in receipts if isinstance(receipt, NotSent) and receipt.blocks_all]
        for receipt in receipts:
            if isinstance(receipt, Unknown):
                self.result.consecutive_unknown += 1
                if (count := self.result.consecutive_unknown) >= self.max_consecutive_unknown:
                    reason = f"{count} calls in a row had an unknown result, the last one: {receipt.reason}"
                    stops.append(NotSent(reason, blocks_all=True))
                    break
            elif not isinstance(receipt, NotSent):
                self.result.consecutive_unknown = 0
        return max(stops, key=lambda one: (one.retry_at is None, one.retry_at), default=None)

    def open_breaker(self, stop: NotSent, remaining: Sequence[Row] = ()) -> None:
        """Stop all workers from calling for a while, and plan again what was not called."""
        now = self.clock.now()
        until = max(stop.retry_at or now + PROBE_AFTER, now + timedelta(seconds=1))
        with self.database.write() as tx:
            self.lock(tx, remaining)
            held = [self.queue.result_type(one.id, "planned", stop.reason, until) for one in remaining]
            self.queue.write_results(tx, held, self.token, now)
            circuit_breakers.trip(tx, Breaker("provider", self.name, stop.reason, now, until))
        self.result.held, self.result.stopped_until = len(remaining), until


def chunks(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Yield *rows* in chunks of *size*."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
