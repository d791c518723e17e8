"""Order waiting leads by priority with aging, and forecast how full the reps are.

A lead's rank in the queue is a time: when it came, moved back by its points times `aging_interval`, so waiting
one `aging_interval` is worth one point. The order of waiting leads never changes, so the rank is stored, not
recomputed. A lead that comes more than (highest points - own points) * `aging_interval` later never overtakes,
so no lead waits forever.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.policy.business_hours import WorkCalendar, next_business_day_start

HOT_POINTS: Final = 30
"""The points of a hot lead: as much as having waited this many `aging_interval`."""

MAX_FORECAST_DAYS: Final = 30
"""Capacity is forecast at most this many business days ahead; then the forecast is repeated."""


@dataclass(frozen=True, slots=True)
class PriorityPolicy:
    """How leads are prioritized for reps, and when tracks hold calls to action.

    *hot* names hand-off criteria, readiness rules and steps. *fit_points* are the points of fit letters.
    *hold_calls_to_action_at* is the share of the reps' daily capacity from which on touches that are calls to
    action are held, None for never.
    """

    hot: frozenset[str] = frozenset()
    aging_interval: timedelta = timedelta(days=1)
    fit_points: Mapping[str, int] = field(default_factory=dict)
    hold_calls_to_action_at: float | None = None

    def points_for(self, rule: str, fit: str) -> int:
        """Return the points of a lead that *rule* handed off."""
        return (HOT_POINTS if rule in self.hot else 0) + self.fit_points.get(fit, 0)


@dataclass(frozen=True, slots=True)
class QueuePriority:
    """A waiting lead's points. *since* is when it entered the queue."""

    points: int
    since: datetime
    aging_interval: timedelta
    hot: bool = False

    @property
    def rank(self) -> datetime:
        """Return its rank in the queue, the earliest first. It does not change while the lead waits."""
        return self.since - self.points * self.aging_interval

    def score_at(self, now: datetime) -> float:
        """Return the priority at *now*: the points, plus one for each `aging_interval` waited."""
        return round((now - self.rank) / self.aging_interval, 2)


@dataclass(frozen=True, slots=True)
class CapacityForecast:
    """How full the reps are: their joint daily capacity, leads offered today, and leads waiting."""

    daily_capacity: int
    offered_today: int
    waiting: int

    @property
    def utilization(self) -> float:
        """Return the fraction of a day's capacity that is offered or waited for; 1 means full."""
        return (
            (self.offered_today + self.waiting) / self.daily_capacity
            if self.daily_capacity
            else float(self.waiting > 0)
        )

    def full_until(self, threshold: float | None, calendar: WorkCalendar, now: datetime) -> datetime | None:
        """Return when utilization is forecast to fall below *threshold*, None if it is below now.

        The forecast assumes that each business day of *calendar* takes its capacity off the waiting leads.
        """
        if threshold is None or self.utilization < threshold:
            return None
        days, waiting = 1, float(self.waiting)
        while self.daily_capacity and waiting / self.daily_capacity >= threshold and days < MAX_FORECAST_DAYS:
            waiting -= self.daily_capacity
            days += 1
        return next_business_day_start(calendar, now, days if self.daily_capacity else MAX_FORECAST_DAYS)
