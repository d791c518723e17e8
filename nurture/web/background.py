"""While pages are served, what leads do there is answered within a second."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from nurture.clock import Clock
from nurture.journey.run_now import AT_ONCE, answer
from nurture.runtime.context import House

LOOK_EVERY: Final = 0.5
"""Seconds between two looks; each costs one index entry."""

REST: Final = 5.0
"""Seconds to leave the pages alone after a full batch: a backlog is the sweeps' work."""

_LOG: Final = logging.getLogger(__name__)


@contextmanager
def answering(house: House, clock: Clock) -> Iterator[None]:
    """Answer leads for as long as this lasts. On a clock that stands still nothing falls due by itself."""
    if not clock.runs:
        yield
        return
    stop = Event()
    thread = Thread(target=_answer, args=(house, clock, stop), name="answering", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _answer(house: House, clock: Clock, stop: Event) -> None:
    pause = LOOK_EVERY
    while not stop.wait(pause):
        try:
            pause = REST if answer(house, clock.now()) >= AT_ONCE else LOOK_EVERY
        except Exception as error:  # noqa: BLE001 - the sweeps try again; whoever comes next must find this at work
            # The type alone: a database's error repeats the values of its statement.
            _LOG.warning("answering_failed", extra={"error": type(error).__name__})
            pause = REST
