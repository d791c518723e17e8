"""Engagement: points that halve with time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Engagement
from nurture.domain.scoring import scoring
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import DAY, POINTS, at, signal

CLICKED, VISITED, REPLIED = SignalKind.CLICKED, SignalKind.VISITED, SignalKind.REPLIED

law = settings(max_examples=200, deadline=None, derandomize=True)
times = st.integers(0, 3 * 365 * 86_400).map(lambda second: at(1) + timedelta(seconds=second))
any_signals = st.builds(Signal, st.sampled_from([CLICKED, VISITED, REPLIED, SignalKind.OPENED]), times)
half_lives = st.lists(st.sampled_from([0.5, 7.0, 30.0, 90.0, 365.0]), min_size=1, max_size=4).map(tuple)
SLOTS = {CLICKED: 0, VISITED: 1, REPLIED: 2}


def points_of(spans: tuple[float, ...]) -> Points:
    return Points(POINTS.points_by_kind, spans, {kind: slot % len(spans) for kind, slot in SLOTS.items()})


scales = half_lives.map(points_of)
amounts = st.floats(0.01, 1000)


@st.composite
def sums(draw: st.DrawFn) -> tuple[Points, Engagement]:
    """Draw points, and an engagement computed with them."""
    points = draw(scales)
    values = tuple(draw(st.sampled_from([0.0]) | amounts) for _ in points.half_lives)
    return points, Engagement(values, draw(times), points.key)


def whole(points: Points, signals: list[Signal], when: datetime) -> float:
    """Return by definition: every signal up to *when*, each decayed by its age."""
    return sum(
        points.points_by_kind.get(one.kind, 0.0)
        * 0.5 ** ((when - one.occurred_at) / (points.half_lives[points.index_for(one.kind)] * DAY))
        for one in signals
        if one.occurred_at <= when
    )


def test_points_halve_after_the_half_life() -> None:
    engagement = scoring.add_signals(Engagement(), POINTS, [signal(REPLIED, at(1))])
    assert scoring.engagement_value_at(engagement, POINTS, at(1)) == 20
    assert scoring.engagement_value_at(engagement, POINTS, at(31)) == pytest.approx(10)


def test_only_what_a_human_did_counts() -> None:
    bot = signal(CLICKED, at(1), verdict=SignalVerdict.BOT)
    suspect = signal(CLICKED, at(1), verdict=SignalVerdict.SUSPECT)
    assert scoring.total_engagement(scoring.add_signals(Engagement(), POINTS, [bot, suspect])) == 0


def test_a_signal_reported_late_counts_from_when_it_occurred() -> None:
    newer = scoring.add_signals(Engagement(), POINTS, [signal(CLICKED, at(31))])
    both = scoring.add_signals(newer, POINTS, [signal(REPLIED, at(1))])
    assert (scoring.total_engagement(both), both.as_of) == (pytest.approx(15.0), at(31))


def test_a_lead_that_did_nothing_has_no_engagement() -> None:
    assert scoring.engagement_value_at(Engagement(), POINTS, at(5)) == 0
    assert scoring.falls_below_at(Engagement(), POINTS, 5) is None


def test_ten_points_of_twenty_are_reached_until_a_thousandth_is_missing_to_the_second() -> None:
    engagement = Engagement((20.0,), at(1))
    falls = scoring.falls_below_at(engagement, POINTS, 10)
    assert falls is not None
    assert timedelta(hours=1) < falls - at(31) < timedelta(minutes=63)
    assert scoring.reaches(scoring.engagement_value_at(engagement, POINTS, at(31)), 10)
    assert not scoring.reaches(9.98, 10)


@pytest.mark.parametrize("threshold", [0, -5])
def test_an_engagement_that_never_falls_has_no_time_of_falling(threshold: float) -> None:
    assert scoring.falls_below_at(Engagement((20.0,), at(1)), POINTS, threshold) is None


def test_a_fall_beyond_the_calendar_is_never() -> None:
    assert scoring.falls_below_at(Engagement((20.0,), at(1)), Points({}, (1e6,)), 1e-300) is None


def test_an_open_has_no_points_whatever_the_policy_says() -> None:
    opens = Points({SignalKind.OPENED: 50.0})
    assert opens.points_for(signal(SignalKind.OPENED, at(1))) == 0
    assert (
        scoring.total_engagement(scoring.recompute_engagement(opens, [signal(SignalKind.OPENED, at(1))], None, at(1)))
        == 0
    )


def test_a_fast_and_a_slow_half_life_are_two_sums() -> None:
    two = Points({CLICKED: 16.0, REPLIED: 40.0}, (7.0, 90.0), {REPLIED: 1})
    engagement = scoring.add_signals(Engagement(), two, [signal(CLICKED, at(1)), signal(REPLIED, at(1))])
    assert engagement.values == (16, 40)
    month = scoring.decay_to(engagement, two, at(1) + timedelta(days=28))
    assert month.values == (pytest.approx(1), pytest.approx(40 * 0.5 ** (28 / 90)))


def test_the_key_changes_with_points_and_half_lives_and_not_with_names() -> None:
    plain = Points({CLICKED: 10.0}, (7.0, 90.0), {CLICKED: 0}, ("fast", "slow"))
    assert Points({CLICKED: 10.0}, (7.0, 90.0), {}, ("quick", "long")).key == plain.key
    others = [
        Points({CLICKED: 11.0}, (7.0, 90.0)),
        Points({REPLIED: 10.0}, (7.0, 90.0)),
        Points({CLICKED: 10.0}, (7.0, 90.0), {CLICKED: 1}),
        Points({CLICKED: 10.0}, (7.0, 91.0)),
        Points({CLICKED: 10.0}, (7.0,)),
    ]
    assert plain.key not in {one.key for one in others}


def test_a_sum_stored_with_other_points_is_recomputed_from_the_signals() -> None:
    signals = [signal(CLICKED, at(1)), signal(REPLIED, at(2))]
    old = scoring.add_signals(Engagement(), Points({CLICKED: 500.0}), signals)
    assert scoring.total_engagement(scoring.engagement_at(old, POINTS, signals, None, at(2))) == pytest.approx(
        whole(POINTS, signals, at(2))
    )
    kept = replace(scoring.add_signals(Engagement(), POINTS, signals), values=(7.0,))
    assert scoring.total_engagement(scoring.engagement_at(kept, POINTS, signals, None, at(2))) == 7


@law
@given(scales, st.lists(any_signals, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(points: Points, signals: list[Signal], chance: object) -> None:
    at_once = scoring.add_signals(Engagement(), points, signals)
    shuffled = list(signals)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one_by_one = Engagement()
    for one in shuffled:
        one_by_one = scoring.add_signals(one_by_one, points, [one])
    assert one_by_one.as_of == at_once.as_of
    assert one_by_one.values == pytest.approx(at_once.values, abs=1e-9)


@law
@given(scales, st.lists(any_signals, max_size=8), times)
def test_engagement_at_a_time_equals_the_decayed_sum(points: Points, signals: list[Signal], when: datetime) -> None:
    engagement = scoring.add_signals(Engagement(), points, signals)
    then = scoring.engagement_at(engagement, points, signals, None, when)
    assert scoring.total_engagement(then) == pytest.approx(whole(points, signals, when), abs=1e-9)


@law
@given(scales, st.lists(any_signals, max_size=8), times, times)
def test_what_is_recomputed_since_a_time_counts_those_signals_alone(
    points: Points, signals: list[Signal], since: datetime, when: datetime
) -> None:
    newer = [one for one in signals if one.occurred_at >= since]
    assert scoring.total_engagement(scoring.recompute_engagement(points, signals, since, when)) == pytest.approx(
        whole(points, newer, when)
    )


@law
@given(sums(), st.lists(st.integers(0, 10**8), min_size=1, max_size=5))
def test_it_only_falls_between_signals(known: tuple[Points, Engagement], seconds: list[int]) -> None:
    points, engagement = known
    assert engagement.as_of is not None
    values = [
        scoring.engagement_value_at(engagement, points, engagement.as_of + timedelta(seconds=second))
        for second in sorted(seconds)
    ]
    assert values == sorted(values, reverse=True)


@law
@given(sums(), amounts)
def test_it_falls_below_at_the_first_whole_second_below(known: tuple[Points, Engagement], threshold: float) -> None:
    points, engagement = known
    assert engagement.as_of is not None
    falls = scoring.falls_below_at(engagement, points, threshold)
    if falls is None:
        assert not scoring.reaches(scoring.total_engagement(engagement), threshold)
        return
    assert falls > engagement.as_of
    assert falls.microsecond == 0
    assert not scoring.reaches(scoring.engagement_value_at(engagement, points, falls), threshold)
    before = max(engagement.as_of, falls - timedelta(seconds=1))
    assert scoring.reaches(scoring.engagement_value_at(engagement, points, before), threshold)


@law
@given(sums(), st.floats(1.01, 1e6), st.lists(st.integers(0, 10**6), max_size=4))
def test_the_time_of_the_fall_does_not_depend_on_when_it_is_computed(
    known: tuple[Points, Engagement], deeper: float, steps: list[int]
) -> None:
    points, engagement = known
    assume(scoring.total_engagement(engagement) > 0)
    threshold = scoring.total_engagement(engagement) / deeper
    falls = scoring.falls_below_at(engagement, points, threshold)
    assert falls is not None
    assert engagement.as_of is not None
    for first, second in pairwise([0, *sorted(steps)]):
        seen = engagement.as_of + timedelta(milliseconds=first + second)
        if seen < falls - timedelta(seconds=1):
            again = scoring.falls_below_at(scoring.decay_to(engagement, points, seen), points, threshold)
            assert again is not None
            assert abs(again - falls) <= timedelta(seconds=1)
