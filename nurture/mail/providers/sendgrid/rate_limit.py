"""When a provider takes the next call, told by its rate-limit headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

TOO_MANY: Final = 429
SHORTEST: Final = timedelta(seconds=1)
USUAL: Final = timedelta(seconds=60)
"""How long to keep still where a refusal names no time."""
LONGEST: Final = timedelta(hours=1)
_MOST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Pace:
    """What a provider still takes: *left* calls (None: it has not said) until *opens* (UTC), a new window.

    *window* is that moment as the provider wrote it: answers that come out of order are told apart by it.
    """

    left: int | None = None
    opens: datetime | None = None
    window: int = 0

    def at(self, now: datetime) -> Pace:
        """Forget a window that is over at *now*."""
        return Pace() if self.opens is not None and now >= self.opens else self

    def heard(self, status: int, headers: Mapping[str, str], now: datetime) -> Pace:
        """Take in one answer: X-RateLimit-Remaining, X-RateLimit-Reset (unix seconds), and a 429."""
        left = 0 if status == TOO_MANY else _number(headers.get("X-RateLimit-Remaining"))
        if left is None:
            return self
        window = _number(headers.get("X-RateLimit-Reset")) or 0
        if window < self.window and status != TOO_MANY:
            return self
        if window == self.window and self.left is not None:
            left = min(left, self.left)
        return Pace(left, _sane(window, now), window)

    def is_shut(self) -> bool:
        """Say whether nothing more goes in this window."""
        return self.left is not None and self.left <= 0

    def has_room(self, flying: int) -> bool:
        """Say whether one more may start while *flying* calls, counted by the provider or not, are out."""
        return self.left is None or self.left > flying


def _number(value: str | None) -> int | None:
    """Read a whole number; None for anything else, as garbage tells nothing."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _sane(window: int, now: datetime) -> datetime:
    """Keep a reset between a second and an hour from *now*: clocks differ, and headers may be nonsense."""
    if not window:
        return now + USUAL
    ahead = window - now.timestamp()
    bounded = min(max(ahead, SHORTEST.total_seconds()), LONGEST.total_seconds())
    if bounded == ahead:
        return datetime.fromtimestamp(window, UTC)
    return now + timedelta(seconds=bounded)
