"""Apply what came in by webhooks as soon as it is stored and thanked for."""

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
    """Applies what came in, one thread at a time: whoever comes meanwhile leaves it to the one at work."""

    def __init__(self, ctx: AppContext, clock: Clock) -> None:
        self._ctx = ctx
        self._clock = clock
        self._busy = threading.Lock()
        self._requested = False

    def run(self) -> None:
        """Apply every batch that waits, or leave it to the one at work. What fails waits for a sweep."""
        self._requested = True
        # Looked at again after the lock is free: who asked just before found it taken.
        while self._requested and self._busy.acquire(blocking=False):
            try:
                self._requested = False
                provider_events.apply_pending(self._ctx, self._clock.now())
            except (NurtureError, DBAPIError) as error:
                # The type alone: a database's error repeats the values of its statement.
                _log.warning("provider_events_deferred", extra={"error": type(error).__name__})
            finally:
                self._busy.release()
