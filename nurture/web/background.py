"""Work beside the web server: what falls due within a second, such as a delay in minutes, and provider events."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Final

from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.errors import NurtureError
from nurture.journey.engagement import provider_events
from nurture.journey.run_now import MAX_LEADS, has_due, process_due
from nurture.runtime.context import AppContext

POLL_SECONDS: Final = 0.5
"""Seconds between two polls; a poll reads one entry of three indexes."""

BACKLOG_PAUSE: Final = 5.0
"""Seconds to wait after a full batch, or if what is due may not be processed: it is left to the scheduled runs."""

_LOG: Final = logging.getLogger(__name__)


@contextmanager
def run_in_background(ctx: AppContext, clock: Clock) -> Iterator[None]:
    """Process due leads and mail while the block runs; nothing on a virtual clock, which does not move by itself."""
    if not clock.is_live:
        yield
        return
    stop = Event()
    thread = Thread(target=_poll, args=(ctx, clock, stop), name="nurture-background", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _poll(ctx: AppContext, clock: Clock, stop: Event) -> None:
    pause = POLL_SECONDS
    while not stop.wait(pause):
        try:
            pause = POLL_SECONDS
            if has_due(ctx, clock.now()):
                pause = POLL_SECONDS if 0 < process_due(ctx, clock) < MAX_LEADS else BACKLOG_PAUSE
        except Exception as error:  # noqa: BLE001 - scheduled runs try again; this thread must survive
            # Log only the type: a database error's message repeats the statement's values.
            _LOG.warning("background_run_failed", extra={"error": type(error).__name__})
            pause = BACKLOG_PAUSE


class EventWorker:
    """Applies stored event batches, one thread at a time."""

    def __init__(self, ctx: AppContext, clock: Clock) -> None:
        self._ctx = ctx
        self._clock = clock
        self._busy = Lock()
        self._requested = False

    def run(self) -> None:
        """Apply all waiting batches, or leave them to the running worker. A failed batch waits for the next run."""
        self._requested = True
        # Check again after the lock is released: a request just before that found it taken.
        while self._requested and self._busy.acquire(blocking=False):
            try:
                self._requested = False
                provider_events.apply_pending(self._ctx, self._clock.now())
            except (NurtureError, DBAPIError) as error:
                # Log only the type: a database error's message repeats the statement's values.
                _LOG.warning("provider_events_deferred", extra={"error": type(error).__name__})
            finally:
                self._busy.release()
