"""The heartbeat of a worker: extends its leases while it works; when it dies, they expire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from nurture.clock import Clock
from nurture.db.engine import Database
from nurture.errors import NurtureError
from nurture.outbox import messages

LEASE: Final = timedelta(seconds=30)
"""How long a worker keeps its messages without a heartbeat."""

BEAT_INTERVAL: Final = timedelta(seconds=8)


@contextmanager
def heartbeat(database: Database, token: str, clock: Clock) -> Iterator[None]:
    """Extend the leases of *token* until the block ends; does nothing on a virtual clock."""
    if not clock.is_live:
        yield
        return
    stopped = Event()

    def beat() -> None:
        while not stopped.wait(BEAT_INTERVAL.total_seconds()):
            # A failed beat is not fatal: the next one may succeed before the lease ends.
            with suppress(NurtureError, SQLAlchemyError), database.write() as tx:
                messages.renew_leases(tx, token, clock.now() + LEASE)

    thread = Thread(target=beat, name=f"heartbeat-{token}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
