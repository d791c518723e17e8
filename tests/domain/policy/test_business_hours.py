"""Working time: laws, published vectors, clock changes; and the ladder that stands in it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import NeverOpens, Window, is_open
from nurture.domain.policy.business_hours import (
    Agreement,
    Ladder,
    Level,
    Step,
    Unit,
    Within,
    Working,
    add,
    between,
    business_day,
    climb,
    day_opens,
    rungs,
)

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
WEEK: Final = frozenset({0, 1, 2, 3, 4})
DESK: Final = Working(Window(WEEK, time(10), time(18)))
ALWAYS: Final = Working(Window(frozenset(range(7)), time(0), time(0), skip_holidays=False))
NEVER: Final = Working(Window(frozenset()))
BERLIN: Final = "Europe/Berlin"

_clocks = st.times(max_value=time(23, 59)).map(lambda one: one.replace(second=0, microsecond=0))
_workings = st.builds(
    Working,
    st.builds(
        Window,
        st.frozensets(st.integers(0, 6), min_size=1),
        _clocks,
        _clocks,
        skip_holidays=st.booleans(),
    ),
    st.sampled_from([BERLIN, "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    st.frozensets(st.dates(date(2011, 12, 20), date(2012, 1, 10)), max_size=6),
)
_CHANGES: Final = (  # around clock changes, and the day that Samoa left out
    datetime(2011, 12, 29, tzinfo=UTC),
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
)


def _minutes(count: int) -> st.SearchStrategy[list[datetime]]:
    """Return *count* moments around one clock change, in order."""
    minutes = st.lists(st.integers(-3_000, 8_000), min_size=count, max_size=count).map(sorted)
    return st.builds(
        lambda day, offsets: [day + minute * MINUTE for minute in offsets], st.sampled_from(_CHANGES), minutes
    )


_moments = _minutes(1).map(lambda moments: moments[0])
_lengths = st.integers(0, 3_000).map(lambda minutes: minutes * MINUTE)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment of June 2026, which begins on a Monday; UTC."""
    return datetime(2026, 6, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until"), [(at(3, 15), at(4, 17)), (at(3, 20), at(5, 12))], ids=["in hours", "in the evening"]
)
def test_ten_hours_of_a_desk_from_ten_to_six(since: datetime, until: datetime) -> None:
    assert add(DESK, since, 10 * HOUR) == until
    assert between(DESK, since, until) == 10 * HOUR


@settings(max_examples=60, deadline=None)
@given(_workings, _moments, _lengths, _lengths)
def test_working_time_adds_up(working: Working, start: datetime, first: timedelta, then: timedelta) -> None:
    middle = add(working, start, first)
    end = add(working, middle, then)
    assert end == add(working, start, first + then)
    assert between(working, start, middle) == first
    assert between(working, start, end) == first + then


@settings(max_examples=60, deadline=None)
@given(_workings, _minutes(3))
def test_from_a_to_b_and_from_b_to_c_is_from_a_to_c(working: Working, moments: list[datetime]) -> None:
    first, middle, last = moments
    whole = between(working, first, last)
    assert between(working, first, middle) + between(working, middle, last) == whole
    assert timedelta() <= whole <= last - first


@settings(max_examples=25, deadline=None)
@given(_workings, _moments)
def test_a_minute_counts_exactly_when_the_window_is_open(working: Working, start: datetime) -> None:
    minutes = [start + number * MINUTE for number in range(0, 4_000, 7)]
    for minute in minutes:
        worked = between(working, minute, minute + MINUTE)
        assert worked == is_open(working.window, working.zone, working.off, minute) * MINUTE


def test_working_time_is_the_same_length_over_a_clock_change() -> None:
    desk = Working(Window(WEEK, time(9), time(17)), BERLIN)
    friday = datetime(2026, 3, 27, 15, tzinfo=UTC)  # 16:00 in winter
    assert add(desk, friday, 2 * HOUR) == datetime(2026, 3, 30, 8, tzinfo=UTC)  # 10:00 in summer


def test_an_hour_that_repeats_is_worked_twice_and_one_that_is_left_out_never() -> None:
    night = Working(Window(frozenset(range(7)), time(0), time(6)), BERLIN)
    for day, hours in ((date(2026, 10, 25), 7), (date(2026, 3, 29), 5), (date(2026, 6, 7), 6)):
        noon = datetime.combine(day, time(12), UTC)
        assert between(night, noon - DAY, noon) == hours * HOUR


def test_holidays_and_days_off_are_not_worked() -> None:
    desk = Working(DESK.window, off=frozenset({date(2026, 6, 4)}))
    assert add(desk, at(3, 15), 10 * HOUR) == at(5, 17)
    assert between(desk, at(3, 18), at(5, 10)) == timedelta()


def test_where_nobody_ever_works_time_passes_as_on_the_wall() -> None:
    assert add(NEVER, at(1, 12), 3 * HOUR) == at(1, 15)
    assert between(NEVER, at(1, 12), at(9, 12)) == timedelta()
    assert day_opens(NEVER, at(1, 12)) == at(2, 12)
    with pytest.raises(NeverOpens):
        business_day(NEVER, at(1, 12))


def test_round_the_clock_is_wall_time_and_its_days_are_calendar_days() -> None:
    assert add(ALWAYS, at(5, 20), 30 * HOUR) == at(7, 2)
    assert business_day(ALWAYS, at(6, 15)) == (date(2026, 6, 6), at(6, 0), at(7, 0))
    assert day_opens(ALWAYS, at(6, 15)) == at(7, 0)


@pytest.mark.parametrize("moment", [at(5, 18), at(6, 12), at(7, 23), at(8, 9), at(8, 17, 59)])
def test_what_comes_in_after_friday_s_close_counts_to_monday(moment: datetime) -> None:
    assert business_day(DESK, moment) == (date(2026, 6, 8), at(5, 18), at(8, 18))
    assert day_opens(DESK, moment) == at(9, 10)
    assert day_opens(DESK, moment, 4) == at(12, 10)


def test_a_day_begins_where_the_one_before_long_holidays_ended() -> None:
    off = frozenset(date(2026, 6, 1) + number * DAY for number in range(1, 18))
    assert business_day(Working(DESK.window, off=off), at(10, 12)) == (
        date(2026, 6, 19),
        at(1, 18),
        at(19, 18),
    )


@settings(max_examples=40, deadline=None)
@given(_workings, _minutes(4))
def test_every_moment_lies_in_one_business_day_and_they_follow_each_other(
    working: Working, moments: list[datetime]
) -> None:
    days = [business_day(working, moment) for moment in moments]
    assert all(day.began <= moment < day.ends for day, moment in zip(days, moments, strict=True))
    for one, after in pairwise(days):
        assert after == one or one.ends <= after.began


@pytest.mark.parametrize(
    ("within", "told", "due"),
    [
        (Within(2), "2 business hours", at(4, 10) + 1 * HOUR),
        (Within(1, Unit.BUSINESS_DAYS), "1 business day", at(4, 17)),
        (Within(6, Unit.WALL), "6 hours", at(3, 23)),
        (Within.wall(2 * DAY), "2 days", at(5, 17)),
    ],
)
def test_a_length_of_time_says_how_it_is_counted(within: Within, told: str, due: datetime) -> None:
    assert (str(within), within.after(at(3, 17), DESK)) == (told, due)


LADDER: Final = Ladder(take_back=Within(8), remind=Within(2), escalate=Within(4))


def test_the_ladder_climbs_in_business_hours() -> None:
    assert rungs(LADDER, DESK, at(5, 17)) == (
        (Step.REMIND, at(8, 11), Level.REMINDED),
        (Step.ESCALATE, at(8, 13), Level.ESCALATED),
        (Step.TAKE_BACK, at(8, 17), None),
    )


def test_each_level_is_done_once_and_the_next_one_is_known() -> None:
    ladder, level, done = rungs(LADDER, DESK, at(8, 10)), Level.OFFERED, []
    for minute in range(0, 9 * 60, 15):
        now = at(8, 10) + minute * MINUTE
        due, following = climb(ladder, level, now)
        if due is not None:
            done.append((due.step, now))
            level = due.level or level
        if due is None or due.step is not Step.TAKE_BACK:
            assert following is not None
            assert following.at > now
        else:
            break
    assert done == [(Step.REMIND, at(8, 12)), (Step.ESCALATE, at(8, 14)), (Step.TAKE_BACK, at(8, 18))]


def test_who_slept_through_two_steps_does_the_latest_only() -> None:
    ladder = rungs(LADDER, DESK, at(8, 10))
    assert climb(ladder, 0, at(8, 15)) == (ladder[1], ladder[2])
    assert climb(ladder, 0, at(12, 15)) == (ladder[2], None)
    assert climb(ladder, 2, at(8, 15)) == (None, ladder[2])


def test_taking_back_ends_the_ladder() -> None:
    early = Ladder(take_back=Within(1), remind=Within(2))
    assert [rung.step for rung in rungs(early, DESK, at(8, 10))] == [Step.TAKE_BACK]


def test_without_an_agreement_an_offer_only_expires() -> None:
    plain = Agreement.plain(DAY)
    assert rungs(plain.accept, DESK, at(5, 17)) == ((Step.TAKE_BACK, at(6, 17), None),)
    assert rungs(plain.follow_up, DESK, at(5, 17)) == ()
    assert plain.reroute == 0
