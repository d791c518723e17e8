"""Find when a touch is due, and from when on it would make no sense any more.

A touch without a date is due when its delay since the last touch is over. One that hangs on a date of the lead, such as
"7 days before trial_ends", is due on that day:

- before a date, in days: on its day, or if no mail goes on that day, on the last day before it on which mail goes;
  never on the date itself or later;
- before a date, in hours, or after a date: at its time, or when the window next opens;
- if it cannot go within the track's grace after that, or the date is not known, its step is skipped.
"""

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple

from nurture.domain.lead import Lead
from nurture.domain.planning.calendar import add_delay, is_open, local_time, next_open, start_of_day
from nurture.domain.planning.conditions import earliest
from nurture.domain.planning.dates import ONE_DAY, DateOffset, date_start, end_of, local_day, offset_day, offset_time
from nurture.domain.planning.program import Email, Program

MIN_TIME_TO_SEND: Final = timedelta(hours=1)  # for the outbox, if a track gives no grace
_MAX_DAYS_EARLIER: Final = 31


class TouchTiming(NamedTuple):
    """When a touch is due, and from when on it is not sent any more, None for never; all in UTC.

    *grace_ends_at* is set for a touch that hangs on a date. *latest_at*: see `latest_time`.
    """

    due_at: datetime
    grace_ends_at: datetime | None
    latest_at: datetime | None

    @property
    def expires_at(self) -> datetime | None:
        """Return from when on the touch is not sent any more."""
        return earliest((self.latest_at, self.grace_ends_at))

    def is_over(self, at: datetime) -> bool:
        """Return whether the touch is not sent at *at* any more."""
        return self.expires_at is not None and self.expires_at <= at


class DateLimits(NamedTuple):
    """What the dates of a touch say now, None where no known date says anything. They move with the dates."""

    due_at: datetime | None = None
    grace_ends_at: datetime | None = None
    latest_at: datetime | None = None


def find_date_limits(email: Email, program: Program, lead: Lead) -> DateLimits:
    """Return what the dates of a touch say now, whenever it was planned. Raises NeverOpens."""
    due = date_due_at(email, program, lead)
    grace_ends_at = _end_of_grace(program, lead, due) if due is not None else None
    return DateLimits(due, grace_ends_at, latest_time(email, program, lead))


def find_timing(email: Email, program: Program, lead: Lead, anchor: datetime) -> TouchTiming | None:
    """Return the timing of a touch; None if it hangs on a date that is not known.

    *anchor* is the time of the last touch. Raises NeverOpens.
    """
    due, grace_ends_at, latest_at = find_date_limits(email, program, lead)
    if not isinstance(email.after, DateOffset):
        due = add_delay(email.after, lead.zone or program.zone_fallback, lead.holidays, anchor)
    return TouchTiming(due, grace_ends_at, latest_at) if due is not None else None


def date_due_at(email: Email, program: Program, lead: Lead) -> datetime | None:
    """Return when a touch that hangs on a date is due; None if the date is not known, or it hangs on none."""
    offset, zone = email.after, lead.zone or program.zone_fallback
    if not isinstance(offset, DateOffset):
        return None
    day = offset_day(offset, lead, zone)
    if day is None or not offset.is_before or offset.delay.hours:
        return offset_time(offset, lead, zone)
    return _last_sending_time(program, zone, lead.holidays, day, offset.delay.at)


def latest_time(email: Email, program: Program, lead: Lead) -> datetime | None:
    """Return from when on the touch makes no sense: `not_after`, or the date before which it goes; None for never."""
    zone = lead.zone or program.zone_fallback
    limit = end_of(email.not_after, lead, zone) if email.not_after is not None else None
    if isinstance(email.after, DateOffset) and email.after.is_before:
        return earliest((limit, date_start(email.after, lead, zone)))
    return limit


def _end_of_grace(program: Program, lead: Lead, due: datetime) -> datetime:
    opens = next_open(program.window, lead.zone or program.zone_fallback, lead.holidays, due)
    return opens + max(program.grace, MIN_TIME_TO_SEND)


def _last_sending_time(
    program: Program, zone: str, holidays: Collection[date], day: date, clock: time | None
) -> datetime:
    """Return the time *clock* of *day*, or of the last day before it on which the window opens.

    If the window is closed at that time, or there is none, when it opens on that day.
    """
    for _ in range(_MAX_DAYS_EARLIER):
        opening = next_open(program.window, zone, holidays, start_of_day(day, zone))
        if local_day(opening, zone) == day:
            wanted = local_time(day, clock, zone) if clock is not None else opening
            return wanted if is_open(program.window, zone, holidays, wanted) else opening
        day -= ONE_DAY
    return start_of_day(day + _MAX_DAYS_EARLIER * ONE_DAY, zone)
