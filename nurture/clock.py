"""The only place that reads the real clock. Everybody else takes `now` as an argument, or asks a Clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from nurture.errors import ClockWentBackwards


class Clock(Protocol):
    """Tells what time it is."""

    @property
    def runs(self) -> bool:
        """Whether time passes by itself."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""

    def wait(self, until: datetime, at_most: timedelta) -> bool:
        """Wait until *until*, if that is no longer than *at_most* away; return whether it has come."""


class RealClock:
    """The system's clock. It cannot be moved."""

    runs = True

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - somebody has to

    def wait(self, until: datetime, at_most: timedelta) -> bool:
        """Sleep until *until*, if that is no longer than *at_most* away; return whether it has come."""
        left = until - self.now()
        if left > at_most:
            return False
        time.sleep(max(left.total_seconds(), 0))
        return True


class VirtualClock:
    """A clock that stands still until it is told to advance, and never goes back."""

    runs = False

    def __init__(self, start: datetime) -> None:
        self._now = _utc(start)

    def now(self) -> datetime:
        """Return the moment that this clock was advanced to, aware, in UTC."""
        return self._now

    def wait(self, until: datetime, at_most: timedelta) -> bool:
        """Return whether *until* has come: waiting moves no virtual clock."""
        del at_most
        return until <= self._now

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
