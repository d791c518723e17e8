"""Apply provider events after they are stored and acknowledged."""

from __future__ import annotations

import logging
import threading
from typing import Final

from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.errors import NurtureError
from nurture.journey.engagement import provider_events
from nurture.runtime.context import AppContext

_log: Final = logging.getLogger(__name__)


class EventWorker:
    """Applies stored event batches, one thread at a time."""

    def __init__(self, ctx: AppContext, clock: Clock) -> None:
        self._ctx = ctx
        self._clock = clock
        self._busy = threading.Lock()
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
                _log.warning("provider_events_deferred", extra={"error": type(error).__name__})
            finally:
                self._busy.release()
