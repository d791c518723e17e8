"""Write concurrently posted batches of signals in one transaction: a transaction costs more than a signal."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from nurture.clock import Clock
from nurture.journey.intake.api import batches as api_batches
from nurture.journey.intake.api.batches import DEFAULT_PERMISSION, BatchResult, PermissionCheck
from nurture.journey.intake.api.items import MAX_ITEMS
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    items: list[Any]
    permit: PermissionCheck
    result: Future[BatchResult] = field(default_factory=Future)


class SignalBatcher:
    """Collects batches while a write runs; the next writer takes all that wait."""

    def __init__(self, ctx: AppContext, clock: Clock) -> None:
        self._ctx = ctx
        self._clock = clock
        self._queue_lock = Lock()
        self._write_lock = Lock()
        self._pending: list[_Batch] = []

    def post(self, items: list[Any], permit: PermissionCheck = DEFAULT_PERMISSION) -> BatchResult:
        """Store a batch of signals and return its result. A failure of another caller's batch does not affect it."""
        batch = _Batch(items, permit)
        with self._queue_lock:
            self._pending.append(batch)
        with self._write_lock:
            while not batch.result.done():
                self._write(self._next_batches())
        return batch.result.result()

    def _next_batches(self) -> list[_Batch]:
        """Return waiting batches, oldest first, with at most MAX_ITEMS items in total unless one alone has more."""
        with self._queue_lock:
            remaining, count = MAX_ITEMS, 0
            for batch in self._pending:
                remaining -= len(batch.items)
                if remaining < 0 and count:
                    break
                count += 1
            chosen, self._pending = self._pending[:count], self._pending[count:]
        return chosen

    def _write(self, batches: list[_Batch]) -> None:
        try:
            requests = [(batch.items, batch.permit) for batch in batches]
            results = api_batches.post_batches(self._ctx, requests, self._clock.now())
        except Exception as error:  # noqa: BLE001 - each caller gets only its own error
            if len(batches) == 1:
                batches[0].result.set_exception(error)
                return
            for batch in batches:
                self._write([batch])
            return
        for batch, result in zip(batches, results, strict=True):
            batch.result.set_result(result)
