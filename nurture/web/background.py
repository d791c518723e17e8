"""Work beside the web server: what falls due within a second, such as a delay in minutes, and provider events."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Final

from sqlalchemy.exc import DBAPIError

from nurture.app import make_alert_notifiers
from nurture.clock import Clock
from nurture.errors import NurtureError, format_error_chain
from nurture.journey.engagement import provider_events
from nurture.journey.run_now import MAX_LEADS, has_due, process_due
from nurture.operations.alerts import tell_by, update_alerts
from nurture.operations.certificate import note_certificate
from nurture.operations.problems import find_problems
from nurture.runtime.context import AppContext
from nurture.settings import Settings

POLL_SECONDS: Final = 0.5
"""Seconds between two polls; a poll reads one entry of three indexes."""

WATCH_SECONDS: Final = 60.0
"""Seconds between two looks for problems."""

CERTIFICATE_SECONDS: Final = 6 * 3_600.0
"""Seconds between two looks at the certificate of the base URL."""

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


@contextmanager
def alert_in_background(ctx: AppContext, clock: Clock, settings: Settings) -> Iterator[None]:
    """Tell the operator of problems while the block runs, if the settings say by what; they are looked for anew
    every WATCH_SECONDS. It runs beside the pages, which outlive the stages.
    """
    if not settings.alert_urls or not clock.is_live:
        yield
        return
    tell = tell_by(make_alert_notifiers(settings), clock.now, settings.base_url or socket.gethostname())
    pace, stop = timedelta(seconds=settings.sweep_seconds), Event()

    def watch() -> None:
        looked_at = float("-inf")
        while not stop.wait(WATCH_SECONDS):
            try:
                if settings.base_url and time.monotonic() - looked_at > CERTIFICATE_SECONDS:
                    looked_at = time.monotonic()
                    note_certificate(ctx.database, settings.base_url, clock.now())
                with ctx.database.read() as tx:
                    problems = find_problems(tx, clock.now(), pace, settings.state_dir.parent)
                update_alerts(ctx.database, problems, tell, clock.now())
            except Exception as error:  # noqa: BLE001 - the next look tries again; this thread must survive
                _LOG.warning("alerts_not_updated", extra={"reason": format_error_chain(error)})

    thread = Thread(target=watch, name="nurture-alerts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(POLL_SECONDS)  # it may be waiting for an answer


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
