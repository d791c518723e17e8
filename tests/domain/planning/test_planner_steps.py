"""How a lead moves through its track: waits, branches, rounds, hand-offs and new versions, by example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nurture.domain.lead import Queue
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import FieldCondition, Not, SignalCondition
from nurture.domain.planning.lead_view import LeadView, Touch, TouchState
from nurture.domain.planning.planner import (
    Decision,
    EndEnrollment,
    HoldReason,
    OfferToSales,
    SendTouch,
    UpdateField,
    decide,
)
from nurture.domain.planning.program import Email, End, Jump, NextRound, Program, Repeat, ToQueue
from nurture.domain.policy.policy import Policy
from nurture.domain.signals import SignalKind
from tests.domain.builders import (
    CONSENT,
    DAY,
    HOUR,
    NO_ENTRIES,
    START,
    Arms,
    Fork,
    Mail,
    Note,
    Offer,
    Round,
    Stop,
    Wait,
    World,
    at,
    lead,
    policy,
    program,
    signal,
    track,
    view,
)

CLICKED, REPLIED, VISITED = SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.VISITED
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


# Waiting


def wait_up_to(up_to: Delay) -> Program:
    return track(Wait(SignalCondition(CLICKED), up_to, (Mail(step="yes"),), (Mail(step="no"),)))


@pytest.mark.parametrize(
    ("clicked", "step", "when"),
    [
        (at(1, 8), "yes", at(1, 8)),
        (at(3), "yes", at(3)),
        (at(4, 8), "yes", at(4, 8)),
        (at(4, 8) + timedelta(microseconds=1), "no", at(4, 8)),
    ],
)
@pytest.mark.parametrize("swept", [timedelta(), 3 * HOUR])
def test_a_wait_ends_at_the_signal_or_the_deadline_however_late_the_sweep(
    clicked: datetime, step: str, when: datetime, swept: timedelta
) -> None:
    seen = view("s0", signals=(signal(CLICKED, clicked),))
    send = ask(wait_up_to(Delay(days=3)), seen, max(when, at(4, 8) + timedelta(microseconds=1)) + swept).actions[0]
    assert isinstance(send, SendTouch)
    assert send.step == step
    if at(4, 8) + swept - when < 4 * HOUR:
        assert send.planned_at == when


def test_a_wait_holds_until_its_deadline() -> None:
    decision = ask(wait_up_to(Delay(days=3)), view("s0"), at(2))
    assert held(decision, HoldReason.WAITING, at(4, 8))
    assert decision.reason == "s0: clicked not seen; waits until Thursday 4 June at 08:00 (the lead's time)"


def test_a_deadline_keeps_the_wall_clock_when_clocks_change() -> None:
    entered = datetime(2026, 3, 28, 11, tzinfo=UTC)
    seen = view("s0", lead=lead(zone="Europe/Berlin"), reached=entered)
    assert ask(wait_up_to(Delay(days=1)), seen, entered).wake_at == entered + 23 * HOUR


def test_a_wait_for_silence_ends_when_the_span_has_passed() -> None:
    of = track(Wait(Not(SignalCondition(CLICKED, within=2 * DAY)), Delay(days=9), (Mail(),)))
    world = World(of, policy(), lead(), start=at(1)).receives([signal(CLICKED, at(1)), signal(CLICKED, at(2))])
    world.run(at(30))
    assert sends(world) == [("s1", at(4) + timedelta(microseconds=1))]


def test_a_signal_reported_late_counts_for_when_it_occurred() -> None:
    of = wait_up_to(Delay(days=3))
    world = World(of, policy(), lead(), deliveries=[(TouchState.ACCEPTED, HOUR)])
    world.receives([signal(CLICKED, at(2))], late=HOUR).run(at(30))
    assert [(send.step, send.planned_at, send.send_at) for send in world.sent] == [("yes", at(2), at(2, 1))]


def test_a_signal_reported_after_the_deadline_changes_nothing() -> None:
    world = World(wait_up_to(Delay(days=3)), policy(), lead()).receives([signal(CLICKED, at(2))], late=5 * DAY)
    assert sends(world.run(at(30))) == [("no", at(4, 8))]


def test_an_empty_block_continues_after_the_wait() -> None:
    of = track(Wait(SignalCondition(CLICKED), Delay(days=1)), ONE)
    assert sends(World(of, policy(), lead()).run(at(30))) == [("s3", at(2, 8))]


def test_a_clock_set_back_to_before_the_consent_takes_no_lead_off_its_track() -> None:
    decision = ask(track(ONE), view("s0"), CONSENT[0].recorded_at - 100 * DAY)
    assert (decision.actions, decision.wake_at) == ((), CONSENT[0].recorded_at)


def test_a_clock_set_back_holds_and_continues_later() -> None:
    for of in (wait_up_to(Delay(days=3)), track(ONE)):
        decision = ask(of, view("s0"), START - 30 * DAY)
        assert decision.hold is not None
        assert decision.wake_at is not None
        assert decision.wake_at >= START


# Branches, splits, fields


def test_a_branch_evaluates_as_of_when_it_was_reached() -> None:
    of = track(Mail(), Fork(SignalCondition(CLICKED, email="s0"), (Mail(step="yes"),), (Mail(step="no"),)))
    seen = view("s0", touches=(accepted("s0", START),), signals=(signal(CLICKED, at(1, 9), "s0"),))
    assert ask(of, seen, at(1, 9)).actions[0].step == "no"  # type: ignore[union-attr]


def test_a_field_set_by_a_step_is_seen_by_the_next_branch() -> None:
    of = track(
        Note("kind", "a"), Fork(FieldCondition("kind", Comparison.IS, "A"), (Mail(step="yes"),), (Mail(step="no"),))
    )
    notes, send = ask(of, view("s0"), START).actions
    assert notes == UpdateField("kind", "a")
    assert send.step == "yes"  # type: ignore[union-attr]


def test_a_field_set_before_a_hold_is_noted_and_not_set_again() -> None:
    of = track(Note("kind", "a"), ONE)
    decision = ask(of, view("s0"), START)
    assert (decision.actions, decision.hold) == ((UpdateField("kind", "a"),), HoldReason.NOT_DUE)
    assert decision.position is not None
    assert ask(of, view(decision.position.step), at(1, 9)).actions == ()


def test_a_split_sends_a_lead_down_one_arm() -> None:
    of = track(Arms(((1, (Mail(step="a"),)), (1, (Mail(step="b"),)))))
    steps = {number: ask(of, view("s0", lead=lead(id=number)), START).actions[0].step for number in range(20)}  # type: ignore[union-attr]
    assert set(steps.values()) == {"a", "b"}
    assert steps == {number: ask(of, view("s0", lead=lead(id=number)), START).actions[0].step for number in range(20)}  # type: ignore[union-attr]


# Rounds


def test_rounds_repeat_with_growing_pauses() -> None:
    of = track(Round((Mail(),), every=7, growth=2, at_most=20, times=4), Mail(step="last"))
    world = World(of, policy(), lead()).run(at(90))
    assert sends(world) == [
        ("s1", at(1, 8)),
        ("s1", at(8, 8)),
        ("s1", at(22, 8)),
        ("s1", at(42, 8)),
        ("last", at(42, 8)),
    ]
    assert [send.visit for send in world.sent] == [1, 2, 3, 4, 1]


def test_one_round_is_the_body_once() -> None:
    world = World(track(Round((Mail(), ONE), times=1), Mail(step="last")), policy(), lead()).run(at(90))
    assert sends(world) == [("s1", at(1, 8)), ("s2", at(2, 8)), ("last", at(2, 8))]


def test_a_pause_counts_from_the_end_of_the_round_before() -> None:
    world = World(track(Round((Mail(), ONE), every=7, times=2)), policy(), lead()).run(at(90))
    assert sends(world) == [("s1", at(1, 8)), ("s2", at(2, 8)), ("s1", at(9, 8)), ("s2", at(10, 8))]


def test_a_pause_holds_and_says_until_when() -> None:
    decision = ask(track(Round((Mail(),), every=7)), view("s0", visit=2), at(3))
    assert held(decision, HoldReason.NOT_DUE, at(8, 8))
    assert decision.reason == "s0: round 2 begins on Monday 8 June at 08:00 (the lead's time)"


def test_a_round_begins_when_its_pause_is_over_however_late_the_sweep() -> None:
    seen = view("s0", visit=2)
    send = ask(track(Round((Mail(),), every=7)), seen, at(8, 11)).actions[0]
    assert isinstance(send, SendTouch)
    assert send.planned_at == at(8, 8)


def test_years_of_missed_rounds_are_caught_up() -> None:
    of = track(Round((Wait(SignalCondition(CLICKED), Delay(days=1)), Note("round", "on")), every=0.25))
    decision = ask(of, view("s0"), START + 3 * 365 * DAY)
    assert decision.hold in (HoldReason.WAITING, HoldReason.NOT_DUE)
    assert decision.position is not None
    assert decision.position.visit > 800


def test_an_endless_loop_goes_to_a_queue() -> None:
    of = program(Email("a", ("a",), Delay()), Jump(2), Jump(1), End("end", ToQueue("x")))
    decision = ask(of, view("a", touches=(accepted("a", START),)), at(2))
    assert decision.actions[0].destination == ToQueue(Queue.TRACK_MISSING)  # type: ignore[union-attr]
    assert "loops without an email or a wait" in decision.reason


def test_a_round_without_a_body_only_pauses() -> None:
    of = program(Repeat("r", 7, 1, 60, 2, 1, 2), NextRound(0), End("end", ToQueue("x")))
    assert held(ask(of, view("r"), at(2)), HoldReason.NOT_DUE, at(8, 8))
    assert isinstance(ask(of, view("r"), at(8, 8)).actions[0], EndEnrollment)


# Handing off and leaving


def test_a_hand_off_step_offers_and_resumes_after_it() -> None:
    decision = ask(track(Offer("talk to me"), ONE), view("s0"), START)
    assert decision.actions == (OfferToSales("s0", "talk to me"),)
    assert (decision.wake_at, decision.hold) == (None, None)
    assert decision.position is not None
    assert decision.position.step == "s1"


def test_a_hand_off_at_the_end_of_a_round_resumes_in_the_next_round() -> None:
    of = track(Round((Mail(), Offer()), every=7, times=3))
    world = World(of, policy(), lead(), answers_after=DAY).run(at(90))
    assert [(now, type(action)) for now, action in world.happened] == [
        (at(1, 8), SendTouch),
        (at(1, 8), OfferToSales),
        (at(8, 8), SendTouch),
        (at(8, 8), OfferToSales),
        (at(15, 8), SendTouch),
        (at(15, 8), OfferToSales),
        (at(16, 8), EndEnrollment),
    ]


def test_an_offer_cancels_the_touch_in_flight_and_it_is_not_sent_twice() -> None:
    world = World(
        track(Mail(), ONE),
        policy(SignalCondition(REPLIED)),
        lead(),
        deliveries=[(TouchState.ACCEPTED, 9 * HOUR)],
        answers_after=3 * DAY,
    )
    world.receives([signal(REPLIED, at(1, 12))]).run(at(30))
    assert sends(world) == [("s0", at(1, 8)), ("s1", at(4, 12))]


def test_the_last_step_leads_to_finally() -> None:
    decision = ask(track(), view("finally"), START)
    assert (decision.actions, decision.wake_at, decision.hold) == ((GONE,), None, None)
    assert ask(track(Stop("later"), ONE), view("s0"), START).actions[0].destination == ToQueue("later")  # type: ignore[union-attr]


# New versions


def test_a_lead_continues_by_step_id_in_a_new_version() -> None:
    before, after = track(ONE, Mail(step="b")), track(Mail(step="new"), Mail(step="b"), ONE)
    seen = view("b", reached=at(3))
    assert ask(before, seen, at(3)).actions == ask(after, seen, at(3)).actions


def test_a_lead_on_a_removed_step_moves_with_it() -> None:
    of = track(ONE, Mail(step="b"), moved_steps={"old": "b"})
    assert ask(of, view("old"), START).actions[0].step == "b"  # type: ignore[union-attr]


def test_a_lead_on_a_deleted_step_goes_to_a_queue() -> None:
    decision = ask(track(ONE, version=3), view("old"), START)
    assert decision.actions == (EndEnrollment(ToQueue(Queue.TRACK_MISSING), "step old is not in version 3 of warm"),)


def test_a_lead_waits_for_the_touch_of_a_removed_step_and_counts_from_it() -> None:
    of = track(Mail(Delay(days=2), step="b"), moved_steps={"old": "b"})
    in_flight = view("old", touches=(Touch("old", 1, TouchState.IN_FLIGHT, at(2)),))
    assert held(ask(of, in_flight, at(3)), HoldReason.IN_FLIGHT, at(5))
    accepted_touch = view("old", touches=(accepted("old", at(4)),))
    assert held(ask(of, accepted_touch, at(4)), HoldReason.NOT_DUE, at(6))


def test_a_touch_in_flight_of_another_step_is_waited_for() -> None:
    seen = view("b", touches=(Touch("a", 1, TouchState.IN_FLIGHT, at(2)),))
    assert held(ask(track(Mail(step="b")), seen, at(3)), HoldReason.IN_FLIGHT, at(5))


def test_a_step_that_moved_into_a_round_is_in_its_first_round() -> None:
    of = track(Round((Mail(step="b"),), every=7, times=2))
    world = World(of, policy(), lead())
    world.enrollment = view("b").enrollment  # type: ignore[assignment]
    assert [(send.step, send.visit) for send in world.run(at(60)).sent] == [("b", 1), ("b", 2)]


def test_a_step_that_moved_out_of_its_round_is_left_behind_once() -> None:
    of = track(Mail(step="b"), Mail(step="c"))
    world = World(of, policy(), lead())
    world.enrollment = view("b", visit=5).enrollment  # type: ignore[assignment]
    assert [send.step for send in world.run(at(60)).sent] == ["b", "c"]
