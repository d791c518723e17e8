"""Read the real clock; no other module does. Everything else takes `now` as an argument or uses a Clock."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Final, Protocol

from nurture.errors import ClockWentBackwards, InvalidState

_YEARS: Final = range(1970, 2200)
"""The years that a written time may be in."""


class Clock(Protocol):
    """Provides the current time."""

    @property
    def is_live(self) -> bool:
        """Whether time passes by itself."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Wait until *until* if it is at most *max_wait* away; return whether it has come."""


class RealClock:
    """The system clock. It cannot be moved. *stop* ends a wait."""

    is_live = True

    def __init__(self, stop: Event | None = None) -> None:
        self._stop = stop or Event()

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the only place allowed to

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Wait until *until* if it is at most *max_wait* away; return whether it has come."""
        remaining = until - self.now()
        if remaining > max_wait:
            return False
        return not self._stop.wait(max(remaining.total_seconds(), 0))


class VirtualClock:
    """A clock that moves only when `advance_to` is called, and never back."""

    is_live = False

    def __init__(self, start: datetime) -> None:
        self._now = _utc(start)

    def now(self) -> datetime:
        """Return the time to which this clock was advanced, aware, in UTC."""
        return self._now

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        """Return whether *until* has come: waiting does not move a virtual clock."""
        del max_wait
        return until <= self._now

    def advance_to(self, timestamp: datetime) -> None:
        """Advance to *timestamp*.

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


def parse_time(text: str) -> datetime:
    """Return an ISO time that a person wrote as UTC; a time without a zone is UTC. Raises InvalidState."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text!r} is not a time.", "Write it as 2027-03-31 or 2027-03-31T09:00.") from None
    if parsed.year not in _YEARS:
        raise InvalidState(f"{text!r} is outside the years {_YEARS[0]} to {_YEARS[-1]}.", "Correct the year.")
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _utc(timestamp: datetime) -> datetime:
    if timestamp.tzinfo is None:
        raise ValueError(f"a clock needs a time with a time zone: {timestamp!r}")
    return timestamp.astimezone(UTC)
