"""React to leads' actions on the pages within a second, in a thread beside the web server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from nurture.clock import Clock
from nurture.journey.run_now import MAX_LEADS, process_due_leads
from nurture.runtime.context import AppContext

POLL_SECONDS: Final = 0.5
"""Seconds between two polls; a poll reads one index entry."""

BACKLOG_PAUSE: Final = 5.0
"""Seconds to wait after a full batch: a backlog is left to the scheduled runs."""

_LOG: Final = logging.getLogger(__name__)


@contextmanager
def run_in_background(ctx: AppContext, clock: Clock) -> Iterator[None]:
    """Process due leads while the block runs; do nothing on a virtual clock, where nothing falls due by itself."""
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
            pause = BACKLOG_PAUSE if process_due_leads(ctx, clock.now()) >= MAX_LEADS else POLL_SECONDS
        except Exception as error:  # noqa: BLE001 - scheduled runs try again; this thread must survive
            # Log only the type: a database error's message repeats the statement's values.
            _LOG.warning("background_run_failed", extra={"error": type(error).__name__})
            pause = BACKLOG_PAUSE
