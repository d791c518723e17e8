"""Take the signals of all who post at the same time in one go: a transaction costs more than a signal."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from nurture.clock import Clock
from nurture.journey.intake.api import batches as api_batches
from nurture.journey.intake.api.batches import MOST, ORDINARY, Permit, Taken
from nurture.runtime.context import House


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    items: list[Any]
    permit: Permit
    taken: Future[Taken] = field(default_factory=Future)


class Taking:
    """Whoever comes while others are at work waits; the next one at work takes all that wait."""

    def __init__(self, house: House, clock: Clock) -> None:
        self._house = house
        self._clock = clock
        self._adding = Lock()
        self._working = Lock()
        self._waiting: list[_Batch] = []

    def post(self, items: list[Any], permit: Permit = ORDINARY) -> Taken:
        """Take the signals of a batch; when this returns they are in. What others post breaks none of it."""
        mine = _Batch(items, permit)
        with self._adding:
            self._waiting.append(mine)
        with self._working:
            while not mine.taken.done():
                self._take(self._next())
        return mine.taken.result()

    def _next(self) -> list[_Batch]:
        """Return batches that wait, the first come first, together no more than one may hold."""
        with self._adding:
            room, count = MOST, 0
            for batch in self._waiting:
                room -= len(batch.items)
                if room < 0 and count:
                    break
                count += 1
            chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        return chosen

    def _take(self, batches: list[_Batch]) -> None:
        try:
            asked = [(batch.items, batch.permit) for batch in batches]
            done = api_batches.post_batches(self._house, asked, self._clock.now())
        except Exception as error:  # noqa: BLE001 - each hears of its own fault, not of another's
            if len(batches) == 1:
                batches[0].taken.set_exception(error)
                return
            for batch in batches:
                self._take([batch])
            return
        for batch, taken in zip(batches, done, strict=True):
            batch.taken.set_result(taken)
