"""The sign of life of a worker: while it works, its lease is prolonged; when it dies, the lease ends."""

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
"""How long a worker that gives no sign of life keeps its messages."""

BEAT_INTERVAL: Final = timedelta(seconds=8)


@contextmanager
def heartbeat(database: Database, token: str, clock: Clock) -> Iterator[None]:
    """Prolong what *token* holds, for as long as this lasts. A clock that stands still needs no beats."""
    if not clock.is_live:
        yield
        return
    stopped = Event()

    def beat() -> None:
        while not stopped.wait(BEAT_INTERVAL.total_seconds()):
            # What keeps this beat from getting through may let the next one pass.
            with suppress(NurtureError, SQLAlchemyError), database.write() as connection:
                messages.renew_leases(database, connection, token, clock.now() + LEASE)

    thread = Thread(target=beat, name=f"heartbeat-{token}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
