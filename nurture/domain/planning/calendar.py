"""Compute send windows and delays on the lead's local clock.

Datetimes come in and go out as aware UTC; the lead's zone is used only in this module. When clocks change:

- a local time that does not exist (skipped in spring) means the first valid minute after the gap;
- a local time that occurs twice means its first occurrence;
- a send window is a span of local time: when an hour repeats, so does its part of the window.

``holidays`` are local dates of the lead's country. ``zone`` is an IANA name.
"""

# Python compares and subtracts two local times of one zone by their wall-clock reading, ignoring the UTC offset. So
# this module only adds to local times, and compares in UTC. zoneinfo, not pendulum, because a run calls this for
# ten thousand leads a second.

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from math import isfinite
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

Holidays = Callable[[str, datetime], Collection[date]]
"""Return the public holidays of a country (ISO code) around a time, as local dates."""

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_MAX_SEARCH: Final = timedelta(days=370)
_WEEKDAYS: Final = frozenset(range(7))
_WEEKDAY_NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SCAN_STEP: Final = timedelta(days=7)  # no zone changes its clock twice within a week


class NeverOpens(ValueError):
    """Raised when a send window does not open in the next 370 days."""


class UnknownZone(ValueError):
    """Raised when a time zone's name is not in the time zone database."""


@dataclass(frozen=True, slots=True)
class Window:
    """A track's send window, in the lead's local time.

    *closes* is exclusive. If it is before *opens*, the window ends on the next day (22:00-06:00); if equal, the
    window lasts 24 hours. *days* (Monday is 0) and holidays apply to the day on which the window opens:
    Friday's 22:00-06:00 is open on Saturday at 03:00.
    """

    days: frozenset[int] = frozenset({0, 1, 2, 3, 4})
    opens: time = time(9, 0)
    closes: time = time(17, 0)
    skip_holidays: bool = True

    def __post_init__(self) -> None:
        if not self.days <= _WEEKDAYS:
            raise ValueError(f"a send window's days are 0 (Monday) to 6 (Sunday), not {sorted(self.days)}")
        _require_naive(self.opens, "opens")
        _require_naive(self.closes, "closes")


@dataclass(frozen=True, slots=True)
class Delay:
    """How long to wait.

    Set at most one of *hours*, *days* and *business_days*. Then *on* (Monday is 0) moves to that weekday on the
    same day or later, and *at* sets the local time of that day.
    """

    hours: float = 0
    days: int = 0
    business_days: int = 0
    on: int | None = None
    at: time | None = None

    def __post_init__(self) -> None:
        lengths = (self.hours, self.days, self.business_days)
        if sum(map(bool, lengths)) > 1:
            raise ValueError(f"a delay takes only one of hours, days and business days: {self}")
        if not all(isfinite(length) and length >= 0 for length in lengths):
            raise ValueError(f"a delay cannot be negative or infinite: {self}")
        if self.on is not None and self.on not in _WEEKDAYS:
            raise ValueError(f"a delay's weekday is 0 (Monday) to 6 (Sunday), not {self.on}")
        if self.at is not None:
            _require_naive(self.at, "at")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a broadcast is sent: *when*, and *not_after* which it is not sent any more.

    Both are local times of *zone*; "" is the zone of each lead.
    """

    when: datetime
    not_after: datetime
    zone: str = ""


class Opening(NamedTuple):
    """One opening of a window, *end* exclusive; *day* is the local day on which the window opened."""

    day: date
    start: datetime
    end: datetime


def is_open(window: Window, zone: str, holidays: Collection[date], at: datetime) -> bool:
    """Return whether *at* lies inside *window* in the local time of *zone*."""
    return _is_open_on(window, holidays, _to_zone(at, _zone(zone)))


def next_open(window: Window, zone: str, holidays: Collection[date], at: datetime) -> datetime:
    """Return the first time at or after *at* inside *window*: *at* itself if it is open then.

    A window whose opening time does not exist that day opens at the first valid minute; one that lies entirely
    in the gap does not open that day. Raises NeverOpens if it does not open in the next 370 days.
    """
    tz = _zone(zone)
    wall = _to_zone(at, tz)
    if _is_open_on(window, holidays, wall):
        return at
    last = wall.date() + _MAX_SEARCH
    start = at
    while True:
        day = _next_opening_day(window, holidays, wall, last)
        # Correct only if the clock does not change before it; if it does, search again from the change.
        opening = datetime.combine(day, window.opens, UTC) - _offset(wall)
        change = _first_change(tz, start, opening)
        if change is None:
            return opening
        wall = change.astimezone(tz)
        if _is_open_on(window, holidays, wall):
            return change
        start = change


def openings(window: Window, zone: str, holidays: Collection[date], at: datetime) -> Iterator[Opening]:
    """Yield the openings of *window* from *at* on, in order; an opening that contains *at* begins at *at*.

    Where an hour repeats, so does its part of the window; if the window was closed in between, as two openings.
    Raises NeverOpens if 370 days pass without an opening.
    """
    tz = _zone(zone)
    start, pending = _to_zone(at, tz).astimezone(UTC), None
    last_end = start
    while start - last_end <= _MAX_SEARCH:
        scan_end = start + _SCAN_STEP
        change = _first_change(tz, start, scan_end)
        end = change or scan_end
        for opening in _openings_between(window, holidays, start, end, tz):
            if pending is not None and pending.day == opening.day and pending.end == opening.start:
                pending = Opening(pending.day, pending.start, opening.end)
                continue
            if pending is not None:
                yield pending
            pending, last_end = opening, opening.end
        start = end
    raise NeverOpens(f"a window on {_day_names(window.days)} does not open in the 370 days after {last_end:%Y-%m-%d}")


def open_time(window: Window, zone: str, holidays: Collection[date], start: datetime, end: datetime) -> timedelta:
    """Return how long *window* is open from *start* to *end*. Raises NeverOpens."""
    total = timedelta()
    for opening in openings(window, zone, holidays, start):
        if opening.start >= end:
            break
        total += min(opening.end, end) - opening.start
    return total


def after_open_time(
    window: Window, zone: str, holidays: Collection[date], start: datetime, amount: timedelta
) -> datetime:
    """Return when *window* has been open for *amount* since *start*, a time at which it is open. Raises NeverOpens."""
    for opening in openings(window, zone, holidays, start):
        if amount < opening.end - opening.start:
            return opening.start + amount
        amount -= opening.end - opening.start
    raise AssertionError(amount)


def _openings_between(
    window: Window, holidays: Collection[date], start: datetime, end: datetime, tz: ZoneInfo
) -> Iterator[Opening]:
    """Yield the openings between two times between which the clock of *tz* does not change."""
    offset = _offset(start.astimezone(tz))
    day, last = (start + offset).date(), (end + offset).date()
    while day <= last:
        midnight = datetime.combine(day, time.min, UTC) - offset
        for opening_day, opens, closes in _window_spans(window, day, tz):
            if opening_day.weekday() in window.days and not (window.skip_holidays and opening_day in holidays):
                since, until = max(start, midnight + opens), min(end, midnight + closes)
                if since < until:
                    yield Opening(opening_day, since, until)
        day += _DAY


def _window_spans(window: Window, day: date, tz: ZoneInfo) -> list[tuple[date, timedelta, timedelta]]:
    """Return the parts of *day* inside the window: the day on which each opened, its start and its end."""
    opens, closes = _since_midnight(window.opens), _since_midnight(window.closes)
    if opens < closes:
        return [(day, opens, closes)]
    return [(_day_before(day, tz), timedelta(), closes), (day, opens, _DAY)]


def _since_midnight(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)


def add_delay(delay: Delay, zone: str, holidays: Collection[date], anchor: datetime) -> datetime:
    """Return when *delay*, counted from *anchor*, is over. Never earlier than *anchor*.

    Hours are absolute. Days are calendar days and keep the local hour, so a day may last 23 or 25 hours.
    Business days skip Saturdays, Sundays and *holidays*. With *at* the result may be earlier than the delay
    alone ("2 days, at 09:00" from Monday 15:00 is Wednesday 09:00); if it would be earlier than *anchor*, it is
    the next such weekday or local time. *on* and *at* do not skip holidays: the send window does.
    """
    if delay.hours:
        due = anchor + timedelta(hours=delay.hours)
    elif delay.days:
        due = _first_pass(_to_zone(anchor, _zone(zone)) + timedelta(days=delay.days))
    elif delay.business_days:
        wall = _to_zone(anchor, _zone(zone))
        due = _first_pass(wall + _business_span(wall, delay.business_days, holidays))
    else:
        due = anchor
    if delay.on is None and delay.at is None:
        return due
    return _apply_weekday_and_time(delay, _to_zone(due, _zone(zone)), due, anchor)


@lru_cache(maxsize=4096)
def start_of_day(day: date, zone: str) -> datetime:
    """Return the start of *day* in the local time of *zone*, in UTC; zone "" is UTC.

    If midnight does not exist, the day starts at the first valid minute after it; if it occurs twice, at its
    first occurrence.
    """
    return local_time(day, time.min, zone)


def local_time(day: date, clock: time, zone: str) -> datetime:
    """Return the time *clock* of *day* in *zone* ("": UTC), in UTC; see the module for clock changes."""
    return _first_pass(datetime.combine(day, clock.replace(fold=0), _zone(zone or "UTC")))


def to_local(at: datetime, zone: str) -> datetime:
    """Convert *at* to the local time of *zone*, for display only; do not compare or subtract it."""
    return _to_zone(at, _zone(zone))


def _require_naive(clock: time, name: str) -> None:
    if clock.tzinfo is not None:
        raise ValueError(f"{name} is in the lead's local time and takes no zone: {clock}")


@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a name, a folder such as "America"
        raise UnknownZone(f"unknown time zone {name!r}: write an IANA name such as Europe/Berlin") from None


def _to_zone(at: datetime, tz: ZoneInfo) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: pass an aware UTC datetime")
    return at.astimezone(tz)


def _offset(wall: datetime) -> timedelta:
    offset = wall.utcoffset()
    assert offset is not None  # aware by _to_zone
    return offset


def _tz(wall: datetime) -> ZoneInfo:
    assert isinstance(wall.tzinfo, ZoneInfo)  # by _to_zone
    return wall.tzinfo


def _is_open_on(window: Window, holidays: Collection[date], wall: datetime) -> bool:
    clock = wall.time()
    opens, closes = window.opens, window.closes
    if opens < closes:
        if not opens <= clock < closes:
            return False
        day = wall.date()
    elif clock >= opens:
        day = wall.date()
    elif clock < closes:
        day = _day_before(wall.date(), _tz(wall))
    else:
        return False
    return day.weekday() in window.days and not (window.skip_holidays and day in holidays)


def _next_opening_day(window: Window, holidays: Collection[date], wall: datetime, last: date) -> date:
    """Return the day of the first opening after *wall*, a closed time, on a clock that does not change."""
    day = wall.date() if wall.time() < window.opens else wall.date() + _DAY
    while day <= last:
        if day.weekday() in window.days and not (window.skip_holidays and day in holidays):
            return day
        day += _DAY
    raise NeverOpens(
        f"a send window on {_day_names(window.days)} from {window.opens:%H:%M} does not open until {last}: "
        "add a day that is not always a holiday, or set skip_holidays: no"
    )


def _day_names(days: frozenset[int]) -> str:
    return " ".join(_WEEKDAY_NAMES[day] for day in sorted(days)) or "no day"


def _first_change(tz: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """Return the first time after *start*, up to *end*, at which the clock of *tz* changes."""
    offset = start.astimezone(tz).utcoffset()
    while start < end:
        stop = min(end, start + _SCAN_STEP)
        if stop.astimezone(tz).utcoffset() != offset:
            return _change_between(tz, start, stop)
        start = stop
    return None


def _change_between(tz: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """Return the only clock change after *start* and up to *end*, to the second, by bisection."""
    offset = start.astimezone(tz).utcoffset()
    origin = start.replace(microsecond=0)  # clocks change on whole seconds
    before, changed = 0, (end - origin) // _SECOND
    while changed - before > 1:
        middle = (before + changed) // 2
        if (origin + timedelta(seconds=middle)).astimezone(tz).utcoffset() == offset:
            before = middle
        else:
            changed = middle
    return origin + timedelta(seconds=changed)


def _first_pass(wall: datetime) -> datetime:
    """Convert *wall* (aware, fold 0, possibly a time that does not exist) to UTC."""
    later = wall.replace(fold=1)
    if _offset(wall) >= _offset(later):
        return wall.astimezone(UTC)
    # In a gap, fold 0 uses the offset before the change and so lies after it; fold 1 lies before it.
    return _change_between(_tz(wall), later.astimezone(UTC), wall.astimezone(UTC))


def _apply_weekday_and_time(delay: Delay, wall: datetime, due: datetime, anchor: datetime) -> datetime:
    days_ahead = 0 if delay.on is None else (delay.on - wall.weekday()) % 7
    if delay.at is None:
        return _first_pass(wall + days_ahead * _DAY) if days_ahead else due
    clock = delay.at
    day = wall.date() + days_ahead * _DAY
    stride = _DAY if delay.on is None else 7 * _DAY
    while (found := _first_pass(datetime.combine(day, clock.replace(fold=0), wall.tzinfo))) < anchor:
        day += stride
    return found


def _business_span(wall: datetime, count: int, holidays: Collection[date]) -> timedelta:
    tz = _tz(wall)
    start = day = wall.date()
    while count:
        day += _DAY
        if day.weekday() < 5 and day not in holidays and not _is_missing(day, tz):
            count -= 1
    return day - start


@lru_cache(maxsize=4096)
def _day_before(day: date, tz: ZoneInfo) -> date:
    before = day - _DAY
    return before - _DAY if _is_missing(before, tz) else before


def _is_missing(day: date, tz: ZoneInfo) -> bool:
    """Return whether *zone* skipped the whole of *day*, as Samoa skipped 30 December 2011."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=tz)
    return _offset(noon.replace(fold=1)) - _offset(noon) >= _DAY
