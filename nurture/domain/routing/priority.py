"""Who waits how long: urgency with ageing, and how full the reps are.

A lead's place in the queue is a moment: when it came, moved back by its points times `age`. That order never
changes while leads wait, so it is kept, not computed anew: waiting one `age` is worth one point. So whoever
comes more than (most points - own points) x age later never overtakes, and nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.policy.business_hours import Working, day_opens

HOT_POINTS: Final = 30
"""What it is worth that a lead cannot wait: as much as having waited for so many `age`."""

MOST_DAYS_AHEAD: Final = 30
"""Room is not foreseen further ahead than so many business days; then it is looked for again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How leads reach reps: which jump the queue, and when tracks stop asking for more.

    *hot* names hand-off criteria, readiness rules and steps. *fit* is what fit letters are worth, in points.
    *hold_calls_to_action_at* is the share of the reps' day from which on touches that call to action are
    held, None for never.
    """

    hot: frozenset[str] = frozenset()
    age: timedelta = timedelta(days=1)
    fit: Mapping[str, int] = field(default_factory=dict)
    hold_calls_to_action_at: float | None = None

    def points(self, rule: str, fit: str) -> int:
        """Return what a lead is worth that *rule* handed off."""
        return (HOT_POINTS if rule in self.hot else 0) + self.fit.get(fit, 0)

    @property
    def most_points(self) -> int:
        """Return what the most urgent lead is worth."""
        return (HOT_POINTS if self.hot else 0) + max(self.fit.values(), default=0)


@dataclass(frozen=True, slots=True)
class Urgency:
    """How much a waiting lead matters, and why. *since* is when it came to the queue."""

    points: int
    since: datetime
    age: timedelta
    hot: bool = False

    @property
    def rank(self) -> datetime:
        """Return its place in the queue: the earlier the sooner. It does not change while the lead waits."""
        return self.since - self.points * self.age

    def at(self, now: datetime) -> float:
        """Return the urgency at *now*: points, and one for each `age` waited."""
        return round((now - self.rank) / self.age, 2)


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full the reps are: what they take a day together, what of it is given today, and who waits."""

    places: int
    given: int
    waiting: int

    @property
    def share(self) -> float:
        """Return how much of a day's places is given or asked for; 1 means full."""
        return (self.given + self.waiting) / self.places if self.places else float(self.waiting > 0)

    def full_until(self, threshold: float | None, working: Working, now: datetime) -> datetime | None:
        """Return when the share is foreseen to fall below *threshold*, None if it is below now.

        Foreseen: each business day of *working* takes its places off those who wait.
        """
        if threshold is None or self.share < threshold:
            return None
        days, waiting = 1, float(self.waiting)
        while self.places and waiting / self.places >= threshold and days < MOST_DAYS_AHEAD:
            waiting -= self.places
            days += 1
        return day_opens(working, now, days if self.places else MOST_DAYS_AHEAD)
