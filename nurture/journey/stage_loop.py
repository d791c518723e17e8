"""Run all stages in one process: each in a thread of its own, when something is due and at the latest at its pace."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Final

from nurture.clock import Clock
from nurture.db import clock_row, last_rounds
from nurture.errors import format_error_chain
from nurture.journey.leads.due_queries import find_due_stages
from nurture.journey.stages import STAGES, Stage
from nurture.runtime.context import AppContext

POLL_SECONDS: Final = 0.5
"""Seconds between two looks at what is due. Whoever writes to the database, on any machine, wakes the stage so."""

DELIVERY_PACE: Final = 30.0
"""Seconds after which delivery runs at the latest: messages of a dead worker go within a minute, with their lease."""

BLOCKED_PAUSE: Final = 5.0
"""Seconds for which a stage is not woken by what it could not do anything about, such as mail of a paused provider."""

FIRST_RETRY: Final = 5.0
"""Seconds after a failed round until the next; each further failure doubles them, up to the pace."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One round of a stage. *result* are its counts, or its error, once it has ended."""

    stage: str
    result: Future[Counter[str]] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class StageWorker:
    """The thread of one stage. *is_paused*: it does nothing unless it is asked for a round."""

    name: str
    stage: Stage
    pace: float
    is_paused: bool = False
    wake: Event = field(default_factory=Event)
    requested: list[Round] = field(default_factory=list)
    failures: int = 0
    blocked_until: float = 0.0
    next_at: float = 0.0

    def request(self) -> Round:
        """Ask for a round now, also while the stage is paused; return it."""
        asked = Round(self.name)
        self.requested.append(asked)
        self.wake.set()
        return asked

    def wake_if_due(self, due: frozenset[str], now: float) -> None:
        """Wake the thread if its stage is among *due*, and could do something about it the last time."""
        if self.name in due and now >= self.blocked_until and not self.is_paused:
            self.wake.set()

    def note_end(self, counts: Counter[str] | None, *, still_due: bool) -> None:
        """Set when the next round begins: *counts* are those of the last one, None if it failed.

        *still_due*: something is due that the last round left as it is.
        """
        now = time.monotonic()
        self.next_at, self.blocked_until = now + self.pace, 0.0
        if counts is None:
            self.next_at = now + min(FIRST_RETRY * 2**self.failures, self.pace)
            self.failures, self.blocked_until = min(self.failures + 1, 16), self.next_at
            return
        self.failures = 0
        if still_due and not counts.total():
            self.blocked_until = now + BLOCKED_PAUSE


class StageLoop:
    """The workers of all stages, and the thread that wakes them."""

    def __init__(self, ctx: AppContext, clock: Clock, pace: float) -> None:
        """Take the *pace* in seconds at which every stage runs at the latest."""
        self._ctx, self._clock = ctx, clock
        self._stop = Event()
        paces = {"deliver": min(pace, DELIVERY_PACE)}
        self.workers: Mapping[str, StageWorker] = {
            name: StageWorker(name, stage, paces.get(name, pace)) for name, stage in STAGES.items()
        }

    @contextmanager
    def running(self, on_start: Callable[[Round], None], stop_timeout: float) -> Iterator[None]:
        """Run the stages while the block runs; then wait at most *stop_timeout* seconds for running rounds.

        *on_start* is called for each round, in the thread of its stage.
        """
        threads = [
            Thread(target=self._work, args=(one, on_start), name=one.name, daemon=True) for one in self.workers.values()
        ]
        threads.append(Thread(target=self._wake_due, name="nurture-wake", daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for worker in self.workers.values():
                worker.wake.set()
            ends = time.monotonic() + stop_timeout
            for thread in threads:
                thread.join(max(ends - time.monotonic(), 0.0))

    def _wake_due(self) -> None:
        pause = POLL_SECONDS
        while not self._stop.wait(pause):
            pause = POLL_SECONDS
            try:
                with self._ctx.database.read() as tx:
                    due = find_due_stages(tx, self._clock.now())
            except Exception as error:  # noqa: BLE001 - the stages run at their pace meanwhile, and say why they fail
                _LOG.warning("due_stages_unknown", extra={"reason": format_error_chain(error)})
                pause = FIRST_RETRY
                continue
            for worker in self.workers.values():
                worker.wake_if_due(due, time.monotonic())

    def _work(self, worker: StageWorker, on_start: Callable[[Round], None]) -> None:
        while True:
            worker.wake.wait(max(worker.next_at - time.monotonic(), 0.0))
            worker.wake.clear()
            if self._stop.is_set():
                return
            if worker.is_paused and not worker.requested:
                worker.next_at = time.monotonic() + worker.pace
                continue
            begun = worker.requested.pop(0) if worker.requested else Round(worker.name)
            on_start(begun)
            counts = self._run(worker, begun)
            # Ask again: it may have been woken by what its last round was just doing.
            worker.note_end(counts, still_due=counts is not None and not counts.total() and self._is_due(worker.name))

    def _is_due(self, name: str) -> bool:
        try:
            with self._ctx.database.read() as tx:
                return name in find_due_stages(tx, self._clock.now())
        except Exception:  # noqa: BLE001 - the next round says why
            return True

    def _run(self, worker: StageWorker, begun: Round) -> Counter[str] | None:
        try:
            with self._ctx.database.write() as tx:
                clock_row.advance_to(tx, self._clock.now())
            done = worker.stage.run(self._ctx, self._clock, self._stop.is_set)
            with self._ctx.database.write() as tx:
                last_rounds.note_success(tx, worker.name, self._clock.now())
        except Exception as error:  # noqa: BLE001 - the next round tries again; whoever waits gets the error
            with suppress(Exception), self._ctx.database.write() as tx:
                last_rounds.note_failure(tx, worker.name, self._clock.now(), format_error_chain(error))
            begun.result.set_exception(error)
            return None
        counts = worker.stage.count(done)
        begun.result.set_result(counts)
        return counts
