"""Laws of send windows and delays, in every zone, across every clock change of 2024-2029."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pendulum
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import Delay, Window, add_delay, is_open, next_open
from tests.domain.planning.wall_clocks import (
    ALL_DAYS,
    DAY,
    HOUR,
    MINUTE,
    Extra,
    Place,
    changes,
    changing_zones,
    clocks,
    delays,
    holidays_near,
    next_open_by_walking,
    open_by_definition,
    places,
    windows,
)


class TestNextOpenLaws:
    @settings(max_examples=250, deadline=None)
    @given(place=places(), window=windows(step=15), extra=st.data())
    def test_agrees_with_a_walk_in_every_zone(self, place: Place, window: Window, extra: Extra) -> None:
        zone, at = place
        closed = extra.draw(holidays_near(at))
        # Window edges and the offsets of these years are multiples of 15 minutes: a step misses nothing.
        expected = next_open_by_walking(window, zone, closed, at, 15 * MINUTE)
        assert next_open(window, zone, closed, at) == expected

    @settings(max_examples=150, deadline=None)
    @given(place=places(), opens=clocks(1), closes=clocks(1))
    def test_agrees_with_a_walk_minute_by_minute(self, place: Place, opens: time, closes: time) -> None:
        zone, at = place
        window = Window(ALL_DAYS, opens, closes)
        assert next_open(window, zone, (), at) == next_open_by_walking(window, zone, (), at, MINUTE)

    @settings(max_examples=250, deadline=None)
    @given(place=places(), window=windows(), extra=st.data())
    def test_is_open_not_early_and_stable(self, place: Place, window: Window, extra: Extra) -> None:
        zone, at = place
        closed = extra.draw(holidays_near(at))
        found = next_open(window, zone, closed, at)
        assert found >= at
        assert is_open(window, zone, closed, found)
        assert open_by_definition(window, zone, closed, found)
        assert next_open(window, zone, closed, found) == found
        assert (found == at) == is_open(window, zone, closed, at)

    @settings(max_examples=300, deadline=None)
    @given(place=places(), window=windows(), wait=st.integers(0, 3 * 86_400))
    def test_never_goes_back_when_asked_later(self, place: Place, window: Window, wait: int) -> None:
        zone, at = place
        later = at + timedelta(seconds=wait)
        assert next_open(window, zone, (), at) <= next_open(window, zone, (), later)

    @settings(max_examples=250, deadline=None)
    @given(place=places(), window=windows(step=1), extra=st.data())
    def test_is_open_follows_local_time(self, place: Place, window: Window, extra: Extra) -> None:
        zone, at = place
        closed = extra.draw(holidays_near(at))
        assert is_open(window, zone, closed, at) == open_by_definition(window, zone, closed, at)

    def test_nothing_open_is_skipped_around_any_clock_change_of_any_zone(self) -> None:
        nights = [Window(ALL_DAYS, time(hour), time(hour + 1)) for hour in (0, 1, 2, 3)]
        nights += [Window(ALL_DAYS, time(0, 15), time(0, 45)), Window(ALL_DAYS, time(22), time(0, 30))]
        asked = [
            (zone, change - HOUR, night) for zone in changing_zones() for change in changes(zone) for night in nights
        ]
        assert len(asked) > 2_000
        for zone, at, night in asked:
            expected = next_open_by_walking(night, zone, (), at, 15 * MINUTE)
            assert next_open(night, zone, (), at) == expected, (zone, at, night)


class TestAfterLaws:
    @settings(max_examples=300, deadline=None)
    @given(place=places(), delay=delays(), extra=st.data())
    def test_is_never_before_its_anchor_and_plain_utc(self, place: Place, delay: Delay, extra: Extra) -> None:
        zone, anchor = place
        due = add_delay(delay, zone, extra.draw(holidays_near(anchor)), anchor)
        assert due >= anchor
        assert type(due) is datetime
        assert due.tzinfo is UTC
        assert pickle.loads(pickle.dumps(due)) == due

    @settings(max_examples=150, deadline=None)
    @given(place=places(), hours=st.integers(0, 5_000))
    def test_hours_are_absolute(self, place: Place, hours: int) -> None:
        zone, anchor = place
        assert add_delay(Delay(hours=hours / 2), zone, (), anchor) == anchor + hours * 30 * MINUTE

    @settings(max_examples=300, deadline=None)
    @given(place=places(), days=st.integers(1, 200))
    def test_days_keep_the_local_hour_unless_it_does_not_exist(self, place: Place, days: int) -> None:
        zone, anchor = place
        wanted = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(days=days)
        due = add_delay(Delay(days=days), zone, (), anchor)
        shown = due.astimezone(ZoneInfo(zone))
        if shown.replace(tzinfo=None) == wanted:
            assert shown.fold == 0
        else:
            assert wanted < shown.replace(tzinfo=None)
            before = (due - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
            assert before.replace(tzinfo=None) < wanted  # the clock jumped over it at this time

    @settings(max_examples=200, deadline=None)
    @given(place=places(), days=st.integers(1, 60))
    def test_days_agree_with_pendulum_where_the_hour_exists_once(self, place: Place, days: int) -> None:
        zone, anchor = place
        here = anchor.astimezone(ZoneInfo(zone))
        wanted = (here + timedelta(days=days)).replace(fold=0)
        assume(wanted.utcoffset() == wanted.replace(fold=1).utcoffset())
        there = pendulum.instance(here).add(days=days)
        assert add_delay(Delay(days=days), zone, (), anchor).timestamp() == there.timestamp()

    @settings(max_examples=200, deadline=None)
    @given(place=places(), count=st.integers(1, 15), extra=st.data())
    def test_business_days_agree_with_crossing_them_off_a_calendar(
        self, place: Place, count: int, extra: Extra
    ) -> None:
        zone, anchor = place
        start = anchor.astimezone(ZoneInfo(zone)).date()
        closed = extra.draw(holidays_near(anchor))
        ahead = (start + n * DAY for n in range(1, 60))
        expected = [day for day in ahead if day.isoweekday() <= 5 and day not in closed][count - 1]
        same = Delay(days=(expected - start).days)
        assert add_delay(Delay(business_days=count), zone, closed, anchor) == add_delay(same, zone, (), anchor)

    @settings(max_examples=250, deadline=None)
    @given(place=places(), days=st.integers(0, 10), on=st.none() | st.integers(0, 6), at=clocks(1))
    def test_weekday_and_time_agree_with_trying_the_days_one_by_one(
        self, place: Place, days: int, on: int | None, at: time
    ) -> None:
        zone, anchor = place
        tz = ZoneInfo(zone)
        due = add_delay(Delay(days=days, on=on, at=at), zone, (), anchor)
        day = add_delay(Delay(days=days), zone, (), anchor).astimezone(tz).date()
        while True:
            aimed = datetime.combine(day, at, tz)
            assume(aimed.utcoffset() == aimed.replace(fold=1).utcoffset())  # else see test_calendar
            if on in (None, day.weekday()) and aimed.astimezone(UTC) >= anchor:
                break
            day += DAY
        assert due == aimed.astimezone(UTC)
