"""When a provider takes the next call, told by its rate-limit headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

TOO_MANY_REQUESTS: Final = 429
MIN_WAIT: Final = timedelta(seconds=1)
DEFAULT_WAIT: Final = timedelta(seconds=60)
"""How long to keep still where a refusal names no time."""
MAX_WAIT: Final = timedelta(hours=1)
_MAX_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a provider still takes: *remaining* calls (None: it has not said) until *resets_at* (UTC).

    *window* is that time as the provider wrote it: answers that come out of order are told apart by it.
    """

    remaining: int | None = None
    resets_at: datetime | None = None
    window: int = 0

    def without_expired_window(self, now: datetime) -> RateLimit:
        """Forget a window that is over at *now*."""
        return RateLimit() if self.resets_at is not None and now >= self.resets_at else self

    def updated(self, status: int, headers: Mapping[str, str], now: datetime) -> RateLimit:
        """Take in one answer: X-RateLimit-Remaining, X-RateLimit-Reset (unix seconds), and a 429."""
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
        """Say whether nothing more goes in this window."""
        return self.remaining is not None and self.remaining <= 0

    def has_capacity(self, in_flight: int) -> bool:
        """Say whether one more may start while *in_flight* calls, counted by the provider or not, are out."""
        return self.remaining is None or self.remaining > in_flight


def _parse_int(value: str | None) -> int | None:
    """Read a whole number; None for anything else, as garbage tells nothing."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _clamp_reset(window: int, now: datetime) -> datetime:
    """Keep a reset between a second and an hour from *now*: clocks differ, and headers may be nonsense."""
    if not window:
        return now + DEFAULT_WAIT
    seconds_ahead = window - now.timestamp()
    bounded = min(max(seconds_ahead, MIN_WAIT.total_seconds()), MAX_WAIT.total_seconds())
    if bounded == seconds_ahead:
        return datetime.fromtimestamp(window, UTC)
    return now + timedelta(seconds=bounded)
