"""Write down who followed a link, without letting them wait for it.

A visitor is answered when the visit is safe: committed, or, if the database does not come round to it within
WRITE_TIMEOUT, in a file on this machine. One thread writes for all, so that many visits cost one commit; it
also makes of them what they mean, after the answer, and brings in what waits in files: when it starts, and
every RETRY_INTERVAL seconds until none is left. Both may get the same visit: it counts once.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final

from nurture.clock import Clock
from nurture.errors import NurtureError, format_error_chain
from nurture.journey.consent import open_tracking_queries
from nurture.journey.consent.open_tracking_queries import OpenEvent
from nurture.journey.engagement import click_filtering, click_spool, signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.runtime.context import AppContext

WRITE_TIMEOUT: Final = 0.5
"""Seconds that a visitor waits for the database."""

RETRY_INTERVAL: Final = 5.0
"""Seconds until what could not be written is tried again."""

MAX_BATCH_SIZE: Final = 500
"""How many visits one transaction takes."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A visit is in a file."""


@dataclass(frozen=True, slots=True)
class _Entry:
    item: EngagementEvent | OpenEvent | _Spooled
    committed: Future[None] = field(default_factory=Future)


class ClickRecorder:
    """What the pages write visits into."""

    def __init__(self, ctx: AppContext, clock: Clock, timeout: float = WRITE_TIMEOUT) -> None:
        self._ctx = ctx
        self._clock = clock
        self._timeout = timeout
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None
        if click_spool.list_pending(ctx.spool):
            self._start()

    def record(self, event: EngagementEvent) -> None:
        """Have a visit written; when this returns it is safe. Raises OSError if there is no way at all."""
        entry = self._enqueue(event)
        try:
            entry.committed.result(self._timeout)
        except Exception as error:  # noqa: BLE001 - whatever it was: the visitor goes on, the visit is kept
            _log.warning("click_spooled", extra={"message_id": event.message_id, "reason": type(error).__name__})
            click_spool.write(self._ctx.spool, event)
            self._enqueue(_Spooled())

    def record_open(self, opened: OpenEvent) -> None:
        """Have the day of an open written, if it is news; nothing rests on it, so nobody waits for it."""
        self._enqueue(opened)

    def close(self) -> None:
        """Write all that was noted, make of it what it means, and stop. The next visit starts anew."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _enqueue(self, item: EngagementEvent | OpenEvent | _Spooled) -> _Entry:
        entry = _Entry(item)
        self._queue.put(entry)
        self._start()
        return entry

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="click-recorder", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        has_spooled = True
        while True:
            batch = self._next_batch(RETRY_INTERVAL if has_spooled else None)
            entries = [entry for entry in batch if entry is not None]
            committed = self._write(entries)
            has_spooled = has_spooled or not committed or any(isinstance(entry.item, _Spooled) for entry in entries)
            if has_spooled:
                has_spooled = not self._drain_spool()
            if entries:
                self._apply()
            if len(entries) < len(batch):
                return

    def _next_batch(self, timeout: float | None) -> list[_Entry | None]:
        """Return what is noted; wait for it, unless files wait."""
        found: list[_Entry | None] = []
        try:
            found.append(self._queue.get(timeout=timeout))
            while len(found) < MAX_BATCH_SIZE and found[-1] is not None:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found

    def _write(self, entries: list[_Entry]) -> bool:
        """Commit entries and tell who waits for them; return whether it worked."""
        now, ctx = self._clock.now(), self._ctx
        clicks = [entry.item for entry in entries if isinstance(entry.item, EngagementEvent)]
        opened = {entry.item for entry in entries if isinstance(entry.item, OpenEvent)}
        if not clicks and not opened:
            return True
        try:
            with ctx.database.write() as connection:
                click_filtering.record_clicks(ctx, connection, clicks, now)
                for one in sorted(opened, key=lambda one: one.lead_id):
                    open_tracking_queries.record_open(connection, one)
        except Exception as error:  # noqa: BLE001 - each who waits puts the visit into a file
            for entry in entries:
                entry.committed.set_exception(error)
            return False
        for entry in entries:
            entry.committed.set_result(None)
        return True

    def _drain_spool(self) -> bool:
        """Write what waits in files; return whether none is left."""
        try:
            click_spool.drain(self._ctx.spool, lambda clicks: signals.record(self._ctx, [], self._clock.now(), clicks))
        except Exception as error:  # noqa: BLE001 - it stays in the files, for the next time
            _log.warning("click_spool_drain_failed", extra={"reason": type(error).__name__})
            return False
        return True

    def _apply(self) -> None:
        """Make of the visits what they mean; where that fails the flows do it."""
        try:
            signals.apply_pending_signals(self._ctx, self._clock.now())
        except NurtureError as error:
            _log.warning("click_signals_deferred", extra={"reason": type(error).__name__})
        except Exception as error:  # noqa: BLE001 - the next visit must find somebody who writes
            _log.error("click_signals_deferred: %s", format_error_chain(error))
