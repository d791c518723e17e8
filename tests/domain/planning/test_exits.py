"""Test goals and exits: asked after requests, before interest and steps."""

from __future__ import annotations

from typing import Any

import pytest

from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, SuppressionSource
from nurture.domain.delivery.stops import Stop, StopAction
from nurture.domain.lead import Closing
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    FieldCondition,
    Not,
    ScoreCondition,
    SignalCondition,
)
from nurture.domain.planning.exits import needs_new_signal
from nurture.domain.planning.planner import Decision, EndEnrollment, HoldReason, OfferToSales, SendTouch, decide
from nurture.domain.planning.program import Exit, ExitKind, ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import Policy
from nurture.domain.signals import SignalKind
from tests.domain.builders import DAY, NO_ENTRIES, START, Mail, Note, at, lead, policy, signal, track, view

CLICKED, REPLIED = SignalKind.CLICKED, SignalKind.REPLIED
PAID = FieldCondition("plan", Comparison.IS, "paid")
GOAL = Exit(ExitKind.GOAL, PAID, ToTrack("customers"))
EXIT = Exit(ExitKind.EXIT, SignalCondition(CLICKED), ToQueue("clickers"))
PAYER = lead(fields={"plan": "paid"})
NOW = at(3)


def decided(rules: Policy | None = None, exits: tuple[Exit, ...] = (GOAL, EXIT), **seen: Any) -> Decision:
    return decide(view("s0", **seen), track(Mail(), exits=exits), NO_ENTRIES, rules or policy(), NOW)


def ended(decision: Decision) -> EndEnrollment:
    (action,) = decision.actions
    assert isinstance(action, EndEnrollment)
    return action


def test_a_lead_that_reached_the_goal_leaves_at_once_instead_of_getting_its_email() -> None:
    assert isinstance(decided().actions[0], SendTouch)
    end = ended(decided(lead=PAYER))
    assert (end.destination, end.exit) == (ToTrack("customers"), ExitKind.GOAL)
    assert end.reason.startswith("reached the goal of warm: plan is paid")


def test_the_goal_comes_before_an_exit_and_both_before_interest() -> None:
    rules = policy(ScoreCondition(at_least=1))
    clicked = (signal(CLICKED, at(2)),)
    assert ended(decided(rules, signals=clicked)).exit is ExitKind.EXIT
    assert ended(decided(rules, signals=clicked, lead=PAYER)).exit is ExitKind.GOAL


def test_a_request_comes_before_the_goal() -> None:
    decision = decided(policy(SignalCondition(REPLIED)), signals=(signal(REPLIED, at(2)),), lead=PAYER)
    assert isinstance(decision.actions[0], OfferToSales)


def test_signals_from_before_the_enrollment_count_for_no_exit() -> None:
    assert isinstance(decided(signals=(signal(CLICKED, START - DAY),)).actions[0], SendTouch)


@pytest.mark.parametrize(
    "silence",
    [
        {"lead": lead(fields={"plan": "paid"}, paused_until=at(9))},
        {"lead": PAYER, "stops": {"": Stop("", StopAction.STOP, "wrong sender", "mara", START)}},
        {
            "lead": PAYER,
            "suppressions": (ActiveSuppression(SuppressionScope.GLOBAL, "", SuppressionSource.PAGE, START, START),),
        },
    ],
)
def test_what_silences_mail_keeps_nobody_from_the_goal(silence: dict[str, Any]) -> None:
    assert ended(decided(**silence)).exit is ExitKind.GOAL


def test_a_paused_lead_is_looked_at_when_an_exit_may_hold() -> None:
    cold = Exit(ExitKind.EXIT, Not(SignalCondition(CLICKED, within=5 * DAY)), ToTrack("keep"))
    paused = lead(paused_until=at(20))
    decision = decided(exits=(cold,), lead=paused, signals=(signal(CLICKED, at(2)),))
    assert decision.hold is HoldReason.PAUSED
    assert decision.wake_at is not None
    assert at(7) <= decision.wake_at < at(8)


def test_a_lead_that_waits_for_its_next_email_is_looked_at_when_an_exit_may_hold() -> None:
    cold = Exit(ExitKind.EXIT, Not(SignalCondition(CLICKED, within=5 * DAY)), ToTrack("keep"))
    program = track(Mail(Delay(days=30)), exits=(cold,))
    decision = decide(view("s0", signals=(signal(CLICKED, at(2)),)), program, NO_ENTRIES, policy(), NOW)
    assert decision.wake_at is not None
    assert at(7) <= decision.wake_at < at(8)


def test_a_field_that_the_track_sets_can_be_the_goal() -> None:
    program = track(Note("plan", "paid"), Mail(), exits=(GOAL,))
    decision = decide(view("s0"), program, NO_ENTRIES, policy(), NOW)
    assert isinstance(decision.actions[-1], EndEnrollment)
    assert decision.actions[-1].exit is ExitKind.GOAL


def test_a_lead_that_asked_for_a_call_is_not_closed_by_the_goal_before_it() -> None:
    closes = Exit(ExitKind.GOAL, PAID, ToClosed(Closing.WON, "paid"))
    waiting = lead(fields={"plan": "paid"}, call_on=at(9).date())
    decision = decided(exits=(closes,), lead=waiting)
    assert (decision.actions, decision.wake_at) == ((), at(9))
    moved = decided(lead=waiting)
    assert ended(moved).exit is ExitKind.GOAL


def test_a_cool_off_goes_on_behind_the_goal() -> None:
    decision = decided(lead=PAYER, reached=at(9))
    assert decision.position is not None
    assert decision.position.reached_at == at(9)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (SignalCondition(CLICKED), True),
        (PAID, False),
        (Not(SignalCondition(CLICKED)), False),
        (AllOf((PAID, SignalCondition(CLICKED))), True),
        (AnyOf((PAID, SignalCondition(CLICKED))), False),
        (AnyOf((SignalCondition(REPLIED), SignalCondition(CLICKED))), True),
        (AllOf(()), False),
    ],
)
def test_only_a_condition_that_needs_a_signal_cannot_hold_at_the_start(condition: Condition, expected: bool) -> None:
    assert needs_new_signal(condition) is expected


@pytest.mark.parametrize(("zone", "over"), [("Pacific/Auckland", True), ("America/New_York", False)])
def test_a_track_ends_with_its_last_day_in_the_zone_of_the_lead(zone: str, over: bool) -> None:
    program = track(Mail(), ends_on=at(2).date())
    decision = decide(view("s0", lead=lead(zone=zone)), program, NO_ENTRIES, policy(), at(3))
    if over:
        assert ended(decision).destination == ToQueue("done")
        assert decision.reason == "warm ended on 2026-06-02"
    else:
        assert isinstance(decision.actions[0], SendTouch)


def test_a_lead_that_waits_is_moved_on_when_the_last_day_is_over() -> None:
    program = track(Mail(Delay(days=30)), ends_on=at(9).date())
    assert decide(view("s0"), program, NO_ENTRIES, policy(), NOW).wake_at == at(10)


def test_a_lead_waits_for_the_first_day_of_its_track() -> None:
    decision = decide(view("s0"), track(Mail(), starts_on=at(9).date()), NO_ENTRIES, policy(), NOW)
    assert (decision.hold, decision.wake_at) == (HoldReason.NOT_DUE, at(9))
    assert decision.reason == "warm starts on 2026-06-09"
