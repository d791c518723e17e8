"""Who waits how long: urgency with ageing, and how full the reps are.

A lead's place in the queue is a moment: when it came, moved back by its points times `aging_interval`. That
order never changes while leads wait, so it is kept, not computed anew: waiting one `aging_interval` is worth
one point. So whoever comes more than (most points - own points) x age later never overtakes, and nobody waits
for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.policy.business_hours import WorkCalendar, next_business_day_start

HOT_POINTS: Final = 30
"""What it is worth that a lead cannot wait: as much as having waited for so many `aging_interval`."""

MAX_FORECAST_DAYS: Final = 30
"""Room is not foreseen further ahead than so many business days; then it is looked for again."""


@dataclass(frozen=True, slots=True)
class PriorityPolicy:
    """How leads reach reps: which jump the queue, and when tracks stop asking for more.

    *hot* names hand-off criteria, readiness rules and steps. *fit_points* is what fit letters are worth, in
    points. *hold_calls_to_action_at* is the share of the reps' day from which on touches that call to action
    are held, None for never.
    """

    hot: frozenset[str] = frozenset()
    aging_interval: timedelta = timedelta(days=1)
    fit_points: Mapping[str, int] = field(default_factory=dict)
    hold_calls_to_action_at: float | None = None

    def points_for(self, rule: str, fit: str) -> int:
        """Return what a lead is worth that *rule* handed off."""
        return (HOT_POINTS if rule in self.hot else 0) + self.fit_points.get(fit, 0)

    @property
    def max_points(self) -> int:
        """Return what the most urgent lead is worth."""
        return (HOT_POINTS if self.hot else 0) + max(self.fit_points.values(), default=0)


@dataclass(frozen=True, slots=True)
class QueuePriority:
    """How much a waiting lead matters, and why. *since* is when it came to the queue."""

    points: int
    since: datetime
    aging_interval: timedelta
    hot: bool = False

    @property
    def rank(self) -> datetime:
        """Return its place in the queue: the earlier the sooner. It does not change while the lead waits."""
        return self.since - self.points * self.aging_interval

    def score_at(self, now: datetime) -> float:
        """Return the urgency at *now*: points, and one for each `aging_interval` waited."""
        return round((now - self.rank) / self.aging_interval, 2)


@dataclass(frozen=True, slots=True)
class CapacityForecast:
    """How full the reps are: what they take a day together, what of it is given today, and who waits."""

    daily_capacity: int
    offered_today: int
    waiting: int

    @property
    def utilization(self) -> float:
        """Return how much of a day's places is given or asked for; 1 means full."""
        return (
            (self.offered_today + self.waiting) / self.daily_capacity
            if self.daily_capacity
            else float(self.waiting > 0)
        )

    def full_until(self, threshold: float | None, calendar: WorkCalendar, now: datetime) -> datetime | None:
        """Return when the share is foreseen to fall below *threshold*, None if it is below now.

        Foreseen: each business day of *calendar* takes its places off those who wait.
        """
        if threshold is None or self.utilization < threshold:
            return None
        days, waiting = 1, float(self.waiting)
        while self.daily_capacity and waiting / self.daily_capacity >= threshold and days < MAX_FORECAST_DAYS:
            waiting -= self.daily_capacity
            days += 1
        return next_business_day_start(calendar, now, days if self.daily_capacity else MAX_FORECAST_DAYS)
