"""Clicks have a grace period before anything acts on them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Engagement, Timeline
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.conditions import AllOf, DecidesWithin, ScoreCondition, SignalCondition
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.planner import Decision, HoldReason, OfferToSales, SendTouch, decide
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import scoring
from nurture.domain.scoring.click_filtering import ClickThresholds
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import (
    DAY,
    HOUR,
    NO_ENTRIES,
    POINTS,
    Fork,
    Mail,
    Wait,
    World,
    at,
    lead,
    policy,
    signal,
    track,
    view,
)

CLICKED, REPLIED = SignalKind.CLICKED, SignalKind.REPLIED
SECOND = timedelta(seconds=1)
GRACE = ClickThresholds().grace_period
WAITS = Wait(SignalCondition(CLICKED), Delay(days=4), (Mail(),), ())
T = at(3, 12)


def click(when: datetime = T, **more: Any) -> Signal:
    return signal(CLICKED, when, auto_classified=True, **more)


def seen(*signals: Signal, **more: Any) -> LeadView:
    engagement = scoring.add_signals(Engagement(), POINTS, signals)
    return view("s0", lead=lead(engagement=engagement), signals=signals, **more)


def ask(of: Program, seen_view: LeadView, now: datetime, by: Policy | None = None) -> Decision:
    return decide(seen_view, of, NO_ENTRIES, by or policy(), now)


def test_a_decision_waits_for_a_recent_click_and_the_hold_says_until_when() -> None:
    decision = ask(track(WAITS), seen(click()), T + SECOND)
    assert (decision.hold, decision.wake_at, decision.actions) == (HoldReason.CLICK_GRACE, T + GRACE, ())
    assert "grace period until 2026-06-03 12:01:30 UTC" in decision.reason


def test_a_click_after_its_grace_period_is_acted_on_as_of_when_it_was_made() -> None:
    seen_view = seen(click())
    after_grace = ask(track(WAITS), seen_view, T + GRACE)
    assert [type(action) for action in after_grace.actions] == [SendTouch]
    reported = seen(signal(CLICKED, T))
    assert after_grace.position == ask(track(WAITS), reported, T).position


def test_a_reported_signal_has_no_grace_period() -> None:
    decision = ask(track(WAITS), seen(signal(CLICKED, T)), T)
    assert [type(action) for action in decision.actions] == [SendTouch]


def test_suspects_and_bots_neither_count_nor_have_a_grace_period() -> None:
    for verdict in (SignalVerdict.SUSPECT, SignalVerdict.BOT):
        assert ask(track(WAITS), seen(click(verdict=verdict)), T).hold is HoldReason.WAITING


def test_a_click_at_the_deadline_still_counts_after_its_grace_period() -> None:
    of = track(Wait(SignalCondition(CLICKED), Delay(days=4), (), (Mail(),)))
    last = at(5) - SECOND
    seen_view = seen(click(last))
    assert ask(of, seen_view, at(5)).hold is HoldReason.CLICK_GRACE
    after = ask(of, seen_view, last + GRACE)
    assert not any(isinstance(action, SendTouch) for action in after.actions)


def test_a_step_that_no_click_changes_does_not_wait() -> None:
    decision = ask(track(Mail(), Mail(Delay(days=9))), seen(click()), T)
    assert [type(action) for action in decision.actions] == [SendTouch]


def test_points_of_a_recent_click_make_no_offer_yet() -> None:
    by = policy(ScoreCondition(at_least=5))
    seen_view = seen(click())
    assert ask(track(Mail(Delay(days=30))), seen_view, T, by).hold is HoldReason.CLICK_GRACE
    offered = ask(track(Mail(Delay(days=30))), seen_view, T + GRACE, by)
    assert [type(action) for action in offered.actions] == [OfferToSales]


def test_a_reply_with_a_recent_click_is_offered_at_once() -> None:
    by = policy(AllOf((ScoreCondition(at_least=25), SignalCondition(CLICKED))), SignalCondition(REPLIED))
    seen_view = seen(click(), signal(REPLIED, T + SECOND))
    decision = ask(track(WAITS), seen_view, T + SECOND, by)
    assert [action.rule for action in decision.actions if isinstance(action, OfferToSales)] == ["c1"]


def test_a_date_that_comes_within_the_grace_period_wakes_the_lead_at_its_start() -> None:
    """Without the click an email goes, so the step names no time at which to decide again."""
    midnight, of = at(4), track(Fork(SignalCondition(CLICKED), (), (Mail(),)))
    clicked = seen(click(midnight - SECOND), reached=midnight - SECOND)
    decides_today = replace(clicked.lead, timeline=Timeline(midnight.date(), at(1)))
    seen_view, by = replace(clicked, lead=decides_today), policy(DecidesWithin(0))
    decision = ask(of, seen_view, midnight - SECOND, by)
    assert (decision.hold, decision.wake_at) == (HoldReason.CLICK_GRACE, midnight)
    offered = ask(of, seen_view, midnight, by)
    assert [type(action) for action in offered.actions] == [OfferToSales]


def test_a_policy_may_let_clicks_act_at_once() -> None:
    by = replace(policy(), click_filtering=ClickThresholds(grace_period=timedelta()))
    decision = ask(track(WAITS), seen(click()), T, by)
    assert [type(action) for action in decision.actions] == [SendTouch]


clicks = st.lists(st.integers(0, 20 * 24), max_size=4).map(lambda hours: [click(at(1) + hour * HOUR) for hour in hours])
ways = st.sampled_from(
    [
        track(Mail(Delay(days=1)), WAITS, Mail(Delay(days=2))),
        track(Wait(ScoreCondition(at_least=9), Delay(days=5), (Mail(),), (Mail(Delay(days=1)), Mail()))),
        track(WAITS, WAITS, Mail()),
    ]
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ways, clicks)
def test_the_grace_period_delays_what_happens_by_no_more_than_itself(of: Program, made: list[Signal]) -> None:
    by = policy(ScoreCondition(at_least=14))
    believed = [replace(one, auto_classified=False) for one in made]
    at_once = World(of, by, lead(), at(1)).receives(believed).run(at(1) + 40 * DAY)
    with_grace = World(of, by, lead(), at(1)).receives(made).run(at(1) + 40 * DAY)
    assert [type(action) for _, action in with_grace.happened] == [type(action) for _, action in at_once.happened]
    for (late, _), (prompt, _) in zip(with_grace.happened, at_once.happened, strict=True):
        assert timedelta() <= late - prompt <= GRACE * (1 + len(made))
