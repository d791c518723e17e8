"""The heartbeat of a worker: extends its leases while it works; when it dies, they expire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from nurture.clock import Clock
from nurture.db.engine import Database
from nurture.errors import NurtureError
from nurture.outbox.lease_queue import CheckpointObserver, LeaseQueue, ignore_checkpoint

LEASE: Final = timedelta(seconds=30)
"""How long a worker keeps its rows without a heartbeat."""

BEAT_INTERVAL: Final = timedelta(seconds=8)


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
