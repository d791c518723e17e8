"""Clock changes of every zone, 2024-2029: an oracle that walks the minutes, and strategies near changes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import strategies as st

from nurture.domain.planning.calendar import Delay, Window

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2029, 12, 31, tzinfo=UTC)
ZONES = sorted(available_timezones())
ALL_DAYS = frozenset(range(7))
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
BERLIN = "Europe/Berlin"
Place = tuple[str, datetime]  # a zone and a time
Extra = st.DataObject


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def wall(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M}"


# The oracle: walk the minutes, and check each by naive arithmetic on its local time.


def open_by_definition(window: Window, zone: str, holidays: Collection[date], at: datetime) -> bool:
    shown = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for day in (shown.date() - DAY, shown.date()):
        start = datetime.combine(day, window.opens)
        end = datetime.combine(day, window.closes)
        if end <= start:
            end += DAY
        shut = day.weekday() not in window.days or (window.skip_holidays and day in holidays)
        if start <= shown < end and not shut:
            return True
    return False


def next_open_by_walking(
    window: Window, zone: str, holidays: Collection[date], at: datetime, step: timedelta
) -> datetime:
    if open_by_definition(window, zone, holidays, at):
        return at
    at += step - (at - FIRST) % step
    while not open_by_definition(window, zone, holidays, at):
        at += step
    return at


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Return the clock changes of *zone*, 2024-2029, to the minute."""
    tz, found, start = ZoneInfo(zone), [], FIRST
    while start < LAST:
        offset = start.astimezone(tz).utcoffset()
        if (start + DAY).astimezone(tz).utcoffset() != offset:
            low, high = 0, 1440
            while high - low > 1:
                middle = (low + high) // 2
                same = (start + middle * MINUTE).astimezone(tz).utcoffset() == offset
                low, high = (middle, high) if same else (low, middle)
            found.append(start + high * MINUTE)
        start += DAY
    return tuple(found)


@cache
def changing_zones() -> list[str]:
    """Return one zone for each distinct set of clock changes."""
    probes = [utc(2024, month, 15) for month in range(1, 13)]
    seen: dict[object, str] = {}
    for zone in ZONES:
        offsets = tuple(probe.astimezone(ZoneInfo(zone)).utcoffset() for probe in probes)
        if len(set(offsets)) > 1:
            seen.setdefault((offsets, changes(zone)), zone)
    return sorted(seen.values())


zones = st.deferred(lambda: st.one_of(st.sampled_from(ZONES), st.sampled_from(changing_zones())))


@st.composite
def places(draw: st.DrawFn) -> Place:
    """Draw a zone and a time, mostly within hours of a clock change."""
    zone = draw(zones)
    far: bool = draw(st.sampled_from([False, False, False, True]))
    if not far and (near := changes(zone)):
        seconds = draw(st.one_of(st.integers(-30, 30).map(lambda n: n * 360), st.integers(-200_000, 100_000)))
        return zone, draw(st.sampled_from(near)) + timedelta(0, seconds, draw(st.integers(0, 1)))
    at = draw(st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)))
    return zone, at.replace(tzinfo=UTC)


def clocks(step: int) -> st.SearchStrategy[time]:
    """Draw times of day on a grid of *step* minutes, mostly at night, when clocks change."""
    spans = ((0, 300), (0, 1439), (1320, 1439))
    slots = st.one_of(*(st.integers(start // step, end // step) for start, end in spans))
    return slots.map(lambda slot: time(slot * step // 60, slot * step % 60))


@st.composite
def windows(draw: st.DrawFn, step: int = 5) -> Window:
    some = st.frozensets(st.integers(0, 6), min_size=1)
    days = draw(st.sampled_from([ALL_DAYS, Window().days]) | some)
    return Window(days, draw(clocks(step)), draw(clocks(step)), draw(st.booleans()))


@st.composite
def holidays_near(draw: st.DrawFn, at: datetime) -> frozenset[date]:
    return frozenset(at.date() + n * DAY for n in draw(st.sets(st.integers(-2, 9), max_size=4)))


@st.composite
def delays(draw: st.DrawFn) -> Delay:
    on, at = draw(st.none() | st.integers(0, 6)), draw(st.none() | clocks(1))
    match draw(st.sampled_from(["hours", "days", "business_days"])):
        case "hours":
            return Delay(hours=draw(st.integers(0, 400)) / 4, on=on, at=at)
        case "days":
            return Delay(days=draw(st.integers(0, 40)), on=on, at=at)
        case _:
            return Delay(business_days=draw(st.integers(0, 20)), on=on, at=at)
