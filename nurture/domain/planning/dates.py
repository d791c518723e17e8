"""Read the dates of leads, and count from them: "7 days before trial_ends at 10:00"."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from nurture.domain.lead import Lead
from nurture.domain.planning.calendar import Delay, local_time, start_of_day, to_local

FIRST_CONTACT: Final = "first_contact"
"""The built-in date on which the lead was first in contact with the company."""

ONE_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_YEARS: Final = range(1900, 3000)  # others are placeholders, such as 9999-12-31 for "never"


@dataclass(frozen=True, slots=True)
class DateOffset:
    """A time that is *delay* before or after the date in the field *name* of a lead.

    Hours and minutes count from the time, or from the start of a date without one; days count whole days in the
    lead's zone, and *delay* may have the time of that day. Its weekday is not used.
    """

    name: str
    delay: Delay = field(default_factory=Delay)
    is_before: bool = False

    def __str__(self) -> str:
        delay = self.delay
        lengths = (delay.hours, "hour"), (delay.days, "day"), (delay.business_days, "business day")
        for length, unit in lengths:
            if length:
                way = "before" if self.is_before else "after"
                return f"{length:g} {unit}{'' if length == 1 else 's'} {way} {self.name}"
        return self.name


@lru_cache(maxsize=4096)
def parse_date(text: str) -> date | datetime | None:
    """Return the day, or the time in UTC, of an ISO text; None if it is neither."""
    try:
        found: date | datetime = date.fromisoformat(text.strip())
    except ValueError:
        try:
            at = datetime.fromisoformat(text.strip())
            found = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    return found if found.year in _YEARS else None


def find_date(lead: Lead, name: str) -> date | datetime | None:
    """Return the lead's date *name*, a day or a time in UTC; None if it is not known or is no date."""
    if name == FIRST_CONTACT:
        return lead.first_contact_at
    value = lead.fields.get(name)
    return parse_date(value) if isinstance(value, str) else None


def local_day(found: date | datetime, zone: str) -> date:
    """Return the day of a date in *zone* ("": UTC)."""
    return to_local(found, zone or "UTC").date() if isinstance(found, datetime) else found


def offset_day(offset: DateOffset, lead: Lead, zone: str) -> date | None:
    """Return the local day to which *offset* counts; None if the date is not known."""
    found = find_date(lead, offset.name)
    if found is None:
        return None
    day, step = local_day(found, zone), -ONE_DAY if offset.is_before else ONE_DAY
    missing = offset.delay.business_days
    while missing:
        day += step
        missing -= day.weekday() < _SATURDAY and day not in lead.holidays
    return day + offset.delay.days * step


def offset_time(offset: DateOffset, lead: Lead, zone: str) -> datetime | None:
    """Return the time to which *offset* counts, in UTC: without hours or a time of day, the start of its day."""
    start = date_start(offset, lead, zone)
    if start is not None and offset.delay.hours:
        length = timedelta(hours=offset.delay.hours)
        return start - length if offset.is_before else start + length
    day = offset_day(offset, lead, zone)
    return local_time(day, offset.delay.at or time.min, zone) if day is not None else None


def date_start(offset: DateOffset, lead: Lead, zone: str) -> datetime | None:
    """Return when the date itself begins: for an offset in hours its time, otherwise its local day."""
    found = find_date(lead, offset.name)
    if found is None or (isinstance(found, datetime) and offset.delay.hours):
        return found
    return start_of_day(local_day(found, zone), zone)


def end_of(limit: date | DateOffset, lead: Lead, zone: str) -> datetime | None:
    """Return when *limit* is over: a time at that time, a day at its end; None if it is not known."""
    if not isinstance(limit, DateOffset):
        return start_of_day(limit + ONE_DAY, zone)
    found = find_date(lead, limit.name)
    if isinstance(found, datetime) and limit.delay == Delay():
        return found
    if limit.delay.hours or limit.delay.at is not None:
        return offset_time(limit, lead, zone)
    day = offset_day(limit, lead, zone)
    return start_of_day(day + ONE_DAY, zone) if day is not None else None
