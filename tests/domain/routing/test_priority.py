"""Urgency with ageing, and how full the reps are."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.calendar import Window
from nurture.domain.policy.business_hours import Working
from nurture.domain.routing.priority import HOT_POINTS, MOST_DAYS_AHEAD, Pace, Pressure, Urgency

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START: Final = datetime(2026, 6, 1, 9, tzinfo=UTC)  # a Monday
DESK: Final = Working(Window(frozenset({0, 1, 2, 3, 4}), time(9), time(17)))
PACE: Final = Pace(frozenset({"replied"}), DAY, {"A": 3, "B": 2, "C": 1})

_arrivals = st.lists(
    st.tuples(st.integers(0, 40 * 24), st.integers(0, PACE.most_points)), min_size=1, max_size=120
)


def _urgency(hours: int, points: int) -> Urgency:
    return Urgency(points, START + hours * HOUR, DAY)


def test_hot_leads_jump_the_queue_and_fit_is_worth_a_day_or_two() -> None:
    assert PACE.points("replied", "B") == HOT_POINTS + 2
    assert PACE.points("engaged", "A") == 3
    assert Pace().points("replied", "A") == 0
    hot, waited = _urgency(48, PACE.points("replied", "")), _urgency(0, 3)
    assert hot.rank < waited.rank
    assert hot.at(START + 49 * HOUR) > waited.at(START + 49 * HOUR)


@given(st.integers(0, 900), st.integers(0, 33), st.integers(0, 900), st.integers(0, 33), st.integers(0, 900))
def test_the_order_of_two_who_wait_never_changes(
    hours: int, points: int, other_hours: int, other_points: int, later: int
) -> None:
    one, other = _urgency(hours, points), _urgency(other_hours, other_points)
    now = START + (max(hours, other_hours) + later) * HOUR
    if one.rank < other.rank:
        assert one.at(now) >= other.at(now)


@settings(max_examples=60, deadline=None)
@given(_arrivals, st.integers(1, 8))
def test_nobody_starves(arrivals: list[tuple[int, int]], places: int) -> None:
    """Whoever waits is overtaken only by those who came before they did, or soon enough after."""
    waiting = [_urgency(hours, points) for hours, points in arrivals]
    ahead_at_most = {
        id(one): sum(
            other.since - one.since <= (PACE.most_points - one.points) * PACE.age for other in waiting
        )
        for one in waiting
    }
    now, came, queue = START, sorted(waiting, key=lambda one: one.since), list[Urgency]()
    while came or queue:
        while came and came[0].since <= now:
            queue.append(came.pop(0))
        queue.sort(key=lambda one: one.rank)
        for one in queue[:places]:
            assert now - one.since <= (ahead_at_most[id(one)] // places + 1) * DAY
        del queue[:places]
        now += DAY


def test_a_thousand_leads_on_sixty_places_are_foreseen_to_take_weeks() -> None:
    full = Pressure(places=60, given=60, waiting=940)
    assert full.share > 16
    until = full.full_until(0.9, DESK, START)
    assert until is not None
    assert 3 * 7 * DAY < until - START <= 4 * 7 * DAY


def test_full_reps_have_room_the_next_business_day() -> None:
    friday = START + 4 * DAY + 3 * HOUR
    assert Pressure(60, 54, 0).full_until(0.9, DESK, friday) == START + 7 * DAY
    assert Pressure(60, 53, 0).full_until(0.9, DESK, friday) is None
    assert Pressure(60, 60, 50).full_until(None, DESK, friday) is None


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 5_000), st.floats(0.05, 1.0))
def test_room_is_foreseen_within_thirty_business_days(
    places: int, given_: int, waiting: int, threshold: float
) -> None:
    until = Pressure(places, given_, waiting).full_until(threshold, DESK, START)
    if until is not None:
        assert START < until <= START + 2 * MOST_DAYS_AHEAD * DAY


def test_without_places_who_waits_is_full_and_nobody_is_not() -> None:
    assert Pressure(0, 0, 1).full_until(0.9, DESK, START) is not None
    assert Pressure(0, 0, 0).full_until(0.9, DESK, START) is None
