"""Where reps stand now: whether they are there, what they were given, and when they will have room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.domain.planning.calendar import Holidays, NeverOpens, is_open
from nurture.domain.policy.business_hours import Working, add, business_day, day_opens
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.team import Hours
from nurture.domain.routing.priority import Pressure
from nurture.domain.routing.round_robin import Standing, has_room
from nurture.journey.routing import queries as routing_queries
from nurture.journey.routing.availability import presence
from nurture.runtime.context import House

_NO_COUNTRY: Final = ""
_INSTANT: Final = timedelta(microseconds=1)


def working(hours: Hours, holidays: Holidays, now: datetime) -> Working:
    """Return when somebody with these *hours* works, without the public holidays around *now*."""
    off = holidays(hours.country, now) if hours.country != _NO_COUNTRY else frozenset()
    return Working(hours.window, hours.zone, frozenset(off))


@dataclass
class Room:
    """The reps of a policy at one moment. *team* is kept up as leads are given to them."""

    policy: Policy
    now: datetime
    workings: Mapping[str, Working]
    team: dict[str, Standing]

    @property
    def places(self) -> int:
        """Return how many more leads the reps can take today, all together."""
        return sum(self._free(rep.id) for rep in self.policy.reps)

    def _free(self, rep_id: str) -> int:
        rep, standing = self.policy.team.rep(rep_id), self.team[rep_id]
        if rep is None or not standing.available or not has_room(rep, standing):
            return 0
        left = rep.capacity - standing.today
        return left if rep.in_hand is None else min(left, rep.in_hand - standing.in_hand)

    def free(self) -> frozenset[str]:
        """Return who has room, under which policy, and whether they rest: what decides who gets leads.

        Whoever has room only because a business day began at closing time is free when the next one opens.
        """
        resting, version = self.resting(), self.policy.version
        free = (rep for rep in self.policy.reps if self._free(rep.id) > 0)
        told = (rep.id for rep in free if rep.in_hand is not None or self._is_open(rep.id))
        return frozenset(f"{version} {rep}{' rests' if rep in resting else ''}" for rep in told)

    def _is_open(self, rep_id: str) -> bool:
        one = self.workings[rep_id]
        return is_open(one.window, one.zone, one.off, self.now)

    def resting(self) -> dict[str, str]:
        """Return who has closed for now, and why: only what cannot wait is offered to them."""
        if not self.policy.pace.hot:
            return {}
        return {rep_id: "off until they open again" for rep_id in self.workings if not self._is_open(rep_id)}

    def opens(self) -> datetime:
        """Return when somebody is foreseen to have room: later than now."""
        there = [rep.id for rep in self.policy.reps if self.team[rep.id].available or self.team[rep.id].back]
        return min((self._opens(rep_id) for rep_id in there), default=self.now + timedelta(days=1))

    def _opens(self, rep_id: str) -> datetime:
        one = self.workings[rep_id]
        if self._free(rep_id) and not self._is_open(rep_id):
            return add(one, self.now, _INSTANT) - _INSTANT
        return day_opens(one, self.now)

    def pressure(self, waiting: int) -> Pressure:
        """Return how full the reps are who are there, with so many leads *waiting*."""
        there = [rep for rep in self.policy.reps if self.team[rep.id].available]
        given = sum(min(self.team[rep.id].today, rep.capacity) for rep in there)
        return Pressure(sum(rep.capacity for rep in there), given, waiting)


def look(house: House, connection: Connection, policy: Policy, now: datetime) -> Room:
    """Count what reps were given this business day and have in hand; be the only one who gives them more."""
    workings = {rep.id: working(rep.hours, house.holidays, now) for rep in policy.reps}
    loads = routing_queries.loads(
        house.database, connection, {id_: _began(one, now) for id_, one in workings.items()}
    )
    team = presence(connection, policy.reps, now, house.holidays)
    for rep, load in loads.items():
        team[rep] = replace(team[rep], today=load.today, in_hand=load.in_hand, newest=load.newest)
    return Room(policy, now, workings, team)


def _began(one: Working, now: datetime) -> datetime:
    try:
        return business_day(one, now).began
    except NeverOpens:
        return now - timedelta(days=1)
