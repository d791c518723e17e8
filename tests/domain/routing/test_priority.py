"""Queue priority with aging, and how full the reps are."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import Window
from nurture.domain.policy.business_hours import WorkCalendar
from nurture.domain.routing.priority import (
    HOT_POINTS,
    MAX_FORECAST_DAYS,
    CapacityForecast,
    PriorityPolicy,
    QueuePriority,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START: Final = datetime(2026, 6, 1, 9, tzinfo=UTC)  # a Monday
OFFICE_HOURS: Final = WorkCalendar(Window(frozenset({0, 1, 2, 3, 4}), time(9), time(17)))
POLICY: Final = PriorityPolicy(frozenset({"replied"}), DAY, {"A": 3, "B": 2, "C": 1})
MAX_POINTS: Final = HOT_POINTS + 3

_arrivals = st.lists(st.tuples(st.integers(0, 40 * 24), st.integers(0, MAX_POINTS)), min_size=1, max_size=120)


def _priority(hours: int, points: int) -> QueuePriority:
    return QueuePriority(points, START + hours * HOUR, DAY)


def test_hot_leads_come_first_and_fit_is_worth_a_day_or_two() -> None:
    assert POLICY.points_for("replied", "B") == HOT_POINTS + 2
    assert POLICY.points_for("engaged", "A") == 3
    assert PriorityPolicy().points_for("replied", "A") == 0
    hot, waited = _priority(48, POLICY.points_for("replied", "")), _priority(0, 3)
    assert hot.rank < waited.rank
    assert hot.score_at(START + 49 * HOUR) > waited.score_at(START + 49 * HOUR)


@given(st.integers(0, 900), st.integers(0, 33), st.integers(0, 900), st.integers(0, 33), st.integers(0, 900))
def test_the_order_of_waiting_leads_never_changes(
    hours: int, points: int, other_hours: int, other_points: int, later: int
) -> None:
    one, other = _priority(hours, points), _priority(other_hours, other_points)
    now = START + (max(hours, other_hours) + later) * HOUR
    if one.rank < other.rank:
        assert one.score_at(now) >= other.score_at(now)


@settings(max_examples=60, deadline=None)
@given(_arrivals, st.integers(1, 8))
def test_nobody_starves(arrivals: list[tuple[int, int]], capacity: int) -> None:
    """A waiting lead is overtaken only by leads that came earlier, or soon enough after."""
    waiting = [_priority(hours, points) for hours, points in arrivals]
    ahead_at_most = {
        id(one): sum(other.since - one.since <= (MAX_POINTS - one.points) * POLICY.aging_interval for other in waiting)
        for one in waiting
    }
    now, came, queue = START, sorted(waiting, key=lambda one: one.since), list[QueuePriority]()
    while came or queue:
        while came and came[0].since <= now:
            queue.append(came.pop(0))
        queue.sort(key=lambda one: one.rank)
        for one in queue[:capacity]:
            assert now - one.since <= (ahead_at_most[id(one)] // capacity + 1) * DAY
        del queue[:capacity]
        now += DAY


def test_a_thousand_leads_for_sixty_places_are_forecast_to_take_weeks() -> None:
    full = CapacityForecast(daily_capacity=60, offered_today=60, waiting=940)
    assert full.utilization > 16
    until = full.full_until(0.9, OFFICE_HOURS, START)
    assert until is not None
    assert 3 * 7 * DAY < until - START <= 4 * 7 * DAY


def test_full_reps_have_capacity_the_next_business_day() -> None:
    friday = START + 4 * DAY + 3 * HOUR
    assert CapacityForecast(60, 54, 0).full_until(0.9, OFFICE_HOURS, friday) == START + 7 * DAY
    assert CapacityForecast(60, 53, 0).full_until(0.9, OFFICE_HOURS, friday) is None
    assert CapacityForecast(60, 60, 50).full_until(None, OFFICE_HOURS, friday) is None


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 5_000), st.floats(0.05, 1.0))
def test_capacity_is_forecast_within_thirty_business_days(
    capacity: int, offered: int, waiting: int, threshold: float
) -> None:
    until = CapacityForecast(capacity, offered, waiting).full_until(threshold, OFFICE_HOURS, START)
    if until is not None:
        assert START < until <= START + 2 * MAX_FORECAST_DAYS * DAY


def test_without_capacity_any_waiting_lead_means_full() -> None:
    assert CapacityForecast(0, 0, 1).full_until(0.9, OFFICE_HOURS, START) is not None
    assert CapacityForecast(0, 0, 0).full_until(0.9, OFFICE_HOURS, START) is None
