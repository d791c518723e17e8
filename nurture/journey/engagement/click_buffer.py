"""Write down who followed a link, without letting them wait for it.

A visitor is answered when the visit is safe: committed, or, if the database does not come round to it within
PATIENCE, in a file on this machine. One thread writes for all, so that many visits cost one commit; it also
makes of them what they mean, after the answer, and brings in what waits in files: when it starts, and every
AGAIN seconds until none is left. Both may get the same visit: it counts once.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final

from nurture.clock import Clock
from nurture.errors import NurtureError, traced
from nurture.journey.consent import open_tracking_queries
from nurture.journey.consent.open_tracking_queries import Opened
from nurture.journey.engagement import click_filtering, click_spool, signals
from nurture.journey.engagement.click_filtering import Visited
from nurture.runtime.context import House

PATIENCE: Final = 0.5
"""Seconds that a visitor waits for the database."""

AGAIN: Final = 5.0
"""Seconds until what could not be written is tried again."""

MOST: Final = 500
"""How many visits one transaction takes."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A visit is in a file."""


@dataclass(frozen=True, slots=True)
class _Entry:
    what: Visited | Opened | _Spooled
    written: Future[None] = field(default_factory=Future)


class Guestbook:
    """What the pages write visits into."""

    def __init__(self, house: House, clock: Clock, patience: float = PATIENCE) -> None:
        self._house = house
        self._clock = clock
        self._patience = patience
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None
        if click_spool.waiting(house.spool):
            self._start()

    def note(self, visited: Visited) -> None:
        """Have a visit written; when this returns it is safe. Raises OSError if there is no way at all."""
        entry = self._put(visited)
        try:
            entry.written.result(self._patience)
        except Exception as error:  # noqa: BLE001 - whatever it was: the visitor goes on, the visit is kept
            _log.warning(
                "click_spooled", extra={"message_id": visited.message_id, "why": type(error).__name__}
            )
            click_spool.put(self._house.spool, visited)
            self._put(_Spooled())

    def note_open(self, opened: Opened) -> None:
        """Have the day of an open written, if it is news; nothing rests on it, so nobody waits for it."""
        self._put(opened)

    def close(self) -> None:
        """Write all that was noted, make of it what it means, and stop. The next visit starts anew."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _put(self, what: Visited | Opened | _Spooled) -> _Entry:
        entry = _Entry(what)
        self._queue.put(entry)
        self._start()
        return entry

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="guestbook", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        left = True
        while True:
            noted = self._next(AGAIN if left else None)
            entries = [entry for entry in noted if entry is not None]
            written = self._write(entries)
            left = left or not written or any(isinstance(entry.what, _Spooled) for entry in entries)
            if left:
                left = not self._bring_in()
            if entries:
                self._apply()
            if len(entries) < len(noted):
                return

    def _next(self, timeout: float | None) -> list[_Entry | None]:
        """Return what is noted; wait for it, unless files wait."""
        found: list[_Entry | None] = []
        try:
            found.append(self._queue.get(timeout=timeout))
            while len(found) < MOST and found[-1] is not None:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found

    def _write(self, entries: list[_Entry]) -> bool:
        """Commit entries and tell who waits for them; return whether it worked."""
        now, house = self._clock.now(), self._house
        visits = [entry.what for entry in entries if isinstance(entry.what, Visited)]
        opened = {entry.what for entry in entries if isinstance(entry.what, Opened)}
        if not visits and not opened:
            return True
        try:
            with house.database.write() as connection:
                click_filtering.take_down(house, connection, visits, now)
                for one in sorted(opened, key=lambda one: one.lead_id):
                    open_tracking_queries.note(connection, one)
        except Exception as error:  # noqa: BLE001 - each who waits puts the visit into a file
            for entry in entries:
                entry.written.set_exception(error)
            return False
        for entry in entries:
            entry.written.set_result(None)
        return True

    def _bring_in(self) -> bool:
        """Write what waits in files; return whether none is left."""
        try:
            click_spool.drain(
                self._house.spool, lambda visits: signals.record(self._house, [], self._clock.now(), visits)
            )
        except Exception as error:  # noqa: BLE001 - it stays in the files, for the next time
            _log.warning("spooled_clicks_wait", extra={"why": type(error).__name__})
            return False
        return True

    def _apply(self) -> None:
        """Make of the visits what they mean; where that fails the flows do it."""
        try:
            signals.listen(self._house, self._clock.now())
        except NurtureError as error:
            _log.warning("clicks_wait_for_the_flows", extra={"why": type(error).__name__})
        except Exception as error:  # noqa: BLE001 - the next visit must find somebody who writes
            _log.error("clicks_wait_for_the_flows: %s", traced(error))
