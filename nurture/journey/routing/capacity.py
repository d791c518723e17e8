"""Determine how many leads each rep can take now, and when capacity frees up."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.planning.calendar import Holidays, NeverOpens, is_open, next_open
from nurture.domain.policy.business_hours import WorkCalendar, business_day, next_business_day_start
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import WorkingHours
from nurture.domain.routing.priority import CapacityForecast
from nurture.domain.routing.round_robin import RepAvailability, has_capacity
from nurture.journey.routing import queries as routing_queries
from nurture.journey.routing.availability import load_availability
from nurture.runtime.context import AppContext

_NO_COUNTRY: Final = ""


def working_time(hours: WorkingHours, holidays: Holidays, now: datetime) -> WorkCalendar:
    """Return the working calendar for these *hours*, without the public holidays around *now*."""
    holidays_off = holidays(hours.country, now) if hours.country != _NO_COUNTRY else frozenset()
    return WorkCalendar(hours.window, hours.zone, frozenset(holidays_off))


@dataclass
class RepCapacity:
    """Availability and load of a policy's reps at one time. *team* is updated as leads are given to them."""

    policy: Policy
    now: datetime
    working_times: Mapping[str, WorkCalendar]
    team: dict[str, RepAvailability]

    @property
    def remaining(self) -> int:
        """Return how many more leads all reps together can take today."""
        return sum(self._remaining_for(rep.id) for rep in self.policy.reps)

    def _remaining_for(self, rep_id: str) -> int:
        rep, availability = self.policy.team.rep(rep_id), self.team[rep_id]
        if rep is None or not availability.available or not has_capacity(rep, availability):
            return 0
        remaining = rep.capacity - availability.offers_today
        return remaining if rep.max_open_leads is None else min(remaining, rep.max_open_leads - availability.open_leads)

    def free_reps(self) -> frozenset[str]:
        """Return the reps with capacity, as "version id[ off duty]". Any addition restarts the queue scan.

        A rep who gained capacity only because a business day began at closing time counts from the next opening.
        """
        off_duty, version = self.off_duty_reps(), self.policy.version
        free = (rep for rep in self.policy.reps if self._remaining_for(rep.id) > 0)
        available_now = (rep.id for rep in free if rep.max_open_leads is not None or self._is_rep_open(rep.id))
        return frozenset(f"{version} {rep}{' off duty' if rep in off_duty else ''}" for rep in available_now)

    def _is_rep_open(self, rep_id: str) -> bool:
        hours = self.working_times[rep_id]
        return is_open(hours.window, hours.zone, hours.days_off, self.now)

    def off_duty_reps(self) -> dict[str, str]:
        """Return the reps outside their working hours, with the reason: they are offered hot leads only."""
        if not self.policy.priority.hot:
            return {}
        return {
            rep_id: "off duty until their working hours"
            for rep_id in self.working_times
            if not self._is_rep_open(rep_id)
        }

    def next_opening(self) -> datetime:
        """Return when capacity is next expected, later than now."""
        expected = [
            rep.id for rep in self.policy.reps if self.team[rep.id].available or self.team[rep.id].away_today_only
        ]
        return min((self._next_opening_of(rep_id) for rep_id in expected), default=self.now + timedelta(days=1))

    def _next_opening_of(self, rep_id: str) -> datetime:
        hours = self.working_times[rep_id]
        has_room = self._remaining_for(rep_id) or self.team[rep_id].away_today_only
        if has_room and not self._is_rep_open(rep_id):
            with suppress(NeverOpens):
                return next_open(hours.window, hours.zone, hours.days_off, self.now)
        return next_business_day_start(hours, self.now)

    def forecast(self, waiting: int) -> CapacityForecast:
        """Return how full the available reps are, with *waiting* leads in the queue."""
        available = [rep for rep in self.policy.reps if self.team[rep.id].available]
        offered = sum(min(self.team[rep.id].offers_today, rep.capacity) for rep in available)
        return CapacityForecast(sum(rep.capacity for rep in available), offered, waiting)


def load_capacity(ctx: AppContext, tx: Transaction, policy: Policy, now: datetime) -> RepCapacity:
    """Count what reps were given this business day and have in hand.

    The caller holds `Lock.OFFERS`, so that nobody else gives them leads meanwhile.
    """
    working_times = {rep.id: working_time(rep.hours, ctx.holidays, now) for rep in policy.reps}
    loads = routing_queries.load_rep_loads(
        tx, {id_: _business_day_start(one, now) for id_, one in working_times.items()}
    )
    team = load_availability(tx, policy.reps, now, ctx.holidays)
    for rep, load in loads.items():
        team[rep] = team[rep]._replace(
            offers_today=load.offers_today, open_leads=load.open_leads, last_offer=load.last_offer
        )
    return RepCapacity(policy, now, working_times, team)


def _business_day_start(hours: WorkCalendar, now: datetime) -> datetime:
    try:
        return business_day(hours, now).starts_at
    except NeverOpens:
        return now - timedelta(days=1)
