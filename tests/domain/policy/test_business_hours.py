"""Working time: laws, published vectors, clock changes, and the escalation steps that are due."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import NeverOpens, Window, is_open, openings
from nurture.domain.policy.business_hours import (
    DurationUnit,
    EscalationAction,
    EscalationLevel,
    EscalationPolicy,
    SlaDuration,
    SlaPolicy,
    WorkCalendar,
    add_working_time,
    business_day,
    escalation_steps,
    next_business_day_start,
    next_step,
)

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
WEEK: Final = frozenset({0, 1, 2, 3, 4})
OFFICE_HOURS: Final = WorkCalendar(Window(WEEK, time(10), time(18)))
ALWAYS: Final = WorkCalendar(Window(frozenset(range(7)), time(0), time(0), skip_holidays=False))
NEVER: Final = WorkCalendar(Window(frozenset()))
BERLIN: Final = "Europe/Berlin"

_clocks = st.times(max_value=time(23, 59)).map(lambda one: one.replace(second=0, microsecond=0))
_calendars = st.builds(
    WorkCalendar,
    st.builds(Window, st.frozensets(st.integers(0, 6), min_size=1), _clocks, _clocks, skip_holidays=st.booleans()),
    st.sampled_from([BERLIN, "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    st.frozensets(st.dates(date(2011, 12, 20), date(2012, 1, 10)), max_size=6),
)
_CHANGES: Final = (  # around clock changes, and the day that Samoa skipped
    datetime(2011, 12, 29, tzinfo=UTC),
    datetime(2026, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 24, tzinfo=UTC),
)


def _minutes(count: int) -> st.SearchStrategy[list[datetime]]:
    """Return *count* times around one clock change, in order."""
    minutes = st.lists(st.integers(-3_000, 8_000), min_size=count, max_size=count).map(sorted)
    return st.builds(
        lambda day, offsets: [day + minute * MINUTE for minute in offsets], st.sampled_from(_CHANGES), minutes
    )


_times = _minutes(1).map(lambda times: times[0])
_lengths = st.integers(0, 3_000).map(lambda minutes: minutes * MINUTE)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a time in June 2026, which begins on a Monday; UTC."""
    return datetime(2026, 6, day, hour, minute, tzinfo=UTC)


def working_time_between(calendar: WorkCalendar, since: datetime, until: datetime) -> timedelta:
    """Return the working time from *since* to *until*: the sum of what lies inside openings."""
    total = timedelta()
    if until <= since:
        return total
    try:
        for opening in openings(calendar.window, calendar.zone, calendar.days_off, since):
            if opening.start >= until:
                break
            total += min(opening.end, until) - opening.start
    except NeverOpens:
        pass  # no more working time
    return total


@pytest.mark.parametrize(
    ("since", "until"), [(at(3, 15), at(4, 17)), (at(3, 20), at(5, 12))], ids=["in hours", "in the evening"]
)
def test_ten_business_hours_from_ten_to_six(since: datetime, until: datetime) -> None:
    assert add_working_time(OFFICE_HOURS, since, 10 * HOUR) == until
    assert working_time_between(OFFICE_HOURS, since, until) == 10 * HOUR


@settings(max_examples=60, deadline=None)
@given(_calendars, _times, _lengths, _lengths)
def test_working_time_adds_up(calendar: WorkCalendar, start: datetime, first: timedelta, then: timedelta) -> None:
    middle = add_working_time(calendar, start, first)
    end = add_working_time(calendar, middle, then)
    assert end == add_working_time(calendar, start, first + then)
    assert working_time_between(calendar, start, middle) == first
    assert working_time_between(calendar, start, end) == first + then


@settings(max_examples=60, deadline=None)
@given(_calendars, _minutes(3))
def test_from_a_to_b_and_from_b_to_c_is_from_a_to_c(calendar: WorkCalendar, times: list[datetime]) -> None:
    first, middle, last = times
    whole = working_time_between(calendar, first, last)
    assert working_time_between(calendar, first, middle) + working_time_between(calendar, middle, last) == whole
    assert timedelta() <= whole <= last - first


@settings(max_examples=25, deadline=None)
@given(_calendars, _times)
def test_a_minute_counts_exactly_when_the_window_is_open(calendar: WorkCalendar, start: datetime) -> None:
    minutes = [start + number * MINUTE for number in range(0, 4_000, 7)]
    for minute in minutes:
        worked = working_time_between(calendar, minute, minute + MINUTE)
        assert worked == is_open(calendar.window, calendar.zone, calendar.days_off, minute) * MINUTE


def test_working_time_is_the_same_length_over_a_clock_change() -> None:
    office_hours = WorkCalendar(Window(WEEK, time(9), time(17)), BERLIN)
    friday = datetime(2026, 3, 27, 15, tzinfo=UTC)  # 16:00 in winter
    assert add_working_time(office_hours, friday, 2 * HOUR) == datetime(2026, 3, 30, 8, tzinfo=UTC)  # 10:00 in summer


def test_an_hour_that_repeats_is_worked_twice_and_one_that_is_left_out_never() -> None:
    night = WorkCalendar(Window(frozenset(range(7)), time(0), time(6)), BERLIN)
    for day, hours in ((date(2026, 10, 25), 7), (date(2026, 3, 29), 5), (date(2026, 6, 7), 6)):
        noon = datetime.combine(day, time(12), UTC)
        assert working_time_between(night, noon - DAY, noon) == hours * HOUR


def test_holidays_and_days_off_are_not_worked() -> None:
    office_hours = WorkCalendar(OFFICE_HOURS.window, days_off=frozenset({date(2026, 6, 4)}))
    assert add_working_time(office_hours, at(3, 15), 10 * HOUR) == at(5, 17)
    assert working_time_between(office_hours, at(3, 18), at(5, 10)) == timedelta()


def test_clock_time_counts_where_nobody_ever_works() -> None:
    assert add_working_time(NEVER, at(1, 12), 3 * HOUR) == at(1, 15)
    assert working_time_between(NEVER, at(1, 12), at(9, 12)) == timedelta()
    assert next_business_day_start(NEVER, at(1, 12)) == at(2, 12)
    with pytest.raises(NeverOpens):
        business_day(NEVER, at(1, 12))


def test_round_the_clock_is_clock_time_and_its_days_are_calendar_days() -> None:
    assert add_working_time(ALWAYS, at(5, 20), 30 * HOUR) == at(7, 2)
    assert business_day(ALWAYS, at(6, 15)) == (date(2026, 6, 6), at(6, 0), at(7, 0))
    assert next_business_day_start(ALWAYS, at(6, 15)) == at(7, 0)


@pytest.mark.parametrize("arrived_at", [at(5, 18), at(6, 12), at(7, 23), at(8, 9), at(8, 17, 59)])
def test_what_comes_in_after_friday_s_close_counts_to_monday(arrived_at: datetime) -> None:
    assert business_day(OFFICE_HOURS, arrived_at) == (date(2026, 6, 8), at(5, 18), at(8, 18))
    assert next_business_day_start(OFFICE_HOURS, arrived_at) == at(9, 10)
    assert next_business_day_start(OFFICE_HOURS, arrived_at, 4) == at(12, 10)


def test_a_day_begins_where_the_one_before_long_holidays_ended() -> None:
    off = frozenset(date(2026, 6, 1) + number * DAY for number in range(1, 18))
    assert business_day(WorkCalendar(OFFICE_HOURS.window, days_off=off), at(10, 12)) == (
        date(2026, 6, 19),
        at(1, 18),
        at(19, 18),
    )


@settings(max_examples=40, deadline=None)
@given(_calendars, _minutes(4))
def test_every_time_lies_in_one_business_day_and_they_follow_each_other(
    calendar: WorkCalendar, times: list[datetime]
) -> None:
    days = [business_day(calendar, one) for one in times]
    assert all(day.starts_at <= one < day.ends_at for day, one in zip(days, times, strict=True))
    for one, after in pairwise(days):
        assert after == one or one.ends_at <= after.starts_at


@pytest.mark.parametrize(
    ("within", "text", "due"),
    [
        (SlaDuration(2), "2 business hours", at(4, 10) + 1 * HOUR),
        (SlaDuration(1, DurationUnit.BUSINESS_DAYS), "1 business day", at(4, 17)),
        (SlaDuration(6, DurationUnit.CLOCK_HOURS), "6 hours", at(3, 23)),
        (SlaDuration.from_clock_time(2 * DAY), "2 days", at(5, 17)),
    ],
)
def test_a_duration_names_its_unit(within: SlaDuration, text: str, due: datetime) -> None:
    assert (str(within), within.after(at(3, 17), OFFICE_HOURS)) == (text, due)


ESCALATION: Final = EscalationPolicy(take_back=SlaDuration(8), remind=SlaDuration(2), escalate=SlaDuration(4))


def test_the_escalation_counts_in_business_hours() -> None:
    assert escalation_steps(ESCALATION, OFFICE_HOURS, at(5, 17)) == (
        (EscalationAction.REMIND, at(8, 11), EscalationLevel.REMINDED),
        (EscalationAction.ESCALATE, at(8, 13), EscalationLevel.ESCALATED),
        (EscalationAction.TAKE_BACK, at(8, 17), None),
    )


def test_each_level_is_done_once_and_the_next_one_is_known() -> None:
    steps, level, done = escalation_steps(ESCALATION, OFFICE_HOURS, at(8, 10)), EscalationLevel.OFFERED, []
    for minute in range(0, 9 * 60, 15):
        now = at(8, 10) + minute * MINUTE
        due, upcoming = next_step(steps, level, now)
        if due is not None:
            done.append((due.action, now))
            level = due.level or level
        if due is None or due.action is not EscalationAction.TAKE_BACK:
            assert upcoming is not None
            assert upcoming.due_at > now
        else:
            break
    assert done == [
        (EscalationAction.REMIND, at(8, 12)),
        (EscalationAction.ESCALATE, at(8, 14)),
        (EscalationAction.TAKE_BACK, at(8, 18)),
    ]


def test_after_two_missed_steps_only_the_latest_is_done() -> None:
    steps = escalation_steps(ESCALATION, OFFICE_HOURS, at(8, 10))
    assert next_step(steps, 0, at(8, 15)) == (steps[1], steps[2])
    assert next_step(steps, 0, at(12, 15)) == (steps[2], None)
    assert next_step(steps, 2, at(8, 15)) == (None, steps[2])


def test_taking_back_ends_the_escalation() -> None:
    early = EscalationPolicy(take_back=SlaDuration(1), remind=SlaDuration(2))
    assert [step.action for step in escalation_steps(early, OFFICE_HOURS, at(8, 10))] == [EscalationAction.TAKE_BACK]


def test_without_an_sla_an_offer_only_expires() -> None:
    plain = SlaPolicy.without_sla(DAY)
    assert escalation_steps(plain.accept, OFFICE_HOURS, at(5, 17)) == ((EscalationAction.TAKE_BACK, at(6, 17), None),)
    assert escalation_steps(plain.follow_up, OFFICE_HOURS, at(5, 17)) == ()
    assert plain.max_reroutes == 0
