"""Engagement: points that halve with time."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain import score
from nurture.domain.lead import Engagement
from nurture.domain.score import Points
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import DAY, POINTS, at, signal

CLICKED, VISITED, REPLIED = SignalKind.CLICKED, SignalKind.VISITED, SignalKind.REPLIED

law = settings(max_examples=200, deadline=None, derandomize=True)
moments = st.integers(0, 3 * 365 * 86_400).map(lambda second: at(1) + timedelta(seconds=second))
deeds = st.builds(Signal, st.sampled_from([CLICKED, VISITED, REPLIED, SignalKind.OPENED]), moments)
scales = st.builds(Points, st.just(POINTS.worth), st.sampled_from([0.5, 7.0, 30.0, 365.0]))


def whole(points: Points, signals: list[Signal], moment: datetime) -> float:
    """The definition: every deed up to *moment*, each halved for its age."""
    done = [one for one in signals if one.occurred_at <= moment]
    return sum(
        points.worth.get(one.kind, 0.0) * 0.5 ** ((moment - one.occurred_at) / (points.half_life_days * DAY))
        for one in done
    )


def test_points_halve_after_the_half_life() -> None:
    engagement = score.add(Engagement(), POINTS, [signal(REPLIED, at(1))])
    assert score.value_at(engagement, POINTS, at(1)) == 20
    assert score.value_at(engagement, POINTS, at(31)) == pytest.approx(10)


def test_only_what_a_human_did_counts() -> None:
    bot = signal(CLICKED, at(1), verdict=SignalVerdict.BOT)
    suspect = signal(CLICKED, at(1), verdict=SignalVerdict.SUSPECT)
    assert score.add(Engagement(), POINTS, [bot, suspect]) == Engagement()


def test_a_signal_told_late_counts_from_when_it_occurred() -> None:
    newer = score.add(Engagement(), POINTS, [signal(CLICKED, at(31))])
    both = score.add(newer, POINTS, [signal(REPLIED, at(1))])
    assert both == Engagement(pytest.approx(15.0), at(31))


def test_a_lead_that_did_nothing_has_no_engagement() -> None:
    assert score.value_at(Engagement(), POINTS, at(5)) == 0
    assert score.falls_below_at(Engagement(), POINTS, 5) is None


def test_ten_points_of_twenty_are_reached_until_the_half_life_is_over_to_the_second() -> None:
    engagement = Engagement(20.0, at(1))
    assert score.falls_below_at(engagement, POINTS, 10) == at(31) + timedelta(seconds=1)
    assert score.reaches(score.value_at(engagement, POINTS, at(31)), 10)


@pytest.mark.parametrize("threshold", [0, -5])
def test_what_never_falls_has_no_time_of_falling(threshold: float) -> None:
    assert score.falls_below_at(Engagement(20.0, at(1)), POINTS, threshold) is None


def test_a_fall_beyond_the_calendar_is_never() -> None:
    assert score.falls_below_at(Engagement(20.0, at(1)), Points({}, 1e6), 1e-300) is None


def test_rounding_does_not_make_a_score_of_what_is_long_forgotten() -> None:
    fast = Points(POINTS.worth, half_life_days=1.0)
    signals = [signal(CLICKED, at(1)), signal(REPLIED, at(101, 7)), signal(REPLIED, at(102, 3))]
    engagement = score.add(Engagement(), fast, signals)
    assert score.value_before(engagement, fast, signals, at(50)) == pytest.approx(
        whole(fast, signals, at(50))
    )


@law
@given(scales, st.lists(deeds, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_telling_changes_nothing(points: Points, signals: list[Signal], chance: object) -> None:
    at_once = score.add(Engagement(), points, signals)
    shuffled = list(signals)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one_by_one = Engagement()
    for one in shuffled:
        one_by_one = score.add(one_by_one, points, [one])
    assert one_by_one.as_of == at_once.as_of
    assert one_by_one.value == pytest.approx(at_once.value, abs=1e-9)


@law
@given(scales, st.lists(deeds, max_size=8), moments)
def test_the_value_before_is_what_was_there_then(
    points: Points, signals: list[Signal], moment: datetime
) -> None:
    engagement = score.add(Engagement(), points, signals)
    then = score.value_before(engagement, points, signals, moment)
    assert then == pytest.approx(whole(points, signals, moment), abs=1e-9)


@law
@given(scales, st.lists(deeds, max_size=8), st.floats(0.1, 1000), st.integers(0, 200))
def test_the_value_before_undoes_an_addition_of_signals_to_a_known_number(
    points: Points, signals: list[Signal], known: float, hours: int
) -> None:
    before = Engagement(known, at(1))
    later = [
        Signal(one.kind, at(1) + timedelta(seconds=1) + (one.occurred_at - at(1)) / 100) for one in signals
    ]
    after = score.add(before, points, later)
    if points.decay(((after.as_of or at(1)) - at(1)).total_seconds()) > 1e-3:
        assert score.value_before(after, points, later, at(1)) == pytest.approx(known, rel=1e-9)


@law
@given(scales, st.lists(deeds, max_size=8), moments, moments)
def test_the_value_since_counts_those_deeds_alone(
    points: Points, signals: list[Signal], since: datetime, moment: datetime
) -> None:
    newer = [one for one in signals if one.occurred_at >= since]
    assert score.value_since(points, signals, since, moment) == pytest.approx(whole(points, newer, moment))


@law
@given(scales, st.floats(0.01, 1000), st.floats(0.01, 1000), moments)
def test_it_falls_below_at_the_first_whole_second_below(
    points: Points, value: float, threshold: float, as_of: datetime
) -> None:
    engagement = Engagement(value, as_of)
    falls = score.falls_below_at(engagement, points, threshold)
    if falls is None:
        assert not score.reaches(value, threshold)
        return
    assert falls > as_of
    assert falls.microsecond == 0
    assert not score.reaches(score.value_at(engagement, points, falls), threshold)
    assert score.reaches(
        score.value_at(engagement, points, max(as_of, falls - timedelta(seconds=1))), threshold
    )


@law
@given(scales, st.floats(0.01, 1000), moments, st.lists(st.integers(0, 10**6), max_size=4))
def test_the_fall_is_the_same_from_wherever_it_is_foreseen(
    points: Points, value: float, as_of: datetime, steps: list[int]
) -> None:
    falls = score.falls_below_at(Engagement(value, as_of), points, value / 3)
    assert falls is not None
    for first, moment in pairwise([0, *sorted(steps)]):
        seen = as_of + timedelta(milliseconds=first + moment)
        if seen < falls - timedelta(seconds=1):
            then = Engagement(score.value_at(Engagement(value, as_of), points, seen), seen)
            again = score.falls_below_at(then, points, value / 3)
            assert again is not None
            assert abs(again - falls) <= timedelta(seconds=1)
