"""Clicks settle before anything acts on them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.lead import Engagement
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.conditions import Did, Every, Score
from nurture.domain.planning.lead_view import View
from nurture.domain.planning.planner import Decision, HoldReason, OfferToSales, SendTouch, decide
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring import scoring
from nurture.domain.scoring.click_filtering import Thresholds
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from tests.domain.builders import DAY, HOUR, POINTS, Mail, Wait, World, at, lead, policy, signal, track, view

CLICKED, REPLIED = SignalKind.CLICKED, SignalKind.REPLIED
SECOND = timedelta(seconds=1)
SETTLE = Thresholds().settle
WAITS = Wait(Did(CLICKED), Delay(days=4), (Mail(),), ())
T = at(3, 12)


def click(when: datetime = T, **more: Any) -> Signal:
    return signal(CLICKED, when, judged=True, **more)


def seen(*signals: Signal, **more: Any) -> View:
    engagement = scoring.add(Engagement(), POINTS, signals)
    return view("s0", lead=lead(engagement=engagement), signals=signals, **more)


def ask(of: Program, about: View, now: datetime, by: Policy | None = None) -> Decision:
    return decide(about, of, by or policy(), now)


def test_a_young_click_is_waited_for_and_the_hold_says_until_when() -> None:
    decision = ask(track(WAITS), seen(click()), T + SECOND)
    assert (decision.hold, decision.wake_at, decision.actions) == (HoldReason.SETTLING, T + SETTLE, ())
    assert "settling until 2026-06-03 12:01:30 UTC" in decision.because


def test_a_settled_click_is_acted_on_as_of_when_it_was_made() -> None:
    about = seen(click())
    settled = ask(track(WAITS), about, T + SETTLE)
    assert [type(action) for action in settled.actions] == [SendTouch]
    told = seen(signal(CLICKED, T))
    assert settled.position == ask(track(WAITS), told, T).position


def test_what_somebody_told_us_needs_no_settling() -> None:
    decision = ask(track(WAITS), seen(signal(CLICKED, T)), T)
    assert [type(action) for action in decision.actions] == [SendTouch]


def test_suspects_and_bots_neither_count_nor_settle() -> None:
    for verdict in (SignalVerdict.SUSPECT, SignalVerdict.BOT):
        assert ask(track(WAITS), seen(click(verdict=verdict)), T).hold is HoldReason.WAITING


def test_a_click_at_the_deadline_still_counts_after_it_has_settled() -> None:
    of = track(Wait(Did(CLICKED), Delay(days=4), (), (Mail(),)))
    last = at(5) - SECOND
    about = seen(click(last))
    assert ask(of, about, at(5)).hold is HoldReason.SETTLING
    after = ask(of, about, last + SETTLE)
    assert not any(isinstance(action, SendTouch) for action in after.actions)


def test_a_step_that_no_click_changes_does_not_wait() -> None:
    decision = ask(track(Mail(), Mail(Delay(days=9))), seen(click()), T)
    assert [type(action) for action in decision.actions] == [SendTouch]


def test_points_of_a_young_click_make_no_offer_yet() -> None:
    by = policy(Score(at_least=5))
    about = seen(click())
    assert ask(track(Mail(Delay(days=30))), about, T, by).hold is HoldReason.SETTLING
    offered = ask(track(Mail(Delay(days=30))), about, T + SETTLE, by)
    assert [type(action) for action in offered.actions] == [OfferToSales]


def test_a_reply_beside_a_young_click_is_offered_at_once() -> None:
    by = policy(Every((Score(at_least=25), Did(CLICKED))), Did(REPLIED))
    about = seen(click(), signal(REPLIED, T + SECOND))
    decision = ask(track(WAITS), about, T + SECOND, by)
    assert [action.rule for action in decision.actions if isinstance(action, OfferToSales)] == ["c1"]


def test_a_policy_may_let_clicks_act_at_once() -> None:
    by = replace(policy(), evidence=Thresholds(settle=timedelta()))
    decision = ask(track(WAITS), seen(click()), T, by)
    assert [type(action) for action in decision.actions] == [SendTouch]


clicks = st.lists(st.integers(0, 20 * 24), max_size=4).map(
    lambda hours: [click(at(1) + hour * HOUR) for hour in hours]
)
ways = st.sampled_from(
    [
        track(Mail(Delay(days=1)), WAITS, Mail(Delay(days=2))),
        track(Wait(Score(at_least=9), Delay(days=5), (Mail(),), (Mail(Delay(days=1)), Mail()))),
        track(WAITS, WAITS, Mail()),
    ]
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ways, clicks)
def test_settling_delays_what_happens_by_no_more_than_itself(of: Program, made: list[Signal]) -> None:
    by = policy(Score(at_least=14))
    sure = [replace(one, judged=False) for one in made]
    at_once = World(of, by, lead(), at(1)).hears(sure).run(at(1) + 40 * DAY)
    settling = World(of, by, lead(), at(1)).hears(made).run(at(1) + 40 * DAY)
    assert [type(action) for _, action in settling.happened] == [
        type(action) for _, action in at_once.happened
    ]
    for (late, _), (prompt, _) in zip(settling.happened, at_once.happened, strict=True):
        assert timedelta() <= late - prompt <= SETTLE * (1 + len(made))
