"""The planner's decisions, by example."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest

from nurture.domain.lead import Custodian, Queue, Timeline
from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import DecidesWithin, FieldCondition, ScoreCondition, SignalCondition
from nurture.domain.planning.frequency_cap import FrequencyCap
from nurture.domain.planning.lead_view import LeadView, Touch, TouchState
from nurture.domain.planning.planner import (
    Decision,
    EndEnrollment,
    HoldReason,
    OfferToSales,
    SendTouch,
    UpdateField,
    apply_decision,
    decide,
)
from nurture.domain.planning.program import Program, ToQueue
from nurture.domain.policy.policy import Policy
from nurture.domain.signals import SignalKind
from tests.domain.builders import (
    DAY,
    HOUR,
    NO_ENTRIES,
    OFFICE,
    START,
    UNSUBSCRIBED,
    Mail,
    Note,
    Round,
    Wait,
    World,
    at,
    lead,
    policy,
    signal,
    track,
    view,
)

CLICKED, REPLIED, VISITED = SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.VISITED
NIGHTS = Window(frozenset({0, 1, 2, 3, 4}), time(22), time(6), skip_holidays=False)
ONE = Mail(Delay(days=1))
GONE = EndEnrollment(ToQueue("done"), "warm has no more steps")


def accepted(step: str, when: datetime, visit: int = 1) -> Touch:
    return Touch(step, visit, TouchState.ACCEPTED, when)


def sends(world: World) -> list[tuple[str, datetime]]:
    return [(send.step, send.planned_at) for send in world.sent]


def held(decision: Decision, reason: HoldReason, until: datetime | None) -> bool:
    return (decision.actions, decision.hold, decision.wake_at) == ((), reason, until)


def ask(of: Program, seen: LeadView, now: datetime, rules: Policy | None = None) -> Decision:
    return decide(seen, of, NO_ENTRIES, rules or policy(), now)


# The guards, in their order


def test_a_lead_on_no_track_is_held() -> None:
    seen = view("s0")
    assert held(ask(track(ONE), replace(seen, enrollment=None), at(9)), HoldReason.NOT_ENROLLED, None)
    ended = apply_decision(seen.enrollment, Decision((GONE,), None, None, ""))  # type: ignore[arg-type]
    assert ended.ended
    assert held(
        ask(track(ONE), replace(seen, enrollment=ended, suppressions=UNSUBSCRIBED), at(9)),
        HoldReason.NOT_ENROLLED,
        None,
    )


def test_a_closed_lead_is_held() -> None:
    seen = view("s0", custodian=Custodian.CLOSED, suppressions=UNSUBSCRIBED)
    assert held(ask(track(ONE), seen, at(9)), HoldReason.CLOSED, None)


def test_a_suppressed_lead_leaves_for_a_named_queue_but_not_while_a_rep_has_it() -> None:
    decision = ask(track(ONE), view("s0", suppressions=UNSUBSCRIBED), at(1, 9))
    assert decision.actions == (EndEnrollment(ToQueue(Queue.SUPPRESSED), "suppressed: page (global)"),)
    assert (decision.wake_at, decision.hold) == (None, None)
    with_rep = view("s0", suppressions=UNSUBSCRIBED, custodian=Custodian.REP)
    assert held(ask(track(ONE), with_rep, at(1, 9)), HoldReason.WITH_SALES, None)


def test_a_lead_without_consent_basis_leaves() -> None:
    decision = ask(track(ONE), view("s0", statements=()), at(9))
    assert [action.destination for action in decision.actions if isinstance(action, EndEnrollment)] == [
        ToQueue(Queue.NO_CONSENT_BASIS)
    ]


@pytest.mark.parametrize("custodian", [Custodian.OFFER, Custodian.REP, Custodian.QUEUE, Custodian.INTAKE])
def test_a_lead_that_is_not_the_tracks_is_held(custodian: Custodian) -> None:
    reply = (signal(REPLIED, at(2)),)
    decision = ask(track(ONE), view("s0", custodian=custodian, signals=reply), at(9), policy(SignalCondition(REPLIED)))
    assert held(decision, HoldReason.WITH_SALES, None)
    assert decision.position == view("s0").enrollment.position  # type: ignore[union-attr]


def test_a_paused_lead_is_held_to_the_end_of_its_pause_and_not_offered_for_what_was_before_it() -> None:
    seen = view("s0", lead=lead(paused_until=at(20), paused_at=at(3)), signals=(signal(REPLIED, at(2)),))
    assert held(ask(track(ONE), seen, at(9), policy(SignalCondition(REPLIED))), HoldReason.PAUSED, at(20))
    assert isinstance(ask(track(ONE), seen, at(20), policy(SignalCondition(REPLIED))).actions[0], OfferToSales)


# Hand-off criteria


def test_criteria_come_before_the_step_and_the_first_that_holds_decides() -> None:
    seen = view("s0", signals=(signal(CLICKED, at(1, 9)), signal(REPLIED, at(1, 10))))
    decision = ask(
        track(Mail()),
        seen,
        at(1, 10),
        policy(SignalCondition(VISITED), SignalCondition(REPLIED), SignalCondition(CLICKED)),
    )
    assert decision.actions == (OfferToSales("c1", "c1: replied on 2026-06-01"),)
    assert (decision.wake_at, decision.hold, decision.reason) == (None, None, "c1: replied on 2026-06-01")
    assert decision.position == seen.enrollment.position  # type: ignore[union-attr]


def test_a_reply_at_night_hands_off_at_night() -> None:
    world = World(track(ONE, window=OFFICE), policy(SignalCondition(REPLIED)), lead()).receives(
        [signal(REPLIED, at(2, 3, 17))]
    )
    world.run(at(30))
    assert [now for now, action in world.happened if isinstance(action, OfferToSales)] == [at(2, 3, 17)]


def test_a_hold_wakes_when_a_criterion_may_come_true() -> None:
    who = lead(timeline=Timeline(date(2026, 6, 30), START))
    decision = ask(track(Mail(Delay(days=20))), view("s0", lead=who), at(2), policy(DecidesWithin(20)))
    assert held(decision, HoldReason.NOT_DUE, at(10))


@pytest.mark.parametrize("steps", [(Mail(),), (Wait(SignalCondition(REPLIED), Delay(days=20)),), (Round((Mail(),)),)])
def test_every_kind_of_hold_wakes_for_a_criterion(steps: Any) -> None:
    who = lead(timeline=Timeline(date(2026, 6, 30), START))
    rules = policy(DecidesWithin(29))
    world = World(track(*steps), rules, who, deliveries=((TouchState.ACCEPTED, 9 * DAY),)).run(at(30))
    assert [now for now, action in world.happened if isinstance(action, OfferToSales)] == [START]
    world = World(track(*steps), policy(DecidesWithin(28)), who, deliveries=((TouchState.ACCEPTED, 9 * DAY),)).run(
        at(30)
    )
    assert [now for now, action in world.happened if isinstance(action, OfferToSales)] == [at(2)]


def test_an_answered_signal_makes_no_second_offer() -> None:
    replies = [signal(REPLIED, at(2))]
    world = World(
        track(ONE, ONE, ONE),
        policy(SignalCondition(REPLIED), ScoreCondition(at_least=10)),
        lead(),
        answers_after=2 * DAY,
    )
    world.receives(replies).run(at(60))
    assert sum(isinstance(action, OfferToSales) for _, action in world.happened) == 1
    assert [send.planned_at for send in world.sent] == [at(4), at(5), at(6)]


def test_a_field_that_the_track_sets_is_seen_by_the_criteria_at_once() -> None:
    of = track(Note("hot", True), Mail(Delay(days=30)))
    decision = ask(of, view("s0"), START, policy(FieldCondition("hot", Comparison.IS, True)))
    assert decision.actions == (UpdateField("hot", True), OfferToSales("c0", "c0: hot is yes"))
    assert decision.position == view("s1").enrollment.position  # type: ignore[union-attr]
    assert decision.wake_at is None


def test_a_field_set_to_its_current_value_evaluates_nothing() -> None:
    of = track(Note("hot", True), Mail(Delay(days=30)))
    assert ask(of, view("s0", lead=lead(fields={"hot": True})), START).actions == (UpdateField("hot", True),)


# Emails


def test_after_counts_from_entry_and_then_from_the_acceptance() -> None:
    deliveries = [(TouchState.ACCEPTED, 5 * HOUR), (TouchState.CANCELLED, 7 * HOUR), (TouchState.REJECTED, HOUR)]
    world = World(track(ONE, ONE, ONE, ONE), policy(), lead(), deliveries=deliveries).run(at(30))
    assert sends(world) == [("s0", at(2, 8)), ("s1", at(3, 13)), ("s2", at(4, 20)), ("s3", at(5, 21))]


def test_an_email_never_goes_before_its_step_was_reached() -> None:
    of = track(Mail(), Wait(SignalCondition(REPLIED), Delay(days=9)), Mail(Delay(days=2)))
    assert sends(World(of, policy(), lead()).run(at(30))) == [("s0", at(1, 8)), ("s4", at(10, 8))]


def test_after_counts_from_the_email_before_and_not_from_the_wait_between() -> None:
    of = track(Mail(), Wait(SignalCondition(REPLIED), Delay(days=2)), Mail(Delay(days=9)))
    assert sends(World(of, policy(), lead()).run(at(30))) == [("s0", at(1, 8)), ("s4", at(10, 8))]


def test_one_touch_is_in_flight_and_one_of_unknown_delivery_counts_as_sent_after_72_hours() -> None:
    world = World(track(Mail(), Mail()), policy(), lead(), deliveries=[(TouchState.UNKNOWN, 2 * HOUR)]).run(at(30))
    assert sends(world) == [("s0", at(1, 8)), ("s1", at(4, 10))]


def test_a_touch_in_flight_holds_and_is_checked_every_72_hours() -> None:
    seen = view("s0", touches=(Touch("s0", 1, TouchState.IN_FLIGHT, START),))
    assert held(ask(track(ONE), seen, at(1, 9)), HoldReason.IN_FLIGHT, at(4, 8))
    assert held(ask(track(ONE), seen, at(4, 8)), HoldReason.IN_FLIGHT, at(7, 8))
    assert held(ask(track(ONE), seen, at(9)), HoldReason.IN_FLIGHT, at(10, 8))


def test_several_emails_of_a_step_rotate_by_round() -> None:
    of = track(Round((Mail(emails=("a", "b", "c")),), every=7, times=5))
    world = World(of, policy(), lead()).run(at(60))
    assert [(send.email, send.visit) for send in world.sent] == [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("b", 5)]


# Windows, caps, grace


@pytest.mark.parametrize(
    ("zone", "opens"), [("America/New_York", at(1, 13)), ("Asia/Tokyo", at(2)), ("UTC", at(1, 9)), ("", at(1, 9))]
)
def test_a_touch_waits_for_the_window_on_the_clock_of_the_lead(zone: str, opens: datetime) -> None:
    seen = view("s0", lead=lead(zone=zone))
    assert held(ask(track(Mail(), window=OFFICE), seen, at(1, 8, 30)), HoldReason.SEND_WINDOW, opens)
    assert isinstance(ask(track(Mail(), window=OFFICE), seen, opens).actions[0], SendTouch)


def test_a_lead_without_a_zone_has_the_tracks() -> None:
    of = track(Mail(), window=OFFICE, zone_fallback="America/New_York")
    assert held(ask(of, view("s0", lead=lead(zone="")), START), HoldReason.SEND_WINDOW, at(1, 13))


def test_a_window_may_cross_midnight() -> None:
    world = World(track(Mail(), Mail(Delay(days=4)), Mail(Delay(days=1)), window=NIGHTS), policy(), lead()).run(at(30))
    assert sends(world) == [("s0", at(1, 22)), ("s1", at(5, 22)), ("s2", at(8, 22))]


def test_a_hold_before_the_due_time_wakes_in_the_window() -> None:
    decision = ask(track(Mail(Delay(days=5)), window=OFFICE), view("s0"), at(2))
    assert held(decision, HoldReason.SEND_WINDOW, at(8, 9))
    assert decision.reason == "s0, due on Saturday 6 June, moved to Monday 8 June: the weekend"


def test_the_cap_counts_touches_of_every_track_and_frees_them_in_turn() -> None:
    of = track(Mail(), cap=FrequencyCap(2, 7 * DAY))
    seen = view("s0", reached=at(8), sent_at=(at(3), at(5)))
    assert held(ask(of, seen, at(8)), HoldReason.FREQUENCY_CAP, at(10))
    assert isinstance(ask(of, seen, at(10)).actions[0], SendTouch)
    free = view("s0", reached=at(8), sent_at=(at(1), at(5)))
    assert isinstance(ask(of, free, at(8)).actions[0], SendTouch)


def test_the_cap_counts_a_touch_in_flight_and_waits_for_enough_to_expire() -> None:
    of = track(Mail(), cap=FrequencyCap(2, 7 * DAY))
    seen = view("s0", reached=at(8), sent_at=(at(9), at(3), at(5)))
    assert held(ask(of, seen, at(8)), HoldReason.FREQUENCY_CAP, at(12))
    ahead = view("s0", reached=at(8), sent_at=(at(9),))
    assert held(ask(track(Mail(), cap=FrequencyCap(1, 7 * DAY)), ahead, at(8)), HoldReason.FREQUENCY_CAP, at(16))


def test_a_lead_that_asked_for_fewer_emails_gets_them_at_its_interval_or_the_cap_s_if_that_is_longer() -> None:
    of = track(Mail(), cap=FrequencyCap(2, 7 * DAY))
    seen = view("s0", lead=lead(touch_interval=14 * DAY), reached=at(8), sent_at=(at(3),))
    assert held(ask(of, seen, at(8)), HoldReason.FREQUENCY_CAP, at(17))
    assert isinstance(ask(of, seen, at(17)).actions[0], SendTouch)
    capped = view("s0", lead=lead(touch_interval=4 * DAY), reached=at(8), sent_at=(at(6), at(7)))
    assert held(ask(of, capped, at(8)), HoldReason.FREQUENCY_CAP, at(13))
    first = view("s0", lead=lead(touch_interval=14 * DAY), reached=at(8))
    assert isinstance(ask(of, first, at(8)).actions[0], SendTouch)


def test_a_call_to_action_waits_until_reps_have_capacity() -> None:
    of = track(Mail(), calls_to_action=frozenset({"mail"}))
    full = view("s0", reps_full_until=at(5))
    assert held(ask(of, full, at(2)), HoldReason.REPS_FULL, at(5))
    assert isinstance(ask(of, full, at(5)).actions[0], SendTouch)
    assert isinstance(ask(of, view("s0"), at(2)).actions[0], SendTouch)
    assert isinstance(ask(track(Mail()), full, at(2)).actions[0], SendTouch)


def test_window_and_cap_push_each_other_until_both_allow() -> None:
    of = track(Mail(), window=Window(frozenset({0}), time(9), time(10)), cap=FrequencyCap(1, 8 * DAY))
    seen = view("s0", sent_at=(at(1, 9, 30),), reached=at(2))
    assert held(ask(of, seen, at(2)), HoldReason.FREQUENCY_CAP, at(15, 9))


def test_a_sweep_late_within_the_grace_keeps_the_planned_time() -> None:
    send = ask(track(Mail(), window=OFFICE), view("s0", reached=at(1, 15)), at(1, 18)).actions[0]
    assert send == SendTouch("s0", 1, "mail", at(1, 15), at(2, 9), at(2, 13))


def test_a_sweep_later_than_the_grace_plans_anew_in_the_next_window() -> None:
    of = track(Mail(Delay(days=1)), window=OFFICE)
    assert isinstance(ask(of, view("s0"), at(2, 13)).actions[0], SendTouch)
    send = ask(of, view("s0"), at(4, 11)).actions[0]
    assert send == SendTouch("s0", 1, "mail", at(4, 11), at(4, 11), at(4, 15))
    assert held(ask(of, view("s0"), at(4, 20)), HoldReason.SEND_WINDOW, at(5, 9))


def test_a_late_sweep_counts_the_touches_that_the_cap_counted_on_time() -> None:
    of = track(Mail(), cap=FrequencyCap(1, 2 * DAY))
    seen = view("s0", reached=at(3), sent_at=(at(1, 2),))
    for now in (at(3, 2), at(3, 5)):
        assert ask(of, seen, now).actions[0].planned_at == at(3, 2)  # type: ignore[union-attr]


def test_without_a_grace_a_late_touch_is_planned_for_now_and_has_an_hour_to_go() -> None:
    send = ask(track(Mail(), grace=timedelta()), view("s0"), at(1, 8, 1)).actions[0]
    assert send == SendTouch("s0", 1, "mail", at(1, 8, 1), at(1, 8, 1), at(1, 9, 1))


def test_a_touch_due_in_a_pause_is_planned_for_its_end() -> None:
    seen = view("s0", lead=lead(paused_until=at(5)))
    for now in (at(5), at(5, 3)):
        assert ask(track(Mail(Delay(days=3, at=time(23)))), seen, now).actions[0].planned_at == at(5)  # type: ignore[union-attr]


def test_a_touch_due_while_sales_had_the_lead_is_planned_for_the_answer() -> None:
    seen = view("s0", lead=lead(signals_since=at(5)))
    assert ask(track(ONE), seen, at(5, 3)).actions[0].planned_at == at(5)  # type: ignore[union-attr]
