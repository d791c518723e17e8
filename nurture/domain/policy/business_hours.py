"""Compute working time, and SLA escalation: remind, escalate, take back.

Working time passes only in business hours. It is additive: from a to b plus from b to c is from a to c, across
clock changes, holidays and weekends. All times are aware UTC.
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
class WorkCalendar:
    """When somebody works: a window in the local time of *zone*, except on *days_off* (local dates)."""

    window: Window
    zone: str = "UTC"
    days_off: Collection[date] = frozenset()

    @property
    def day_length(self) -> timedelta:
        """Return the length of one working day."""
        opens, closes = self.window.opens, self.window.closes
        minutes = (closes.hour - opens.hour) * 60 + closes.minute - opens.minute
        length = timedelta(minutes=minutes, seconds=closes.second - opens.second)
        return length if length > timedelta() else length + _ROUND_THE_CLOCK


class BusinessDay(NamedTuple):
    """A business day: from the closing time of the one before until its own, exclusive."""

    day: date
    starts_at: datetime
    ends_at: datetime


def add_working_time(calendar: WorkCalendar, at: datetime, length: timedelta) -> datetime:
    """Return the first time by which *length* of working time has passed since *at*.

    If nobody works for a year, clock time counts, so that everything falls due at some time.
    """
    remaining = length
    if remaining <= timedelta():
        return at
    reached = at
    try:
        for opening in openings(calendar.window, calendar.zone, calendar.days_off, at):
            available = opening.end - opening.start
            if available >= remaining:
                return opening.start + remaining
            remaining -= available
            reached = opening.end
    except NeverOpens:
        pass
    return reached + remaining


def business_day(calendar: WorkCalendar, at: datetime) -> BusinessDay:
    """Return the business day of *at*: after closing time, the next one has begun.

    So what comes in over a weekend counts to Monday. Raises NeverOpens if nobody works for a year.
    """
    for days in _LOOK_BACK:
        start, today = at - timedelta(days=days), date.min
        seen: list[Opening] = []
        for opening in openings(calendar.window, calendar.zone, calendar.days_off, start):
            if today not in (date.min, opening.day):
                break
            seen.append(opening)
            if opening.end > at:
                today = opening.day
        began = max((one.end for one in seen if one.day < today), default=None)
        if began is not None:
            return BusinessDay(today, began, seen[-1].end)
    return BusinessDay(today, start, seen[-1].end)


def next_business_day_start(calendar: WorkCalendar, at: datetime, days: int = 1) -> datetime:
    """Return when the business day opens that is *days* after that of *at*.

    If nobody works for a year, that many calendar days later.
    """
    try:
        today, seen = business_day(calendar, at).day, 0
        for opening in openings(calendar.window, calendar.zone, calendar.days_off, at):
            if opening.day > today:
                today, seen = opening.day, seen + 1
                if seen == days:
                    return opening.start
    except NeverOpens:
        pass
    return at + timedelta(days=days)


class DurationUnit(StrEnum):
    """The unit of a duration."""

    CLOCK_HOURS = "hours"
    BUSINESS_MINUTES = "business minutes"
    BUSINESS_HOURS = "business hours"
    BUSINESS_DAYS = "business days"


@dataclass(frozen=True, slots=True)
class SlaDuration:
    """A duration in working time or clock time. A business day is one working day of the calendar."""

    amount: float
    unit: DurationUnit = DurationUnit.BUSINESS_HOURS

    def __str__(self) -> str:
        amount, unit = self.amount, self.unit.value
        if self.unit is DurationUnit.CLOCK_HOURS and amount % 24 == 0:
            amount, unit = amount / 24, "days"
        elif self.unit is DurationUnit.CLOCK_HOURS and amount < 1:
            amount, unit = amount * 60, "minutes"
        return f"{amount:g} {unit[:-1] if amount == 1 else unit}"

    @property
    def hours(self) -> float | None:
        """Return the hours of working time, None for clock time and for days."""
        if self.unit is DurationUnit.BUSINESS_MINUTES:
            return self.amount / 60
        return self.amount if self.unit is DurationUnit.BUSINESS_HOURS else None

    @classmethod
    def from_clock_time(cls, span: timedelta) -> SlaDuration:
        """Return a duration of clock time."""
        return cls(span / timedelta(hours=1), DurationUnit.CLOCK_HOURS)

    def length(self, calendar: WorkCalendar) -> timedelta:
        """Return how long it is, in clock time or in the working time of *calendar*."""
        match self.unit:
            case DurationUnit.CLOCK_HOURS | DurationUnit.BUSINESS_HOURS:
                return timedelta(hours=self.amount)
            case DurationUnit.BUSINESS_MINUTES:
                return timedelta(minutes=self.amount)
            case DurationUnit.BUSINESS_DAYS:
                return self.amount * calendar.day_length

    def after(self, at: datetime, calendar: WorkCalendar) -> datetime:
        """Return when it has passed since *at*."""
        length = self.length(calendar)
        return at + length if self.unit is DurationUnit.CLOCK_HOURS else add_working_time(calendar, at, length)


class EscalationAction(StrEnum):
    """What happens when somebody does not act."""

    REMIND = "remind"
    ESCALATE = "escalate"
    TAKE_BACK = "take_back"


class EscalationLevel(IntEnum):
    """How far an offer has escalated: without an answer, without a first contact, and in a later silence.

    Each level is reached once; a new contact begins the last two anew.
    """

    OFFERED = 0
    REMINDED = 1
    ESCALATED = 2
    FOLLOW_UP_REMINDED = 3
    FOLLOW_UP_ESCALATED = 4
    NEXT_TOUCH_ASKED = 5
    NEXT_TOUCH_ESCALATED = 6


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    """When a rep who does not act is reminded, the manager is notified, and the lead is taken back.

    *levels* are those reached by reminding and escalating. None omits a step.
    """

    take_back: SlaDuration | None = None
    remind: SlaDuration | None = None
    escalate: SlaDuration | None = None
    levels: tuple[EscalationLevel, EscalationLevel] = (EscalationLevel.REMINDED, EscalationLevel.ESCALATED)


class EscalationStep(NamedTuple):
    """An escalation step, when it is due, and the level that it reaches; taking back reaches none."""

    action: EscalationAction
    due_at: datetime
    level: EscalationLevel | None = None


def escalation_steps(policy: EscalationPolicy, calendar: WorkCalendar, since: datetime) -> tuple[EscalationStep, ...]:
    """Return what is due, in order of time, for a rep who should act from *since* on.

    Taking back ends the escalation: steps due at that time or later are omitted.
    """
    reminded, escalated = policy.levels
    steps = (
        (EscalationAction.REMIND, policy.remind, reminded),
        (EscalationAction.ESCALATE, policy.escalate, escalated),
        (EscalationAction.TAKE_BACK, policy.take_back, None),
    )
    found = [EscalationStep(action, within.after(since, calendar), level) for action, within, level in steps if within]
    taken_back_at = next((one.due_at for one in found if one.action is EscalationAction.TAKE_BACK), None)
    before_take_back = [
        one
        for one in found
        if taken_back_at is None or one.action is EscalationAction.TAKE_BACK or one.due_at < taken_back_at
    ]
    return tuple(sorted(before_take_back, key=lambda one: one.due_at))


class EscalationStatus(NamedTuple):
    """The step due now, if any, and the next one."""

    due: EscalationStep | None
    upcoming: EscalationStep | None


def next_step(steps: tuple[EscalationStep, ...], level: int, now: datetime) -> EscalationStatus:
    """Return what to do at *now* at *level*. After a long pause only the latest step is done."""
    pending = [step for step in steps if step.level is None or step.level > level]
    due = [step for step in pending if step.due_at <= now]
    last = max(due, key=lambda step: (step.due_at, step.level is None, step.level or 0), default=None)
    reached = level if last is None or last.level is None else last.level
    ahead = (step for step in pending if step.due_at > now and (step.level is None or step.level > reached))
    return EscalationStatus(last, next(ahead, None))


@dataclass(frozen=True, slots=True)
class SlaPolicy:
    """The agreement of sales and marketing: how soon an offer is answered and an accepted lead is followed up.

    An offer that is taken back goes to *max_reroutes* further reps before it counts as expired.
    """

    accept: EscalationPolicy
    follow_up: EscalationPolicy = EscalationPolicy(
        levels=(EscalationLevel.FOLLOW_UP_REMINDED, EscalationLevel.FOLLOW_UP_ESCALATED)
    )
    max_reroutes: int = 0

    @classmethod
    def without_sla(cls, accept_within: timedelta) -> SlaPolicy:
        """Return the SLA of a policy without `sla:`: offers expire, nobody is notified."""
        return cls(EscalationPolicy(take_back=SlaDuration.from_clock_time(accept_within)))
