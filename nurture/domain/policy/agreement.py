"""Define the service agreement of marketing and sales: what each side owes, as limits on measures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Duty:
    """A measure that one side keeps at least, or at most, at a share (0 to 1)."""

    side: str
    measure: str
    share: float
    is_minimum: bool

    def is_kept(self, share: float) -> bool:
        """Return whether *share* keeps it."""
        return share >= self.share if self.is_minimum else share <= self.share


@dataclass(frozen=True, slots=True)
class Agreement:
    """The duties of both sides, and the day on which they review them."""

    review_on: date
    duties: tuple[Duty, ...]
