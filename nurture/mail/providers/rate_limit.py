"""Rate limits, as the provider's response headers report them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

TOO_MANY_REQUESTS: Final = 429
MIN_WAIT: Final = timedelta(seconds=1)
DEFAULT_WAIT: Final = timedelta(seconds=60)
"""The pause after a 429 that names no reset time."""
MAX_WAIT: Final = timedelta(hours=1)
_MAX_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class RateLimit:
    """*remaining* calls (None: not reported) until *resets_at* (UTC).

    *window* is the reset time as the provider wrote it; it orders responses that arrive out of order.
    """

    remaining: int | None = None
    resets_at: datetime | None = None
    window: int = 0

    def without_expired_window(self, now: datetime) -> "RateLimit":
        """Return an empty limit if the window has ended at *now*."""
        return RateLimit() if self.resets_at is not None and now >= self.resets_at else self

    def updated(self, status: int, headers: Mapping[str, str], now: datetime) -> "RateLimit":
        """Return the limit after a response: X-RateLimit-Remaining, X-RateLimit-Reset (unix seconds), 429."""
        remaining = 0 if status == TOO_MANY_REQUESTS else _parse_int(headers.get("X-RateLimit-Remaining"))
        if remaining is None:
            return self
        window = _parse_int(headers.get("X-RateLimit-Reset")) or 0
        if window < self.window and status != TOO_MANY_REQUESTS:
            return self
        if window == self.window and self.remaining is not None:
            remaining = min(remaining, self.remaining)
        return RateLimit(remaining, _clamp_reset(window, now), window)

    def is_exhausted(self) -> bool:
        """Return whether no call is left in this window."""
        return self.remaining is not None and self.remaining <= 0

    def has_capacity(self, in_flight: int) -> bool:
        """Return whether one more call may start while *in_flight* run, which the provider may not have counted."""
        return self.remaining is None or self.remaining > in_flight


def _parse_int(value: str | None) -> int | None:
    """Read a non-negative integer; return None for anything else."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _clamp_reset(window: int, now: datetime) -> datetime:
    """Limit a reset to between a second and an hour from *now*: clocks differ, and headers may be wrong."""
    if not window:
        return now + DEFAULT_WAIT
    seconds_ahead = window - now.timestamp()
    bounded = min(max(seconds_ahead, MIN_WAIT.total_seconds()), MAX_WAIT.total_seconds())
    if bounded == seconds_ahead:
        return datetime.fromtimestamp(window, UTC)
    return now + timedelta(seconds=bounded)
