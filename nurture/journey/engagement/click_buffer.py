"""Store clicks without making visitors wait.

A visitor is redirected once the click is safe: committed, or, if the database takes longer than WRITE_TIMEOUT, in a
file on this machine. One thread writes for all visitors, so that many clicks cost one commit. After the response it
also applies them, and imports the spooled files at startup and every RETRY_INTERVAL seconds until none is left. A
click that is both committed and spooled counts once, by its natural key.

A spooled click is one file, synced to disk, and deleted once the database has it; it holds a hash of the IP address,
never the address.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from threading import Lock, Thread
from typing import Final

import orjson

from nurture.clock import Clock
from nurture.domain.signals import SignalKind
from nurture.errors import NurtureError, format_error_chain
from nurture.files import make_folder, open_private, sync_folder
from nurture.journey.consent import open_tracking_queries
from nurture.journey.consent.open_tracking_queries import OpenEvent
from nurture.journey.engagement import click_filtering, signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.runtime.context import AppContext

WRITE_TIMEOUT: Final = 0.5
"""Seconds that a visitor waits for the database."""

RETRY_INTERVAL: Final = 5.0
"""Seconds between attempts to import spooled clicks."""

MAX_BATCH_SIZE: Final = 500
"""How many clicks one transaction stores."""

MAX_FILES: Final = 500
"""How many files are read at once."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A queue item: a click was written to a file."""


@dataclass(frozen=True, slots=True)
class _Entry:
    item: EngagementEvent | OpenEvent | _Spooled
    committed: Future[None] = field(default_factory=Future)


class ClickRecorder:
    """Record the clicks and opens of public pages, through one writer thread."""

    def __init__(self, ctx: AppContext, clock: Clock, timeout: float = WRITE_TIMEOUT) -> None:
        self._ctx = ctx
        self._clock = clock
        self._timeout = timeout
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None
        if list_spooled(ctx.spool):
            self._start()

    def record(self, event: EngagementEvent) -> None:
        """Store a click; it is durable when this returns. Raises OSError if neither database nor disk takes it."""
        entry = self._enqueue(event)
        try:
            entry.committed.result(self._timeout)
        except Exception as error:  # noqa: BLE001 - whatever it was, the visitor is redirected and the click is spooled
            _log.warning("click_spooled", extra={"message_id": event.message_id, "reason": type(error).__name__})
            spool_click(self._ctx.spool, event)
            self._enqueue(_Spooled())

    def record_open(self, opened: OpenEvent) -> None:
        """Store the day of an open, if new; does not wait, as losing one does no harm."""
        self._enqueue(opened)

    def close(self) -> None:
        """Write and apply everything queued, and stop. The next click starts the thread again."""
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
        """Return queued entries; wait for the first one unless spooled files are pending."""
        found: list[_Entry | None] = []
        try:
            found.append(self._queue.get(timeout=timeout))
            while len(found) < MAX_BATCH_SIZE and found[-1] is not None:
                found.append(self._queue.get_nowait())
        except Empty:
            pass
        return found

    def _write(self, entries: list[_Entry]) -> bool:
        """Commit entries and resolve their futures; return whether it worked."""
        now, ctx = self._clock.now(), self._ctx
        clicks = [entry.item for entry in entries if isinstance(entry.item, EngagementEvent)]
        opened = {entry.item for entry in entries if isinstance(entry.item, OpenEvent)}
        if not clicks and not opened:
            return True
        try:
            with ctx.database.write() as tx:
                click_filtering.record_clicks(tx, clicks, now)
                for one in sorted(opened, key=lambda one: one.lead_id):
                    open_tracking_queries.record_open(tx, one)
        except Exception as error:  # noqa: BLE001 - every waiting visitor spools the click instead
            for entry in entries:
                entry.committed.set_exception(error)
            return False
        for entry in entries:
            entry.committed.set_result(None)
        return True

    def _drain_spool(self) -> bool:
        """Import spooled clicks; return whether none is left."""
        try:
            drain_spool(self._ctx.spool, lambda clicks: signals.record(self._ctx, [], self._clock.now(), clicks))
        except Exception as error:  # noqa: BLE001 - they stay spooled for the next attempt
            _log.warning("click_spool_drain_failed", extra={"reason": type(error).__name__})
            return False
        return True

    def _apply(self) -> None:
        """Apply the clicks; on failure the scheduled flows do it."""
        try:
            signals.apply_pending_signals(self._ctx, self._clock.now())
        except NurtureError as error:
            _log.warning("click_signals_deferred", extra={"reason": type(error).__name__})
        except Exception as error:  # noqa: BLE001 - the writer thread must survive for the next click
            _log.error("click_signals_deferred", extra={"reason": format_error_chain(error)})


def spool_click(folder: Path, event: EngagementEvent) -> None:
    """Write one click; it survives a power failure when this returns. Raises OSError."""
    make_folder(folder)
    name = f"{event.occurred_at:%Y%m%dT%H%M%S}-{token_hex(8)}"
    temporary = folder / f"{name}.tmp"
    with open_private(temporary, "xb") as file:
        file.write(orjson.dumps(event._asdict()))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / f"{name}.json")
    sync_folder(folder)


def list_spooled(folder: Path) -> list[Path]:
    """Return the pending files, the oldest first."""
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def drain_spool(folder: Path, record: Callable[[Sequence[EngagementEvent]], object]) -> int:
    """Pass pending clicks to *record* and delete them; return how many. Errors of *record* propagate.

    An unreadable file is renamed and logged.
    """
    total = 0
    while files := list_spooled(folder)[:MAX_FILES]:
        read = [(file, _read_spooled(file)) for file in files]
        readable = [(file, visited) for file, visited in read if visited is not None]
        if readable:
            record([visited for _, visited in readable])
        for file, _ in readable:
            file.unlink(missing_ok=True)
        total += len(readable)
    return total


def _read_spooled(file: Path) -> EngagementEvent | None:
    try:
        values = orjson.loads(file.read_bytes())
        occurred_at = datetime.fromisoformat(values.pop("occurred_at"))
        return EngagementEvent(kind=SignalKind(values.pop("kind")), occurred_at=occurred_at, **values)
    except FileNotFoundError:  # another process has just read it
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        _log.error("spooled_click_unreadable", extra={"file": file.name})
        file.rename(file.with_suffix(".bad"))
        return None
