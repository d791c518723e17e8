"""Working time, and what is due in it: remind, escalate, take back.

Working time passes only while somebody works. It adds up: from a to b and from b to c is from a to c, over
clock changes, holidays and weekends. Moments are aware UTC, as everywhere.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from nurture.domain.planning.calendar import NeverOpens, Opening, Window, openings

_ROUND_THE_CLOCK: Final = timedelta(days=1)
_LOOK_BACK: Final = (4, 16, 64, 370)
"""Days. Most business days began less than four days ago; some after long holidays."""


@dataclass(frozen=True, slots=True)
class Working:
    """When somebody works: a window on the wall clock of *zone*, but not on the days *off* (local dates)."""

    window: Window
    zone: str = "UTC"
    off: Collection[date] = frozenset()

    @property
    def day(self) -> timedelta:
        """Return how long one working day is on the clock."""
        opens, closes = self.window.opens, self.window.closes
        minutes = (closes.hour - opens.hour) * 60 + closes.minute - opens.minute
        length = timedelta(minutes=minutes, seconds=closes.second - opens.second)
        return length if length > timedelta() else length + _ROUND_THE_CLOCK


class BusinessDay(NamedTuple):
    """The day to which what comes in counts: from the end of the one before until its own, exclusive."""

    day: date
    began: datetime
    ends: datetime


def between(working: Working, since: datetime, until: datetime) -> timedelta:
    """Return how much working time lies from *since* to *until*; nothing if *until* is not later."""
    total = timedelta()
    if until <= since:
        return total
    try:
        for opening in openings(working.window, working.zone, working.off, since):
            if opening.start >= until:
                break
            total += min(opening.end, until) - opening.start
    except NeverOpens:
        pass  # no more working time
    return total


def add(working: Working, moment: datetime, length: timedelta) -> datetime:
    """Return the first moment by which *length* of working time has passed since *moment*.

    Where nobody works for a year, time passes as on the wall: what is due never waits for ever.
    """
    left = length
    if left <= timedelta():
        return moment
    reached = moment
    try:
        for opening in openings(working.window, working.zone, working.off, moment):
            there = opening.end - opening.start
            if there >= left:
                return opening.start + left
            left -= there
            reached = opening.end
    except NeverOpens:
        pass
    return reached + left


def business_day(working: Working, moment: datetime) -> BusinessDay:
    """Return the business day of *moment*: after closing time, the next one's has begun.

    So what comes in over a weekend counts to Monday. Raises NeverOpens where nobody works for a year.
    """
    for days in _LOOK_BACK:
        start, today = moment - timedelta(days=days), date.min
        seen: list[Opening] = []
        for opening in openings(working.window, working.zone, working.off, start):
            if today not in (date.min, opening.day):
                break
            seen.append(opening)
            if opening.end > moment:
                today = opening.day
        began = max((one.end for one in seen if one.day < today), default=None)
        if began is not None:
            return BusinessDay(today, began, seen[-1].end)
    return BusinessDay(today, start, seen[-1].end)


def day_opens(working: Working, moment: datetime, days: int = 1) -> datetime:
    """Return when the business day opens that is *days* after that of *moment*.

    Where nobody works for a year, so many days later on the wall.
    """
    try:
        today, seen = business_day(working, moment).day, 0
        for opening in openings(working.window, working.zone, working.off, moment):
            if opening.day > today:
                today, seen = opening.day, seen + 1
                if seen == days:
                    return opening.start
    except NeverOpens:
        pass
    return moment + timedelta(days=days)


class Unit(StrEnum):
    """What a length of time is counted in."""

    WALL = "hours"
    BUSINESS_HOURS = "business hours"
    BUSINESS_DAYS = "business days"


@dataclass(frozen=True, slots=True)
class Within:
    """A length of time, of working time or on the wall. A business day is one working day of the desk."""

    amount: float
    unit: Unit = Unit.BUSINESS_HOURS

    def __str__(self) -> str:
        amount, unit = self.amount, self.unit.value
        if self.unit is Unit.WALL and amount % 24 == 0:
            amount, unit = amount / 24, "days"
        return f"{amount:g} {unit[:-1] if amount == 1 else unit}"

    @classmethod
    def wall(cls, span: timedelta) -> Within:
        """Return a length of time on the wall."""
        return cls(span / timedelta(hours=1), Unit.WALL)

    def after(self, moment: datetime, working: Working) -> datetime:
        """Return when it has passed since *moment*."""
        match self.unit:
            case Unit.WALL:
                return moment + timedelta(hours=self.amount)
            case Unit.BUSINESS_HOURS:
                return add(working, moment, timedelta(hours=self.amount))
            case Unit.BUSINESS_DAYS:
                return add(working, moment, self.amount * working.day)


class Step(StrEnum):
    """What is done when somebody does not act."""

    REMIND = "remind"
    ESCALATE = "escalate"
    TAKE_BACK = "take_back"


class Level(IntEnum):
    """How far up an offer is. Each level is reached once; the first two wait for an answer."""

    OFFERED = 0
    REMINDED = 1
    ESCALATED = 2
    FOLLOW_UP_REMINDED = 3
    FOLLOW_UP_ESCALATED = 4


@dataclass(frozen=True, slots=True)
class Ladder:
    """When somebody who does not act is reminded, their manager is told, and the lead is taken back.

    *levels* are those that reminding and escalating reach. None leaves a step out.
    """

    take_back: Within | None = None
    remind: Within | None = None
    escalate: Within | None = None
    levels: tuple[Level, Level] = (Level.REMINDED, Level.ESCALATED)


class Rung(NamedTuple):
    """A step, when it is due, and the level that it reaches; taking back reaches none."""

    step: Step
    at: datetime
    level: Level | None = None


def rungs(ladder: Ladder, working: Working, since: datetime) -> tuple[Rung, ...]:
    """Return what is due, in the order of time, for somebody who should act from *since* on.

    Taking back ends it: what would fall due then or later is left out.
    """
    reminded, escalated = ladder.levels
    steps = (
        (Step.REMIND, ladder.remind, reminded),
        (Step.ESCALATE, ladder.escalate, escalated),
        (Step.TAKE_BACK, ladder.take_back, None),
    )
    found = [Rung(step, within.after(since, working), level) for step, within, level in steps if within]
    ends = next((rung.at for rung in found if rung.step is Step.TAKE_BACK), None)
    kept = [rung for rung in found if ends is None or rung.step is Step.TAKE_BACK or rung.at < ends]
    return tuple(sorted(kept, key=lambda rung: rung.at))


class Climb(NamedTuple):
    """What is due now, if anything, and what will be next."""

    due: Rung | None
    following: Rung | None


def climb(ladder: tuple[Rung, ...], level: int, now: datetime) -> Climb:
    """Return what to do at *now* for who is at *level*. After a long sleep only the latest step is done."""
    open_ones = [rung for rung in ladder if rung.level is None or rung.level > level]
    due = [rung for rung in open_ones if rung.at <= now]
    last = max(due, key=lambda rung: (rung.at, rung.level is None, rung.level or 0), default=None)
    reached = level if last is None or last.level is None else last.level
    ahead = (rung for rung in open_ones if rung.at > now and (rung.level is None or rung.level > reached))
    return Climb(last, next(ahead, None))


@dataclass(frozen=True, slots=True)
class Agreement:
    """What sales and marketing agreed: how soon an offer is answered and an accepted lead is followed up.

    An offer that is taken back goes to *reroute* further reps before it counts as expired.
    """

    accept: Ladder
    follow_up: Ladder = Ladder(levels=(Level.FOLLOW_UP_REMINDED, Level.FOLLOW_UP_ESCALATED))
    reroute: int = 0

    @classmethod
    def plain(cls, accept_within: timedelta) -> Agreement:
        """Return what holds where the policy has no `sla:`: offers expire, nobody is written to."""
        return cls(Ladder(take_back=Within.wall(accept_within)))
