"""The only place that reads the real clock. Everybody else takes `now` as an argument, or asks a Clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from nurture.errors import ClockWentBackwards


class Clock(Protocol):
    """Tells what time it is."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""


class RealClock:
    """The system's clock. It cannot be moved."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - somebody has to


class VirtualClock:
    """A clock that stands still until it is told to advance, and never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = _utc(start)

    def now(self) -> datetime:
        """Return the moment that this clock was advanced to, aware, in UTC."""
        return self._now

    def advance_to(self, moment: datetime) -> None:
        """Move on to *moment*.

        Raises:
            ClockWentBackwards: *moment* is before `now()`.
        """
        moment = _utc(moment)
        if moment < self._now:
            raise ClockWentBackwards(
                f"The virtual clock shows {self._now:%Y-%m-%d %H:%M:%S} UTC and cannot go back to "
                f"{moment:%Y-%m-%d %H:%M:%S}. Time only moves forward; start again with a new database."
            )
        self._now = moment


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a clock needs a time with a zone: {moment!r}")
    return moment.astimezone(UTC)
