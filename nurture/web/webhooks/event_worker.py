"""Apply what came in by webhooks as soon as it is stored and thanked for."""

from __future__ import annotations

import logging
import threading
from typing import Final

from sqlalchemy.exc import DBAPIError

from nurture.clock import Clock
from nurture.errors import NurtureError
from nurture.journey.engagement import provider_events
from nurture.runtime.context import House

_log: Final = logging.getLogger(__name__)


class Applying:
    """Applies what came in, one thread at a time: whoever comes meanwhile leaves it to the one at work."""

    def __init__(self, house: House, clock: Clock) -> None:
        self._house = house
        self._clock = clock
        self._busy = threading.Lock()
        self._asked = False

    def ask(self) -> None:
        """Apply every batch that waits, or leave it to the one at work. What fails waits for a sweep."""
        self._asked = True
        # Looked at again after the lock is free: who asked just before found it taken.
        while self._asked and self._busy.acquire(blocking=False):
            try:
                self._asked = False
                provider_events.apply(self._house, self._clock.now())
            except (NurtureError, DBAPIError) as error:
                # The type alone: a database's error repeats the values of its statement.
                _log.warning("events_left_to_the_sweep", extra={"error": type(error).__name__})
            finally:
                self._busy.release()
