"""Conditions on dates and inactivity: whether they hold, and exactly when time alone changes that."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import start_of_day
from nurture.domain.planning.conditions import Condition, EvaluationContext, evaluate
from nurture.domain.planning.date_conditions import DateCondition, InactiveFor
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import DAY, HOUR, POINTS, at, lead, signal, view

WITHIN = DateCondition("ends", 0, 90, "ends within 90 days")
ENDS = date(2026, 6, 30)


def context(*signals: Signal, zone: str = "UTC", first: datetime | None = None, **fields: Any) -> EvaluationContext:
    who = lead(fields=fields, zone=zone, first_contact_at=first)
    return EvaluationContext(view("s0", lead=who, signals=signals), POINTS)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles", ""])
@pytest.mark.parametrize("ends", ["2026-06-30", "2026-06-30T12:00:00+00:00"])
def test_a_coming_date_holds_from_its_first_local_day_to_the_end_of_its_own(zone: str, ends: str) -> None:
    if zone == "Pacific/Auckland" and "T" in ends:
        ends = "2026-06-30T11:59:59Z"  # noon is the next day there
    asked, opens, closes = (
        context(zone=zone, ends=ends),
        start_of_day(date(2026, 4, 1), zone),
        start_of_day(ENDS + DAY, zone),
    )
    for when, met, changes_at in (
        (opens - HOUR, False, opens),
        (opens, True, closes),
        (closes - timedelta(microseconds=1), True, closes),
        (closes, False, None),
    ):
        result = evaluate(WITHIN, asked, when)
        assert (result.met, result.changes_at) == (met, changes_at)


@pytest.mark.parametrize("value", [None, "", "soon", "2026-13-01", 20260630, "9999-12-31", True])
def test_what_is_no_date_meets_no_condition_and_never_will_by_itself(value: Any) -> None:
    result = evaluate(WITHIN, context(ends=value), at(1))
    assert result == (False, "ends is not known", None)


@pytest.mark.parametrize(
    ("earliest", "latest", "day", "met"),
    [
        (None, -30, 31, True),  # at least 30 days ago
        (None, -30, 30, False),
        (date(2026, 7, 1), None, 31, False),
        (date(2026, 6, 30), None, 31, True),
        (None, date(2026, 6, 30), 31, True),
        (None, date(2026, 6, 29), 31, False),
        (-1, 1, 31, True),
    ],
)
def test_a_date_lies_between_two_bounds(earliest: Any, latest: Any, day: int, met: bool) -> None:
    ends = "2026-06-01" if latest == -30 else "2026-06-30"
    condition = DateCondition("ends", earliest, latest, "ends")
    assert evaluate(condition, context(ends=ends), at(day)).met is met


bounds = st.none() | st.integers(-20, 20) | st.dates(date(2026, 5, 1), date(2026, 8, 1))
conditions = st.one_of(
    st.builds(DateCondition, st.sampled_from(["ends", "first_contact"]), bounds, bounds, st.just("x")),
    st.builds(InactiveFor, st.integers(1, 20)),
)
hours = st.integers(-40 * 24, 40 * 24).map(lambda hour: at(1) + hour * HOUR)
signals = st.builds(
    Signal, st.sampled_from(SignalKind), hours, st.sampled_from([SignalVerdict.HUMAN, SignalVerdict.BOT])
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    conditions,
    st.lists(signals, max_size=4),
    hours,
    st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"]),
    hours,
    st.lists(st.integers(0, 999), min_size=1, max_size=5),
)
def test_nothing_changes_before_the_time_that_a_condition_names(
    condition: Condition, done: list[Signal], ends: datetime, zone: str, now: datetime, shares: list[int]
) -> None:
    done.sort(key=lambda one: one.occurred_at)
    asked = context(*done, zone=zone, first=at(1) - 20 * DAY, ends=ends.isoformat())
    result = evaluate(condition, asked, now)
    until = result.changes_at or datetime(2027, 1, 1, tzinfo=UTC)
    assert until > now
    for share in shares:
        assert evaluate(condition, asked, now + share * (until - now) / 1000).met is result.met


@pytest.mark.parametrize("kind", [SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.SUBMITTED, SignalKind.VISITED])
def test_a_lead_is_inactive_so_many_days_after_its_last_activity(kind: SignalKind) -> None:
    asked = context(signal(kind, at(3, 15)), first=at(1) - 400 * DAY)
    assert not evaluate(InactiveFor(120), asked, at(122, 23)).met
    assert evaluate(InactiveFor(120), asked, at(4)).changes_at == at(123)
    assert evaluate(InactiveFor(120), asked, at(123)) == (True, "inactive for 120 days", None)


@pytest.mark.parametrize(
    "one",
    [
        signal(SignalKind.CLICKED, at(3), verdict=SignalVerdict.BOT),
        signal(SignalKind.OPENED, at(3)),
        signal(SignalKind.BOUNCED, at(3)),
        signal(SignalKind.AUTO_REPLIED, at(3)),
        signal(SignalKind.CHANGED, at(3)),
    ],
)
def test_what_no_person_did_is_no_activity_and_days_count_from_the_first_contact(one: Signal) -> None:
    asked = context(one, first=at(1))
    assert evaluate(InactiveFor(30), asked, at(30)).changes_at == at(31)
    assert evaluate(InactiveFor(30), asked, at(31)).met
    assert evaluate(InactiveFor(30), context(one), at(31)) == (False, "first_contact is not known", None)
