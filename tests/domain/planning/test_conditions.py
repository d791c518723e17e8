"""Conditions: whether they hold, why, and when that may change by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Engagement, Timeline
from nurture.domain.planning.calendar import to_local
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    EvaluationContext,
    FieldCondition,
    InTrack,
    Not,
    ScoreCondition,
    SignalCondition,
    earliest,
    evaluate,
)
from nurture.domain.planning.lead_view import Touch, TouchState
from nurture.domain.scoring import scoring
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import DAY, HOUR, POINTS, START, at, lead, signal, view

CLICKED, REPLIED, VISITED = SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.VISITED
TICK = timedelta(microseconds=1)
LATER = at(10)


def make_context(
    *signals: Signal, since: datetime | None = None, answered_at: datetime | None = None, **more: Any
) -> EvaluationContext:
    who = more.pop("lead", lead())
    if signals:
        who = replace(who, engagement=scoring.add_signals(who.engagement, POINTS, signals))
    return EvaluationContext(view("s0", lead=who, signals=signals, **more), POINTS, since, answered_at)


def yes(condition: Condition, context: EvaluationContext, when: datetime = LATER) -> bool:
    return evaluate(condition, context, when).met


# Fields


@pytest.mark.parametrize(
    ("test", "fact", "value", "holds"),
    [
        ("is", "Berlin", "berlin", True),
        ("is", " Berlin ", "berlin", True),
        ("is", "100", 100, True),
        ("is", 100, "100.0", True),
        ("is", "01067", "1067", False),
        ("is", "infinity", "inf", False),
        ("is", "NaN", "nan", True),
        ("is", True, True, True),
        ("is", 1, True, False),
        ("is", None, "x", False),
        ("is", "  ", "  ", False),
        ("is_not", "a", "b", True),
        ("is_not", None, "b", True),
        ("is_not", "B", "b", False),
        ("in", "AT", ("de", "at"), True),
        ("in", "FR", ("de", "at"), False),
        ("in", None, ("de",), False),
        ("not_in", "FR", ("de", "at"), True),
        ("not_in", "", ("de",), True),
        ("not_in", "DE", ("de",), False),
        ("contains", "Head of Sales", "sales", True),
        ("contains", "Head of Sales", ("cto", "head"), True),
        ("contains", None, "sales", False),
        ("at_least", 50, 50, True),
        ("at_least", "49.5", 50, False),
        ("at_least", "many", 50, False),
        ("at_least", True, 1, False),
        ("at_least", 10**400, 1, False),
        ("at_most", 50, 50, True),
        ("at_most", None, 50, False),
        ("exists", "x", True, True),
        ("exists", 0, True, True),
        ("exists", False, True, True),
        ("exists", " ", True, False),
        ("exists", None, False, True),
        ("exists", "x", False, False),
    ],
)
def test_a_field_is_compared(test: str, fact: Any, value: Any, holds: bool) -> None:
    result = evaluate(FieldCondition("f", Comparison(test), value), make_context(lead=lead(fields={"f": fact})), at(1))
    assert (result.met, result.changes_at) == (holds, None)


def test_a_reason_names_the_condition_and_never_the_value() -> None:
    result = evaluate(
        FieldCondition("city", Comparison.IS, "Paris"), make_context(lead=lead(fields={"city": "Oslo"})), at(1)
    )
    assert result.reason == "not true that city is Paris"
    assert (
        evaluate(FieldCondition("city", Comparison.EXISTS, False), make_context(), at(1)).reason == "city is not known"
    )


# Signals


def test_a_signal_counts_from_the_enrollment_to_the_time_asked_about_both_included() -> None:
    context = make_context(signal(CLICKED, at(3)), since=at(3))
    assert yes(SignalCondition(CLICKED), context, at(3))
    assert not yes(SignalCondition(CLICKED), context, at(3) - TICK)
    assert not yes(SignalCondition(CLICKED), make_context(signal(CLICKED, at(3)), since=at(3) + TICK), at(9))


def test_a_signal_to_come_is_when_the_result_changes() -> None:
    context = make_context(signal(CLICKED, at(3)), signal(CLICKED, at(5)))
    assert evaluate(SignalCondition(CLICKED), context, at(1)) == (False, "clicked not seen", at(3))
    assert evaluate(SignalCondition(CLICKED, times=2), context, at(3)).changes_at == at(5)
    assert evaluate(SignalCondition(CLICKED, times=2), context, at(5)) == (True, "clicked 2 times on 2026-06-05", None)


def test_only_signals_of_humans_count() -> None:
    assert not yes(SignalCondition(CLICKED), make_context(signal(CLICKED, at(3), verdict=SignalVerdict.BOT)))
    assert not yes(SignalCondition(CLICKED), make_context(signal(CLICKED, at(3), verdict=SignalVerdict.SUSPECT)))


def test_a_signal_within_a_span_counts_to_its_last_microsecond_and_says_when_it_ends() -> None:
    condition = SignalCondition(CLICKED, within=2 * DAY)
    context = make_context(signal(CLICKED, at(3)))
    result = evaluate(condition, context, at(4))
    assert result.met
    assert result.changes_at == at(5) + TICK
    assert yes(condition, context, at(5))
    assert not yes(condition, context, at(5) + TICK)


def test_two_signals_within_a_span_end_when_the_first_of_the_two_grows_old() -> None:
    context = make_context(signal(CLICKED, at(1)), signal(CLICKED, at(3)), signal(CLICKED, at(4)))
    assert evaluate(SignalCondition(CLICKED, times=2, within=5 * DAY), context, at(4)).changes_at == at(8) + TICK


def test_a_signal_on_an_email_counts_from_its_acceptance() -> None:
    sent = (Touch("a", 1, TouchState.ACCEPTED, at(2)),)
    early, exact = signal(CLICKED, at(2) - TICK, "a"), signal(CLICKED, at(2), "a")
    assert not yes(SignalCondition(CLICKED, email="a"), make_context(early, touches=sent, since=START))
    assert yes(SignalCondition(CLICKED, email="a"), make_context(exact, touches=sent, since=START))
    assert not yes(SignalCondition(CLICKED, email="b"), make_context(exact, touches=sent, since=START))
    assert evaluate(SignalCondition(CLICKED, email="a"), make_context(exact), at(9)) == (
        False,
        "a was not sent yet",
        None,
    )


def test_a_signal_on_a_repeated_email_counts_from_its_newest_touch() -> None:
    sent = (Touch("a", 2, TouchState.ACCEPTED, at(8)), Touch("a", 1, TouchState.ACCEPTED, at(2)))
    assert not yes(SignalCondition(CLICKED, email="a"), make_context(signal(CLICKED, at(3), "a"), touches=sent))
    assert yes(SignalCondition(CLICKED, email="a"), make_context(signal(CLICKED, at(9), "a"), touches=sent))


def test_an_email_of_unknown_delivery_may_have_been_clicked_and_a_cancelled_one_not() -> None:
    click = signal(CLICKED, at(3), "a")
    assert yes(
        SignalCondition(CLICKED, email="a"), make_context(click, touches=(Touch("a", 1, TouchState.UNKNOWN, at(2)),))
    )
    assert not yes(
        SignalCondition(CLICKED, email="a"), make_context(click, touches=(Touch("a", 1, TouchState.CANCELLED, at(2)),))
    )


@pytest.mark.parametrize(
    ("where", "own"),
    [
        ({}, True),
        ({"enrollment_id": 1}, True),
        ({"enrollment_id": 2}, False),
        ({"track": "warm"}, True),
        ({"track": "other"}, False),
    ],
)
def test_an_email_of_the_same_name_in_another_track_is_another_email(where: dict[str, Any], own: bool) -> None:
    sent = (Touch("a", 1, TouchState.ACCEPTED, at(2)),)
    assert (
        yes(SignalCondition(CLICKED, email="a"), make_context(signal(CLICKED, at(3), "a", **where), touches=sent))
        is own
    )


def test_a_link_is_one_link() -> None:
    context = make_context(signal(CLICKED, at(3), link="prices"))
    assert yes(SignalCondition(CLICKED, link="prices"), context)
    assert not yes(SignalCondition(CLICKED, link="imprint"), context)


# Engagement


def test_engagement_is_asked_as_it_was_then_and_says_when_it_falls() -> None:
    context = make_context(signal(REPLIED, at(2)), signal(CLICKED, at(9)))
    assert not yes(ScoreCondition(at_least=15), context, at(1))
    result = evaluate(ScoreCondition(at_least=15), context, at(2))
    assert result == (True, "engagement 20.0, at least 15 asked", at(9))
    falls = evaluate(ScoreCondition(at_least=15), context, at(9)).changes_at
    assert falls is not None
    assert yes(ScoreCondition(at_least=15), context, falls - timedelta(seconds=1))
    assert not yes(ScoreCondition(at_least=15), context, falls)
    assert yes(ScoreCondition(below=15), context, falls)
    assert not yes(ScoreCondition(below=15), context, falls - timedelta(seconds=1))


def test_the_order_of_points_does_not_change_the_sum() -> None:
    tenth = replace(POINTS, points_by_kind={CLICKED: 0.1})
    engagement = scoring.add_signals(Engagement(), tenth, [signal(CLICKED, at(1))] * 3)
    context = EvaluationContext(view("s0", lead=lead(engagement=replace(engagement, values=(0.3 - 1e-16,)))), tenth)
    assert evaluate(ScoreCondition(at_least=0.3), context, at(1)).met


# What a rep has answered


def test_points_from_before_the_answer_of_a_rep_make_no_second_offer() -> None:
    signals_made = signal(REPLIED, at(2)), signal(CLICKED, at(6))
    assert yes(ScoreCondition(at_least=20), make_context(*signals_made), at(6))
    assert not yes(ScoreCondition(at_least=20), make_context(*signals_made, answered_at=at(4)), at(6))
    assert yes(ScoreCondition(at_least=5), make_context(*signals_made, answered_at=at(4)), at(6))


def test_a_click_from_before_the_answer_does_not_count_though_its_email_is_named() -> None:
    sent = (Touch("a", 1, TouchState.ACCEPTED, at(2)),)
    click = signal(CLICKED, at(3), "a")
    assert yes(SignalCondition(CLICKED, email="a"), make_context(click, touches=sent))
    assert not yes(
        SignalCondition(CLICKED, email="a"), make_context(click, touches=sent, since=at(4), answered_at=at(4))
    )


def test_a_decision_date_that_was_near_when_a_rep_answered_makes_no_second_offer() -> None:
    near = lead(timeline=Timeline(date(2026, 7, 30), at(2)))
    assert yes(DecidesWithin(60), make_context(lead=near), at(5))
    assert not yes(DecidesWithin(60), make_context(lead=near, answered_at=at(4)), at(5))
    assert yes(DecidesWithin(60), make_context(lead=near, answered_at=at(1, 12)), at(5))


def test_a_decision_date_that_comes_near_after_the_answer_makes_an_offer() -> None:
    far = make_context(lead=lead(timeline=Timeline(date(2026, 12, 31), at(2))), answered_at=at(4))
    opens = evaluate(DecidesWithin(60), far, at(5)).changes_at
    assert opens == datetime(2026, 11, 1, tzinfo=START.tzinfo)
    assert yes(DecidesWithin(60), far, opens)


# Stated dates


def test_a_decision_date_counts_on_local_days() -> None:
    context = make_context(lead=lead(zone="Europe/Berlin", timeline=Timeline(date(2026, 7, 10), at(1))))
    opens = evaluate(DecidesWithin(10), context, at(2)).changes_at
    assert opens == datetime(2026, 6, 29, 22, tzinfo=START.tzinfo)
    closes = evaluate(DecidesWithin(10), context, opens).changes_at
    assert closes == datetime(2026, 7, 10, 22, tzinfo=START.tzinfo)
    assert evaluate(DecidesWithin(10), context, closes) == (False, "decides on 2026-07-10, which has passed", None)


@pytest.mark.parametrize(
    "zone",
    [
        "", "Europe/Berlin", "Africa/Cairo", "America/Havana", "America/St_Johns", "Asia/Beirut",
        "Asia/Tehran", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati",
    ],
)  # fmt: skip
def test_a_stated_date_wakes_its_lead_at_the_start_of_the_right_day_in_every_zone_and_year(zone: str) -> None:
    stated = datetime(2024, 1, 1, tzinfo=UTC)
    spans = (1, 7, 30, 90, 365)
    for number in range(0, 10 * 365, 5):
        decides, days = date(2025, 3, 1) + timedelta(days=number), spans[number // 5 % 5]
        asked = make_context(lead=lead(zone=zone, timeline=Timeline(decides, stated)))
        opens = evaluate(DecidesWithin(days), asked, stated).changes_at
        assert opens is not None
        assert to_local(opens, zone or "UTC").date() == decides - timedelta(days=days)
        assert to_local(opens - TICK, zone or "UTC").date() < decides - timedelta(days=days)
        assert not yes(DecidesWithin(days), asked, opens - TICK)
        assert yes(DecidesWithin(days), asked, opens)


def test_a_date_is_not_known_before_it_was_stated() -> None:
    context = make_context(lead=lead(timeline=Timeline(date(2026, 6, 20), at(8))))
    assert evaluate(DecidesWithin(30), context, at(5)) == (False, "no decision date stated yet", at(8))
    assert yes(DecidesWithin(30), context, at(8))


@pytest.mark.parametrize("day", [date.min, date(1, 1, 5), date.max])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue", ""])
def test_an_extreme_date_has_a_result(day: date, zone: str) -> None:
    assert not yes(DecidesWithin(400), make_context(lead=lead(zone=zone, timeline=Timeline(day, at(1)))), at(5))


# Tracks, and joining


def test_a_lead_is_in_its_track_until_it_leaves() -> None:
    context = make_context()
    assert yes(InTrack("warm"), context)
    assert not yes(InTrack("cold"), context)
    enrollment = context.view.enrollment
    assert enrollment is not None
    gone = replace(context, view=replace(context.view, enrollment=replace(enrollment, ended=True)))
    assert not yes(InTrack("warm"), gone)


def test_all_any_and_not_combine_results_reasons_and_changes() -> None:
    context = make_context(signal(CLICKED, at(3)), signal(REPLIED, at(5)))
    clicked, replied = SignalCondition(CLICKED), SignalCondition(REPLIED)
    assert evaluate(AllOf((clicked, replied)), context, at(4)) == (False, "replied not seen", at(5))
    assert evaluate(AnyOf((clicked, replied)), context, at(4)) == (True, "clicked on 2026-06-03", at(5))
    assert evaluate(AnyOf((clicked, replied)), context, at(1)) == (
        False,
        "none of: clicked not seen; replied not seen",
        at(3),
    )
    assert (
        evaluate(AllOf((clicked, replied)), context, at(5)).reason == "clicked on 2026-06-03 and replied on 2026-06-05"
    )
    assert evaluate(Not(clicked), context, at(4)) == (False, "clicked on 2026-06-03", None)


def test_the_earliest_of_nothing_known_is_not_known() -> None:
    assert earliest([None, at(2), at(1)]) == at(1)
    assert earliest([None]) is None


# The law that makes polling unnecessary

second = st.integers(0, 60 * 86_400).map(lambda number: at(1) + timedelta(seconds=number))
hour = st.integers(0, 60 * 24).map(lambda number: at(1) + number * HOUR)
signals_made = st.builds(
    Signal,
    st.sampled_from([CLICKED, REPLIED, VISITED]),
    hour | second,
    st.sampled_from([SignalVerdict.HUMAN, SignalVerdict.HUMAN, SignalVerdict.BOT]),
    st.none() | st.just(1),
    st.none(),
    st.none() | st.sampled_from(["a", "b"]),
)
leaves = st.one_of(
    st.builds(
        SignalCondition,
        st.sampled_from([CLICKED, REPLIED]),
        st.none() | st.sampled_from(["a", "b"]),
        st.none(),
        st.integers(1, 3),
        st.none() | st.sampled_from([HOUR, 3 * DAY, 20 * DAY]),
    ),
    st.builds(ScoreCondition, at_least=st.sampled_from([0, 0.5, 1, 5, 10, 20])),
    st.builds(ScoreCondition, below=st.sampled_from([0.5, 1, 5, 10, 20])),
    st.builds(DecidesWithin, st.integers(0, 50)),
    st.builds(InTrack, st.sampled_from(["warm", "cold"])),
)
conditions = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(AllOf, st.lists(parts, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(parts, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, parts),
    ),
    max_leaves=5,
)


@st.composite
def contexts(draw: Any) -> EvaluationContext:
    signals = tuple(sorted(draw(st.lists(signals_made, max_size=6)), key=lambda one: one.occurred_at))
    timeline = draw(st.none() | st.builds(Timeline, st.dates(date(2026, 5, 1), date(2026, 8, 30)), hour))
    who = lead(zone=draw(st.sampled_from(["", "Africa/Cairo", "America/St_Johns"])), timeline=timeline)
    touches = (Touch("a", 1, TouchState.ACCEPTED, at(2)),)
    answered = draw(st.none() | hour)
    return make_context(
        *signals, lead=who, touches=touches, since=answered or draw(st.none() | hour), answered_at=answered
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(conditions, contexts(), hour | second, st.lists(st.floats(0, 1), max_size=12))
def test_between_changes_the_answer_stays(
    condition: Condition, context: EvaluationContext, asked: datetime, shares: list[float]
) -> None:
    when, horizon = asked, at(130)
    for _ in range(40):
        result = evaluate(condition, context, when)
        assert result.changes_at is None or result.changes_at > when
        until = min(result.changes_at or horizon, horizon)
        if until <= when:
            return
        for share in (*shares, 1.0):
            between = max(when, (when + (until - when) * share).replace(microsecond=0))
            if between < until:
                assert evaluate(condition, context, between).met is result.met
        when = until
