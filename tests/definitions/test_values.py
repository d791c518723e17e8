from __future__ import annotations

import contextlib
from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.definitions import values
from nurture.definitions.schema_check import InvalidValue
from nurture.domain.planning.calendar import Delay


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("4 hours", Delay(hours=4)),
        ("1.5 hours", Delay(hours=1.5)),
        ("1 day", Delay(days=1)),
        ("3 Days", Delay(days=3)),
        ("2 business days", Delay(business_days=2)),
        ("2 weeks", Delay(days=14)),
        ("1 month", Delay(days=30)),
        ("on tuesday", Delay(on=1)),
        ("on tue at 9:30", Delay(on=1, at=time(9, 30))),
        ("1 week on tuesday at 10:00", Delay(days=7, on=1, at=time(10))),
        ("2 business days at 09:00", Delay(business_days=2, at=time(9))),
        ("at once", Delay()),
        ("0 days", Delay()),
        ("400 days", Delay(days=400)),
    ],
)
def test_a_delay_is_read_as_people_write_it(text: str, delay: Delay) -> None:
    assert values.read_delay(text) == delay


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not a delay"),
        ("3", "not a delay"),
        (3, "not a delay"),
        (None, "not a delay"),
        ("-3 days", "not a delay"),
        ("3 days 4 hours", "not a delay"),
        ("1.5 days", "not a whole number of days"),
        ("401 days", "over 400 days"),
        ("9999999999 hours", "over 400 days"),
        ("300 business days", "over 400 days"),
        ("14 months", "over 400 days"),
        ("on someday", "not a day of the week"),
        ("on m", "not a day of the week"),
        ("1 day at 25:00", "not a time of day"),
    ],
)
def test_an_invalid_delay_is_reported(text: object, what: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        values.read_delay(text)
    assert what in caught.value.message
    assert caught.value.suggestion


def test_a_duration_is_in_hours_days_weeks_or_months_of_thirty_days() -> None:
    read = {text: values.read_span(text) for text in ("36 hours", "3 days", "2 weeks", "2 months")}
    assert read == {
        "36 hours": timedelta(hours=36),
        "3 days": timedelta(days=3),
        "2 weeks": timedelta(days=14),
        "2 months": timedelta(days=60),
    }


@pytest.mark.parametrize("text", ["", "3", "2 business days", "99999 days", "1e5 days", True])
def test_an_invalid_span_is_rejected(text: object) -> None:
    with pytest.raises(InvalidValue):
        values.read_span(text)


def test_a_window_may_cross_midnight() -> None:
    assert values.read_between("22:00-06:00") == (time(22), time(6))
    assert values.read_between("9:00 to 17:00") == (time(9), time(17))


@pytest.mark.parametrize("text", ["9-17", "09:00", "09:00-24:00", "09:60-10:00", "", "a:b-c:d"])
def test_a_range_of_times_needs_two_times_of_day(text: str) -> None:
    with pytest.raises(InvalidValue):
        values.read_between(text)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "UTC"])
def test_a_zone_that_exists_is_kept(zone: str) -> None:
    assert values.read_zone(zone) == zone


@pytest.mark.parametrize("zone", ["", "Europe", "../etc/passwd", "Berlin", "a\0b", "Mars/Olympus"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidValue):
        values.read_zone(zone)


def test_a_misspelled_zone_names_the_nearest() -> None:
    with pytest.raises(InvalidValue) as caught:
        values.read_zone("Europe/Berlim")
    assert caught.value.suggestion == "Did you mean `Europe/Berlin`?"


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.dates(), st.lists(st.text())))
def test_whatever_is_written_is_either_read_or_refused(given_: object) -> None:
    readers = (
        values.read_delay, values.read_span, values.read_between, values.read_days, values.read_date,
        values.read_address, values.read_name, values.read_zone,
    )  # fmt: skip
    for read in readers:
        with contextlib.suppress(InvalidValue):
            read(given_)
