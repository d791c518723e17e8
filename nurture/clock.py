"""The only place that reads the real clock. Everybody else takes `now` as an argument, or asks a Clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from nurture.errors import ClockWentBackwards


class Clock(Protocol):
    """Tells what time it is."""

    @property
    def is_live(self) -> bool:
        """Whether time passes by itself."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Wait until *until*, if that is no longer than *max_wait* away; return whether it has come."""


class RealClock:
    """The system's clock. It cannot be moved."""

    is_live = True

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - somebody has to

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Sleep until *until*, if that is no longer than *max_wait* away; return whether it has come."""
        remaining = until - self.now()
        if remaining > max_wait:
            return False
        time.sleep(max(remaining.total_seconds(), 0))
        return True


class VirtualClock:
    """A clock that stands still until it is told to advance, and never goes back."""

    is_live = False

    def __init__(self, start: datetime) -> None:
        self._now = _utc(start)

    def now(self) -> datetime:
        """Return the moment that this clock was advanced to, aware, in UTC."""
        return self._now

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Return whether *until* has come: waiting moves no virtual clock."""
        del max_wait
        return until <= self._now

    def advance_to(self, timestamp: datetime) -> None:
        """Move on to *timestamp*.

        Raises:
            ClockWentBackwards: *timestamp* is before `now()`.
        """
        timestamp = _utc(timestamp)
        if timestamp < self._now:
            raise ClockWentBackwards(
                f"The virtual clock shows {self._now:%Y-%m-%d %H:%M:%S} UTC and cannot go back to "
                f"{timestamp:%Y-%m-%d %H:%M:%S}. Time only moves forward; start again with a new database."
            )
        self._now = timestamp


def _utc(timestamp: datetime) -> datetime:
    if timestamp.tzinfo is None:
        raise ValueError(f"a clock needs a time with a zone: {timestamp!r}")
    return timestamp.astimezone(UTC)
