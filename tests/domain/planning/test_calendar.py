"""Send windows and delays in the lead's local time, by example. The laws are in test_calendar_laws."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from nurture.domain.planning.calendar import (
    Delay,
    NeverOpens,
    UnknownZone,
    Window,
    add_delay,
    is_open,
    next_open,
    start_of_day,
    to_local,
)
from tests.domain.planning.wall_clocks import ALL_DAYS, BERLIN, DAY, FIRST, FRI, HOUR, MINUTE, SUN, THU, TUE, utc, wall


class TestSendWindow:
    def test_is_open_from_its_first_minute_and_closed_at_its_last(self) -> None:
        monday = utc(2026, 1, 12)
        assert not is_open(Window(), BERLIN, (), monday + timedelta(hours=7, minutes=59, seconds=59))
        assert is_open(Window(), BERLIN, (), monday + 8 * HOUR)
        assert is_open(Window(), BERLIN, (), monday + timedelta(hours=15, minutes=59, seconds=59))
        assert not is_open(Window(), BERLIN, (), monday + 16 * HOUR)

    def test_friday_evening_waits_for_monday_morning(self) -> None:
        assert next_open(Window(), BERLIN, (), utc(2026, 1, 16, 17)) == utc(2026, 1, 19, 8)

    def test_a_weekend_with_a_clock_change_still_ends_on_monday_at_nine(self) -> None:
        assert wall(next_open(Window(), BERLIN, (), utc(2026, 3, 27, 20)), BERLIN) == "Mon 2026-03-30 09:00"

    def test_a_holiday_is_skipped_unless_the_track_says_otherwise(self) -> None:
        new_year = {date(2026, 1, 1)}
        assert next_open(Window(), BERLIN, new_year, utc(2025, 12, 31, 20)) == utc(2026, 1, 2, 8)
        careless = Window(skip_holidays=False)
        assert next_open(careless, BERLIN, new_year, utc(2025, 12, 31, 20)) == utc(2026, 1, 1, 8)

    def test_an_overnight_window_belongs_to_the_day_on_which_it_opens(self) -> None:
        night = Window(days=frozenset({FRI}), opens=time(22), closes=time(6))
        assert is_open(night, "Etc/UTC", (), utc(2026, 1, 17, 3))  # Saturday
        assert not is_open(night, "Etc/UTC", (), utc(2026, 1, 16, 3))  # Friday
        assert not is_open(night, "Etc/UTC", {date(2026, 1, 16)}, utc(2026, 1, 17, 3))
        assert is_open(night, "Etc/UTC", {date(2026, 1, 17)}, utc(2026, 1, 17, 3))
        assert next_open(night, "Etc/UTC", (), utc(2026, 1, 17, 6)) == utc(2026, 1, 23, 22)

    def test_equal_times_mean_the_whole_24_hours(self) -> None:
        tuesday = Window(days=frozenset({TUE}), opens=time(9), closes=time(9))
        assert is_open(tuesday, "Etc/UTC", (), utc(2026, 1, 14, 8, 59))
        assert not is_open(tuesday, "Etc/UTC", (), utc(2026, 1, 14, 9))
        whole_day = Window(days=frozenset({TUE}), opens=time(0), closes=time(0))
        assert next_open(whole_day, "Etc/UTC", (), utc(2026, 1, 14)) == utc(2026, 1, 20)

    def test_an_opening_time_in_a_gap_opens_at_the_first_valid_minute(self) -> None:
        window = Window(ALL_DAYS, time(2, 30), time(5))
        assert next_open(window, BERLIN, (), utc(2026, 3, 29)) == utc(2026, 3, 29, 1)

    def test_a_window_that_lies_in_a_gap_does_not_open_that_day(self) -> None:
        window = Window(ALL_DAYS, time(2, 15), time(2, 45))
        assert wall(next_open(window, BERLIN, (), utc(2026, 3, 29)), BERLIN) == "Mon 2026-03-30 02:15"

    def test_a_repeated_hour_opens_at_its_first_occurrence_and_repeats_its_window(self) -> None:
        window = Window(ALL_DAYS, time(2, 15), time(2, 45))
        first, second = utc(2026, 10, 25, 0, 15), utc(2026, 10, 25, 1, 15)
        assert next_open(window, BERLIN, (), utc(2026, 10, 24, 22)) == first
        assert not is_open(window, BERLIN, (), first + 30 * MINUTE)
        assert next_open(window, BERLIN, (), first + 30 * MINUTE) == second

    def test_clocks_put_back_into_a_window_open_it_at_that_time(self) -> None:
        window = Window(ALL_DAYS, time(0, 30), time(2, 30))
        asked = utc(2026, 10, 25, 0, 40) + timedelta(microseconds=1)
        assert next_open(window, BERLIN, (), asked) == utc(2026, 10, 25, 1)

    def test_a_repeated_hour_is_not_skipped_for_a_day_next_summer(self) -> None:
        window = Window(ALL_DAYS, time(0, 30), time(2, 30))
        closed = {date(2026, 10, 26) + n * DAY for n in range(270)}
        assert next_open(window, BERLIN, closed, utc(2026, 10, 25, 0, 40)) == utc(2026, 10, 25, 1)

    @pytest.mark.parametrize(
        ("zone", "evening", "opened"),
        [
            ("America/Sao_Paulo", utc(2018, 11, 4, 2, 30), "Sun 2018-11-04 01:00"),
            ("Africa/Cairo", utc(2026, 4, 23, 21, 30), "Fri 2026-04-24 01:00"),
            ("Asia/Beirut", utc(2026, 3, 28, 21, 30), "Sun 2026-03-29 01:00"),
            ("America/Havana", utc(2026, 3, 8, 4, 30), "Sun 2026-03-08 01:00"),
            ("America/Asuncion", utc(2023, 10, 1, 3, 30), "Sun 2023-10-01 01:00"),
        ],
    )
    def test_a_window_from_midnight_opens_at_one_where_midnight_is_skipped(
        self, zone: str, evening: datetime, opened: str
    ) -> None:
        days = frozenset({to_local(evening + 2 * HOUR, zone).weekday()})
        assert wall(next_open(Window(days, time(0), time(8)), zone, (), evening), zone) == opened

    def test_half_hour_clock_changes_are_exact(self) -> None:
        window = Window(ALL_DAYS, time(2, 10), time(3))
        spring = next_open(window, "Australia/Lord_Howe", (), utc(2026, 10, 3, 15))
        assert wall(spring, "Australia/Lord_Howe") == "Sun 2026-10-04 02:30"

    def test_the_day_that_samoa_skipped_neither_opens_nor_breaks_a_night(self) -> None:
        apia, thursday_noon = "Pacific/Apia", utc(2011, 12, 29, 22)
        friday = Window(frozenset({FRI}))
        assert wall(next_open(friday, apia, (), thursday_noon), apia) == "Fri 2012-01-06 09:00"
        night = Window(frozenset({THU}), time(22), time(6))
        saturday_at_three = utc(2011, 12, 30, 13)
        assert wall(saturday_at_three, apia) == "Sat 2011-12-31 03:00"
        assert is_open(night, apia, (), saturday_at_three)
        assert not is_open(Window(frozenset({FRI}), time(22), time(6)), apia, (), saturday_at_three)

    def test_a_yearly_opening_is_found_across_all_clock_changes_between(self) -> None:
        closed = {date(2026, 1, 1) + n * DAY for n in range(365)}
        assert next_open(Window(), BERLIN, closed, utc(2026, 1, 1)) == utc(2027, 1, 1, 8)

    def test_a_window_that_never_opens_says_so(self) -> None:
        with pytest.raises(NeverOpens, match="no day"):
            next_open(Window(days=frozenset()), BERLIN, (), FIRST)
        sundays = {date(2024, 1, 7) + n * 7 * DAY for n in range(60)}
        with pytest.raises(NeverOpens, match="sun from 09:00 does not open until 2025-01-05"):
            next_open(Window(frozenset({SUN})), "Etc/UTC", sundays, FIRST)

    def test_invalid_values_are_rejected(self) -> None:
        with pytest.raises(ValueError, match="not \\[7\\]"):
            Window(days=frozenset({7}))
        with pytest.raises(ValueError, match="takes no zone"):
            Window(opens=time(9, tzinfo=UTC))
        with pytest.raises(ValueError, match="aware UTC"):
            is_open(Window(), BERLIN, (), datetime(2026, 1, 1))
        for name in ("Europe/Berlln", "America", "../etc", ""):
            with pytest.raises(UnknownZone, match="Europe/Berlin"):
                is_open(Window(), name, (), FIRST)


class TestDelay:
    def test_an_empty_delay_is_the_anchor_even_in_a_repeated_hour(self) -> None:
        second_pass = utc(2026, 10, 25, 1, 30)
        for nothing in (Delay(), Delay(on=SUN)):
            assert add_delay(nothing, BERLIN, (), second_pass) == second_pass

    def test_a_day_may_last_23_or_25_hours(self) -> None:
        saturday = utc(2026, 3, 28, 9)
        assert add_delay(Delay(days=1), BERLIN, (), saturday) - saturday == 23 * HOUR
        saturday = utc(2026, 10, 24, 8)
        assert add_delay(Delay(days=1), BERLIN, (), saturday) - saturday == 25 * HOUR
        assert add_delay(Delay(hours=24), BERLIN, (), saturday) - saturday == 24 * HOUR

    def test_a_day_that_ends_in_a_gap_ends_at_the_first_valid_minute(self) -> None:
        assert add_delay(Delay(days=1), BERLIN, (), utc(2026, 3, 28, 1, 30)) == utc(2026, 3, 29, 1)

    def test_a_day_that_ends_in_a_repeated_hour_ends_in_its_first_occurrence(self) -> None:
        assert add_delay(Delay(days=1), BERLIN, (), utc(2026, 10, 24, 0, 30)) == utc(2026, 10, 25, 0, 30)

    def test_a_local_time_in_a_repeated_hour_is_its_first_occurrence(self) -> None:
        for clock in (time(2, 30), time(2, 30, fold=1)):
            due = add_delay(Delay(on=SUN, at=clock), BERLIN, (), utc(2026, 10, 24, 12))
            assert due == utc(2026, 10, 25, 0, 30)

    def test_business_days_leave_out_weekends_and_holidays(self) -> None:
        thursday, good_friday, easter_monday = utc(2026, 4, 2, 10), date(2026, 4, 3), date(2026, 4, 6)
        due = add_delay(Delay(business_days=2), BERLIN, {good_friday, easter_monday}, thursday)
        assert wall(due, BERLIN) == "Wed 2026-04-08 12:00"

    def test_two_days_at_nine_is_nine_on_the_second_day(self) -> None:
        assert add_delay(Delay(days=2, at=time(9)), "Etc/UTC", (), utc(2026, 1, 12, 15)) == utc(2026, 1, 14, 9)

    def test_a_time_that_has_passed_today_is_meant_for_tomorrow(self) -> None:
        assert add_delay(Delay(at=time(9)), "Etc/UTC", (), utc(2026, 1, 12, 15)) == utc(2026, 1, 13, 9)
        assert add_delay(Delay(at=time(9)), "Etc/UTC", (), utc(2026, 1, 12, 9)) == utc(2026, 1, 12, 9)

    def test_on_tuesday_is_the_same_day_or_the_next_such_day(self) -> None:
        tuesday = utc(2026, 1, 13, 15)
        assert add_delay(Delay(on=TUE), "Etc/UTC", (), tuesday) == tuesday
        assert add_delay(Delay(on=TUE), "Etc/UTC", (), tuesday + DAY) == tuesday + 7 * DAY
        assert add_delay(Delay(on=TUE, at=time(9)), "Etc/UTC", (), tuesday) == utc(2026, 1, 20, 9)
        assert add_delay(Delay(days=3, on=TUE, at=time(9)), "Etc/UTC", (), tuesday) == utc(2026, 1, 20, 9)

    def test_midnight_on_a_day_without_midnight_is_one_o_clock(self) -> None:
        due = add_delay(Delay(on=FRI, at=time(0)), "Africa/Cairo", (), utc(2026, 4, 22, 12))
        assert wall(due, "Africa/Cairo") == "Fri 2026-04-24 01:00"

    def test_the_day_that_samoa_skipped_is_no_business_day(self) -> None:
        apia, thursday_noon = "Pacific/Apia", utc(2011, 12, 29, 22)
        assert wall(add_delay(Delay(business_days=1), apia, (), thursday_noon), apia) == "Mon 2012-01-02 12:00"
        assert wall(add_delay(Delay(days=1), apia, (), thursday_noon), apia) == "Sat 2011-12-31 00:00"
        assert wall(add_delay(Delay(days=2), apia, (), thursday_noon), apia) == "Sat 2011-12-31 12:00"

    @pytest.mark.parametrize(
        "nonsense",
        [{"hours": 1, "days": 1}, {"days": -1}, {"hours": float("nan")}, {"on": 7}, {"at": time(9, tzinfo=UTC)}],
    )
    def test_invalid_values_are_rejected(self, nonsense: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"delay|local time"):
            Delay(**nonsense)  # type: ignore[arg-type]


def test_local_shows_the_wall_clock_of_the_zone() -> None:
    assert to_local(utc(2026, 7, 1, 12), "Asia/Kathmandu").isoformat() == "2026-07-01T17:45:00+05:45"


@pytest.mark.parametrize(
    ("day", "zone", "first"),
    [
        (date(2026, 3, 29), "Europe/Berlin", utc(2026, 3, 28, 23)),
        (date(2026, 3, 30), "Europe/Berlin", utc(2026, 3, 29, 22)),
        (date(2024, 4, 26), "Africa/Cairo", utc(2024, 4, 25, 22)),  # midnight is jumped over: 01:00
        (date(2024, 11, 3), "America/Havana", utc(2024, 11, 3, 4)),  # midnight occurs twice: the first
        (date(2026, 1, 1), "", utc(2026, 1, 1)),
    ],
)
def test_a_local_day_starts_at_its_first_valid_time(day: date, zone: str, first: datetime) -> None:
    assert start_of_day(day, zone) == first
    assert (first - timedelta(microseconds=1)).astimezone(ZoneInfo(zone or "UTC")).date() < day
