"""Tell when a lead may be written to and when a delay is over, on the lead's own wall clock.

Moments come and go as aware UTC ``datetime``; the lead's zone is used only in here. When clocks change:

- a wall time that does not exist (the clock jumps over it) means the first valid minute after the gap;
- a wall time that occurs twice means its first pass;
- a send window is a stretch of the wall clock: when an hour repeats, so does its part of the window.

``holidays`` are local dates of the lead's country. ``zone`` is an IANA name.
"""

# Python compares and subtracts two wall times of one zone by what the clock shows, not by when it is. So wall
# times are only added to here, and everything is compared in UTC. zoneinfo and not pendulum, because a sweep
# asks for ten thousand leads a second.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from math import isfinite
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

Holidays = Callable[[str, datetime], Collection[date]]

"""The public holidays of a country (ISO code) around a moment, as local dates."""

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_MAX_SEARCH: Final = timedelta(days=370)
_WEEKDAYS: Final = frozenset(range(7))
_WEEKDAY_NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SCAN_STEP: Final = timedelta(days=7)  # no zone changes its clock to and fro within a week


class NeverOpens(ValueError):
    """Say that a send window has no opening in the next 370 days."""


class UnknownZone(ValueError):
    """Say that a time zone's name is not in the time zone database."""


@dataclass(frozen=True, slots=True)
class Window:
    """Say when a track may send, on the lead's wall clock.

    *closes* is exclusive; before *opens* it lies on the next day (22:00-06:00), equal to it means 24 hours.
    *days* (Monday is 0) and holidays are judged by the day on which the window opens: Friday's 22:00-06:00 is
    open on Saturday at 03:00.
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
    """Say how long to wait.

    At most one of *hours*, *days* and *business_days*. Then *on* (Monday is 0) moves to the first such
    weekday at or after, and *at* sets the wall time of that day.
    """

    hours: float = 0
    days: int = 0
    business_days: int = 0
    on: int | None = None
    at: time | None = None

    def __post_init__(self) -> None:
        lengths = (self.hours, self.days, self.business_days)
        if sum(map(bool, lengths)) > 1:
            raise ValueError(f"a delay has hours or days or business days, not several of them: {self}")
        if not all(isfinite(length) and length >= 0 for length in lengths):
            raise ValueError(f"a delay cannot be negative or endless: {self}")
        if self.on is not None and self.on not in _WEEKDAYS:
            raise ValueError(f"a delay's weekday is 0 (Monday) to 6 (Sunday), not {self.on}")
        if self.at is not None:
            _require_naive(self.at, "at")


class Opening(NamedTuple):
    """Say from when until when, exclusive, a window is open; *day* is the local day that it counts to."""

    day: date
    start: datetime
    end: datetime


def is_open(window: Window, zone: str, holidays: Collection[date], at: datetime) -> bool:
    """Tell whether *at* lies inside *window* on the wall clock of *zone*."""
    return _is_open_on(window, holidays, _to_zone(at, _zone(zone)))


def next_open(window: Window, zone: str, holidays: Collection[date], at: datetime) -> datetime:
    """Find the first moment at or after *at* inside *window*: *at* itself if it is open then.

    A window whose opening time falls into a gap opens at the first valid minute; one that lies wholly in the
    gap does not open that day. Raises NeverOpens if none of the next 370 days opens it.
    """
    tz = _zone(zone)
    wall = _to_zone(at, tz)
    if _is_open_on(window, holidays, wall):
        return at
    last = wall.date() + _MAX_SEARCH
    start = at
    while True:
        day = _next_opening_day(window, holidays, wall, last)
        # Right as long as the clock does not change before it; if it does, look again from the change on.
        opening = datetime.combine(day, window.opens, UTC) - _offset(wall)
        change = _first_change(tz, start, opening)
        if change is None:
            return opening
        wall = change.astimezone(tz)
        if _is_open_on(window, holidays, wall):
            return change
        start = change


def openings(window: Window, zone: str, holidays: Collection[date], at: datetime) -> Iterator[Opening]:
    """Yield when *window* is open from *at* on, in order; an opening that *at* lies in begins there.

    Where an hour repeats, so does its part of the window; if it was closed between, as two openings.
    Raises NeverOpens when 370 days pass without any.
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


def _openings_between(
    window: Window, holidays: Collection[date], start: datetime, end: datetime, tz: ZoneInfo
) -> Iterator[Opening]:
    """Yield openings between two moments between which the clock of *tz* does not change."""
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
    """Return the stretches of *day* that the window covers: the day each counts to, from and until when."""
    opens, closes = _since_midnight(window.opens), _since_midnight(window.closes)
    if opens < closes:
        return [(day, opens, closes)]
    return [(_day_before(day, tz), timedelta(), closes), (day, opens, _DAY)]


def _since_midnight(clock: time) -> timedelta:
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second, microseconds=clock.microsecond)


def add_delay(delay: Delay, zone: str, holidays: Collection[date], anchor: datetime) -> datetime:
    """Find the moment at which *delay*, counted from *anchor*, is over. Never earlier than *anchor*.

    Hours are absolute. Days are calendar days and keep the wall-clock hour, so one may last 23 or 25 hours.
    Business days leave out Saturdays, Sundays and *holidays*. With *at* the answer may be earlier than the
    bare delay ("2 days, at 09:00" from Monday 15:00 is Wednesday 09:00); if it would be earlier than *anchor*
    it is the next such weekday or wall time. *on* and *at* do not skip holidays: the send window does.
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
    """Find the first moment of *day* on the wall clock of *zone*; zone "" is UTC.

    If midnight is jumped over, the day starts at the first valid minute after it; if it occurs twice, at its
    first pass.
    """
    return _first_pass(datetime.combine(day, time.min, _zone(zone or "UTC")))


def to_local(at: datetime, zone: str) -> datetime:
    """Show *at* on the wall clock of *zone*: aware, for printing; do not compare or subtract it."""
    return _to_zone(at, _zone(zone))


def _require_naive(clock: time, name: str) -> None:
    if clock.tzinfo is not None:
        raise ValueError(f"{name} is a time on the lead's wall clock and has no zone of its own: {clock}")


@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a name, a folder such as "America"
        raise UnknownZone(f"time zone {name!r} is not known: write a name such as Europe/Berlin") from None


def _to_zone(at: datetime, tz: ZoneInfo) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: moments are aware UTC datetimes")
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
    """Find the day of the first opening after *wall*, a closed time, on a clock that does not change."""
    day = wall.date() if wall.time() < window.opens else wall.date() + _DAY
    while day <= last:
        if day.weekday() in window.days and not (window.skip_holidays and day in holidays):
            return day
        day += _DAY
    raise NeverOpens(
        f"a send window on {_day_names(window.days)} from {window.opens:%H:%M} does not open until {last}: "
        "give it a day that is not always a holiday, or skip_holidays: no"
    )


def _day_names(days: frozenset[int]) -> str:
    return " ".join(_WEEKDAY_NAMES[day] for day in sorted(days)) or "no day"


def _first_change(tz: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """Find the first moment after *start*, up to *end*, at which the clock of *tz* is put forward or back."""
    offset = start.astimezone(tz).utcoffset()
    while start < end:
        stop = min(end, start + _SCAN_STEP)
        if stop.astimezone(tz).utcoffset() != offset:
            return _change_between(tz, start, stop)
        start = stop
    return None


def _change_between(tz: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """Find the one clock change after *start* and up to *end*, to the second, by halving."""
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
    """Turn *wall* (aware, fold 0, perhaps not a valid time) into its moment."""
    later = wall.replace(fold=1)
    if _offset(wall) >= _offset(later):
        return wall.astimezone(UTC)
    # In a gap, fold 0 counts with the offset before the change and so lies behind it; fold 1 lies before it.
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
    """Tell whether the whole of *day* was left out, as Samoa left out 30 December 2011."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=tz)
    return _offset(noon.replace(fold=1)) - _offset(noon) >= _DAY
