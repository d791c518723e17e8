"""What happens to a lead next, by example."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from nurture.domain.calendar import Delay, Window
from nurture.domain.conditions import Comparison, DecidesWithin, Did, Field, Not, Score
from nurture.domain.lead import Custodian, Queue, Timeline
from nurture.domain.planner import (
    Decision,
    HoldReason,
    Leave,
    NoteFact,
    OfferToSales,
    SendTouch,
    decide,
    evolve,
)
from nurture.domain.policy import Policy
from nurture.domain.signals import SignalKind
from nurture.domain.track import Again, Cap, Email, End, Jump, Program, Repeat, ToQueue
from nurture.domain.view import Touch, TouchState, View
from tests.domain.builders import (
    DAY,
    HOUR,
    OFFICE,
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
NIGHTS = Window(frozenset({0, 1, 2, 3, 4}), time(22), time(6), skip_holidays=False)
ONE = Mail(Delay(days=1))
GONE = Leave(ToQueue("done"), "the steps of warm have run out")


def accepted(step: str, when: datetime, visit: int = 1) -> Touch:
    return Touch(step, visit, TouchState.ACCEPTED, when)


def sends(world: World) -> list[tuple[str, datetime]]:
    return [(send.step, send.planned_at) for send in world.sent]


def held(decision: Decision, reason: HoldReason, until: datetime | None) -> bool:
    return (decision.actions, decision.hold, decision.wake_at) == ((), reason, until)


def ask(of: Program, seen: View, now: datetime, rules: Policy | None = None) -> Decision:
    return decide(seen, of, rules or policy(), now)


# The guards, in their order


def test_a_lead_on_no_track_is_left_alone() -> None:
    seen = view("s0")
    assert held(ask(track(ONE), replace(seen, enrollment=None), at(9)), HoldReason.LEFT, None)
    ended = evolve(seen.enrollment, Decision((GONE,), None, None, ""))  # type: ignore[arg-type]
    assert ended.ended
    assert held(
        ask(track(ONE), replace(seen, enrollment=ended, suppressed="x"), at(9)), HoldReason.LEFT, None
    )


def test_a_closed_lead_is_left_alone() -> None:
    seen = view("s0", custodian=Custodian.CLOSED, suppressed="unsubscribed (global)")
    assert held(ask(track(ONE), seen, at(9)), HoldReason.CLOSED, None)


def test_a_suppressed_lead_leaves_for_a_named_queue_even_while_a_rep_has_it() -> None:
    for custodian in (Custodian.TRACK, Custodian.REP):
        decision = ask(
            track(ONE), view("s0", suppressed="unsubscribed (global)", custodian=custodian), at(1, 9)
        )
        assert decision.actions == (Leave(ToQueue(Queue.SUPPRESSED), "suppressed: unsubscribed (global)"),)
        assert (decision.wake_at, decision.hold) == (None, None)


def test_a_lead_that_nothing_allows_us_to_mail_leaves() -> None:
    decision = ask(track(ONE), view("s0", lead=lead(basis=None)), at(9))
    assert [action.to for action in decision.actions if isinstance(action, Leave)] == [
        ToQueue(Queue.NO_BASIS)
    ]


@pytest.mark.parametrize("custodian", [Custodian.OFFER, Custodian.REP, Custodian.QUEUE, Custodian.INTAKE])
def test_a_lead_that_is_not_the_tracks_is_held(custodian: Custodian) -> None:
    reply = (signal(REPLIED, at(2)),)
    decision = ask(track(ONE), view("s0", custodian=custodian, signals=reply), at(9), policy(Did(REPLIED)))
    assert held(decision, HoldReason.WITH_SALES, None)
    assert decision.position == view("s0").enrollment.position  # type: ignore[union-attr]


def test_a_paused_lead_is_held_to_the_end_of_its_pause_and_not_offered() -> None:
    seen = view("s0", lead=lead(paused_until=at(20)), signals=(signal(REPLIED, at(2)),))
    assert held(ask(track(ONE), seen, at(9), policy(Did(REPLIED))), HoldReason.PAUSED, at(20))
    assert isinstance(ask(track(ONE), seen, at(20), policy(Did(REPLIED))).actions[0], OfferToSales)


# Hand-off criteria


def test_criteria_come_before_the_step_and_the_first_that_holds_speaks() -> None:
    seen = view("s0", signals=(signal(CLICKED, at(1, 9)), signal(REPLIED, at(1, 10))))
    decision = ask(track(Mail()), seen, at(1, 10), policy(Did(VISITED), Did(REPLIED), Did(CLICKED)))
    assert decision.actions == (OfferToSales("c1", "c1: replied on 2026-06-01"),)
    assert (decision.wake_at, decision.hold, decision.because) == (None, None, "c1: replied on 2026-06-01")
    assert decision.position == seen.enrollment.position  # type: ignore[union-attr]


def test_a_reply_at_night_hands_off_at_night() -> None:
    world = World(track(ONE, window=OFFICE), policy(Did(REPLIED)), lead()).hears(
        [signal(REPLIED, at(2, 3, 17))]
    )
    world.run(at(30))
    assert [now for now, action in world.happened if isinstance(action, OfferToSales)] == [at(2, 3, 17)]


def test_a_hold_wakes_when_a_criterion_may_come_true() -> None:
    who = lead(timeline=Timeline(date(2026, 6, 30), START))
    decision = ask(track(Mail(Delay(days=20))), view("s0", lead=who), at(2), policy(DecidesWithin(20)))
    assert held(decision, HoldReason.NOT_DUE, at(10))


@pytest.mark.parametrize("steps", [(Mail(),), (Wait(Did(REPLIED), Delay(days=20)),), (Round((Mail(),)),)])
def test_every_kind_of_hold_wakes_for_a_criterion(steps: Any) -> None:
    who = lead(timeline=Timeline(date(2026, 6, 30), START))
    rules = policy(DecidesWithin(29))
    world = World(track(*steps), rules, who, fates=((TouchState.ACCEPTED, 9 * DAY),)).run(at(30))
    assert [now for now, action in world.happened if isinstance(action, OfferToSales)] == [START]
    world = World(track(*steps), policy(DecidesWithin(28)), who, fates=((TouchState.ACCEPTED, 9 * DAY),)).run(
        at(30)
    )
    assert [now for now, action in world.happened if isinstance(action, OfferToSales)] == [at(2)]


def test_what_a_rep_has_answered_makes_no_second_offer() -> None:
    deeds = [signal(REPLIED, at(2))]
    world = World(
        track(ONE, ONE, ONE), policy(Did(REPLIED), Score(at_least=10)), lead(), answers_after=2 * DAY
    )
    world.hears(deeds).run(at(60))
    assert sum(isinstance(action, OfferToSales) for _, action in world.happened) == 1
    assert [send.planned_at for send in world.sent] == [at(4), at(5), at(6)]


def test_a_fact_that_the_track_sets_is_seen_by_the_criteria_at_once() -> None:
    of = track(Note("hot", True), Mail(Delay(days=30)))
    decision = ask(of, view("s0"), START, policy(Field("hot", Comparison.IS, True)))
    assert decision.actions == (NoteFact("hot", True), OfferToSales("c0", "c0: hot is True"))
    assert decision.position == view("s1").enrollment.position  # type: ignore[union-attr]
    assert decision.wake_at is None


def test_a_fact_set_again_to_what_it_is_asks_nothing() -> None:
    of = track(Note("hot", True), Mail(Delay(days=30)))
    assert ask(of, view("s0", lead=lead(facts={"hot": True})), START).actions == (NoteFact("hot", True),)


# Emails


def test_after_counts_from_entry_and_then_from_the_acceptance() -> None:
    fates = [(TouchState.ACCEPTED, 5 * HOUR), (TouchState.CANCELLED, 7 * HOUR), (TouchState.REJECTED, HOUR)]
    world = World(track(ONE, ONE, ONE, ONE), policy(), lead(), fates=fates).run(at(30))
    assert sends(world) == [("s0", at(2, 8)), ("s1", at(3, 13)), ("s2", at(4, 20)), ("s3", at(5, 21))]


def test_an_email_never_goes_before_its_step_was_reached() -> None:
    of = track(Mail(), Wait(Did(REPLIED), Delay(days=9)), Mail(Delay(days=2)))
    assert sends(World(of, policy(), lead()).run(at(30))) == [("s0", at(1, 8)), ("s4", at(10, 8))]


def test_after_counts_from_the_email_before_and_not_from_the_wait_between() -> None:
    of = track(Mail(), Wait(Did(REPLIED), Delay(days=2)), Mail(Delay(days=9)))
    assert sends(World(of, policy(), lead()).run(at(30))) == [("s0", at(1, 8)), ("s4", at(10, 8))]


def test_one_touch_is_in_the_air_and_one_in_doubt_counts_as_sent_after_72_hours() -> None:
    world = World(track(Mail(), Mail()), policy(), lead(), fates=[(TouchState.IN_DOUBT, 2 * HOUR)]).run(
        at(30)
    )
    assert sends(world) == [("s0", at(1, 8)), ("s1", at(4, 10))]


def test_a_touch_on_its_way_holds_and_is_looked_at_every_72_hours() -> None:
    seen = view("s0", touches=(Touch("s0", 1, TouchState.IN_AIR, START),))
    assert held(ask(track(ONE), seen, at(1, 9)), HoldReason.IN_AIR, at(4, 8))
    assert held(ask(track(ONE), seen, at(4, 8)), HoldReason.IN_AIR, at(7, 8))
    assert held(ask(track(ONE), seen, at(9)), HoldReason.IN_AIR, at(10, 8))


def test_several_emails_of_a_step_take_turns_by_round() -> None:
    of = track(Round((Mail(emails=("a", "b", "c")),), every=7, times=5))
    world = World(of, policy(), lead()).run(at(60))
    assert [(send.email, send.visit) for send in world.sent] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("a", 4),
        ("b", 5),
    ]


# Windows, caps, grace


@pytest.mark.parametrize(
    ("zone", "opens"),
    [("America/New_York", at(1, 13)), ("Asia/Tokyo", at(2)), ("UTC", at(1, 9)), ("", at(1, 9))],
)
def test_a_touch_waits_for_the_window_on_the_clock_of_the_lead(zone: str, opens: datetime) -> None:
    seen = view("s0", lead=lead(zone=zone))
    assert held(ask(track(Mail(), window=OFFICE), seen, at(1, 8, 30)), HoldReason.SEND_WINDOW, opens)
    assert isinstance(ask(track(Mail(), window=OFFICE), seen, opens).actions[0], SendTouch)


def test_a_lead_without_a_zone_has_the_tracks() -> None:
    of = track(Mail(), window=OFFICE, zone_fallback="America/New_York")
    assert held(ask(of, view("s0", lead=lead(zone="")), START), HoldReason.SEND_WINDOW, at(1, 13))


def test_a_window_may_cross_midnight() -> None:
    world = World(
        track(Mail(), Mail(Delay(days=4)), Mail(Delay(days=1)), window=NIGHTS), policy(), lead()
    ).run(at(30))
    assert sends(world) == [("s0", at(1, 22)), ("s1", at(5, 22)), ("s2", at(8, 22))]


def test_a_hold_before_the_due_time_wakes_in_the_window() -> None:
    decision = ask(track(Mail(Delay(days=5)), window=OFFICE), view("s0"), at(2))
    assert held(decision, HoldReason.NOT_DUE, at(8, 9))
    assert decision.because == "s0 is due on 2026-06-06 08:00 UTC, and may go on 2026-06-08 09:00 UTC"


def test_the_cap_counts_touches_of_every_track_and_frees_them_in_turn() -> None:
    of = track(Mail(), cap=Cap(2, 7 * DAY))
    seen = view("s0", reached=at(8), recent=(at(3), at(5)))
    assert held(ask(of, seen, at(8)), HoldReason.FREQUENCY_CAP, at(10))
    assert isinstance(ask(of, seen, at(10)).actions[0], SendTouch)
    free = view("s0", reached=at(8), recent=(at(1), at(5)))
    assert isinstance(ask(of, free, at(8)).actions[0], SendTouch)


def test_window_and_cap_push_each_other_until_both_allow() -> None:
    of = track(Mail(), window=Window(frozenset({0}), time(9), time(10)), cap=Cap(1, 8 * DAY))
    seen = view("s0", recent=(at(1, 9, 30),), reached=at(2))
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
    of = track(Mail(), cap=Cap(1, 2 * DAY))
    seen = view("s0", reached=at(3), recent=(at(1, 2),))
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
    seen = view("s0", lead=lead(evidence_since=at(5)))
    assert ask(track(ONE), seen, at(5, 3)).actions[0].planned_at == at(5)  # type: ignore[union-attr]


# Waiting


def wait_up_to(up_to: Delay) -> Program:
    return track(Wait(Did(CLICKED), up_to, (Mail(step="yes"),), (Mail(step="no"),)))


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
    send = ask(
        wait_up_to(Delay(days=3)), seen, max(when, at(4, 8) + timedelta(microseconds=1)) + swept
    ).actions[0]
    assert isinstance(send, SendTouch)
    assert send.step == step
    if at(4, 8) + swept - when < 4 * HOUR:
        assert send.planned_at == when


def test_a_wait_holds_to_its_deadline() -> None:
    decision = ask(wait_up_to(Delay(days=3)), view("s0"), at(2))
    assert held(decision, HoldReason.WAITING, at(4, 8))
    assert decision.because == "s0: clicked not seen; waits until 2026-06-04 08:00 UTC"


def test_a_deadline_keeps_the_wall_clock_when_clocks_change() -> None:
    entered = datetime(2026, 3, 28, 11, tzinfo=UTC)
    seen = view("s0", lead=lead(zone="Europe/Berlin"), reached=entered)
    assert ask(wait_up_to(Delay(days=1)), seen, entered).wake_at == entered + 23 * HOUR


def test_a_wait_for_silence_ends_when_the_span_has_passed() -> None:
    of = track(Wait(Not(Did(CLICKED, within=2 * DAY)), Delay(days=9), (Mail(),)))
    world = World(of, policy(), lead(), start=at(1)).hears([signal(CLICKED, at(1)), signal(CLICKED, at(2))])
    world.run(at(30))
    assert sends(world) == [("s1", at(4) + timedelta(microseconds=1))]


def test_a_signal_told_late_counts_for_when_it_occurred() -> None:
    of = wait_up_to(Delay(days=3))
    world = World(of, policy(), lead(), fates=[(TouchState.ACCEPTED, HOUR)])
    world.hears([signal(CLICKED, at(2))], late=HOUR).run(at(30))
    assert [(send.step, send.planned_at, send.send_at) for send in world.sent] == [("yes", at(2), at(2, 1))]


def test_a_signal_told_after_the_deadline_changes_nothing() -> None:
    world = World(wait_up_to(Delay(days=3)), policy(), lead()).hears([signal(CLICKED, at(2))], late=5 * DAY)
    assert sends(world.run(at(30))) == [("no", at(4, 8))]


def test_an_empty_block_goes_on_behind_the_wait() -> None:
    of = track(Wait(Did(CLICKED), Delay(days=1)), ONE)
    assert sends(World(of, policy(), lead()).run(at(30))) == [("s3", at(2, 8))]


def test_a_clock_set_back_holds_and_goes_on_later() -> None:
    for of in (wait_up_to(Delay(days=3)), track(ONE)):
        decision = ask(of, view("s0"), START - 30 * DAY)
        assert decision.hold is not None
        assert decision.wake_at is not None
        assert decision.wake_at > START


# Branches, splits, facts


def test_a_branch_asks_how_things_were_when_it_was_reached() -> None:
    of = track(Mail(), Fork(Did(CLICKED, email="s0"), (Mail(step="yes"),), (Mail(step="no"),)))
    seen = view("s0", touches=(accepted("s0", START),), signals=(signal(CLICKED, at(1, 9), "s0"),))
    assert ask(of, seen, at(1, 9)).actions[0].step == "no"  # type: ignore[union-attr]


def test_a_fact_set_by_a_step_is_seen_by_the_next_branch() -> None:
    of = track(
        Note("kind", "a"), Fork(Field("kind", Comparison.IS, "A"), (Mail(step="yes"),), (Mail(step="no"),))
    )
    notes, send = ask(of, view("s0"), START).actions
    assert notes == NoteFact("kind", "a")
    assert send.step == "yes"  # type: ignore[union-attr]


def test_a_fact_set_before_a_hold_is_noted_and_not_set_again() -> None:
    of = track(Note("kind", "a"), ONE)
    decision = ask(of, view("s0"), START)
    assert (decision.actions, decision.hold) == ((NoteFact("kind", "a"),), HoldReason.NOT_DUE)
    assert decision.position is not None
    assert ask(of, view(decision.position.step), at(1, 9)).actions == ()


def test_a_split_sends_a_lead_down_one_arm() -> None:
    of = track(Arms(((1, (Mail(step="a"),)), (1, (Mail(step="b"),)))))
    steps = {number: ask(of, view("s0", lead=lead(id=number)), START).actions[0].step for number in range(20)}  # type: ignore[union-attr]
    assert set(steps.values()) == {"a", "b"}
    assert steps == {
        number: ask(of, view("s0", lead=lead(id=number)), START).actions[0].step for number in range(20)
    }  # type: ignore[union-attr]


# Rounds


def test_rounds_come_with_growing_pauses_as_often_as_asked() -> None:
    of = track(Round((Mail(),), every=7, growing=2, at_most=20, times=4), Mail(step="last"))
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
    assert decision.because == "s0: round 2 begins on 2026-06-08 08:00 UTC"


def test_years_of_rounds_are_caught_up_with() -> None:
    of = track(Round((Wait(Did(CLICKED), Delay(days=1)), Note("round", "on")), every=0.25))
    decision = ask(of, view("s0"), START + 3 * 365 * DAY)
    assert decision.hold in (HoldReason.WAITING, HoldReason.NOT_DUE)
    assert decision.position is not None
    assert decision.position.visit > 800


def test_going_round_without_end_leaves_for_a_person() -> None:
    of = program(Email("a", ("a",), Delay()), Jump(2), Jump(1), End("end", ToQueue("x")))
    decision = ask(of, view("a", touches=(accepted("a", START),)), at(2))
    assert decision.actions[0].to == ToQueue(Queue.NO_TRACK)  # type: ignore[union-attr]
    assert "goes round without an email or a wait" in decision.because


def test_a_round_without_a_body_only_pauses() -> None:
    of = program(Repeat("r", 7, 1, 60, 2, 1, 2), Again(0), End("end", ToQueue("x")))
    assert held(ask(of, view("r"), at(2)), HoldReason.NOT_DUE, at(8, 8))
    assert isinstance(ask(of, view("r"), at(8, 8)).actions[0], Leave)


# Handing off and leaving


def test_a_hand_off_step_offers_and_resumes_behind_it() -> None:
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
        (at(16, 8), Leave),
    ]


def test_an_offer_takes_the_touch_out_of_the_air_and_it_is_not_sent_twice() -> None:
    world = World(
        track(Mail(), ONE),
        policy(Did(REPLIED)),
        lead(),
        fates=[(TouchState.ACCEPTED, 9 * HOUR)],
        answers_after=3 * DAY,
    )
    world.hears([signal(REPLIED, at(1, 12))]).run(at(30))
    assert sends(world) == [("s0", at(1, 8)), ("s1", at(4, 12))]


def test_the_end_of_the_steps_is_where_finally_says() -> None:
    decision = ask(track(), view("finally"), START)
    assert (decision.actions, decision.wake_at, decision.hold) == ((GONE,), None, None)
    assert ask(track(Stop("later"), ONE), view("s0"), START).actions[0].to == ToQueue("later")  # type: ignore[union-attr]


# New versions


def test_a_lead_goes_on_by_step_id_in_a_new_version() -> None:
    before, after = track(ONE, Mail(step="b")), track(Mail(step="new"), Mail(step="b"), ONE)
    seen = view("b", reached=at(3))
    assert ask(before, seen, at(3)).actions == ask(after, seen, at(3)).actions


def test_a_lead_on_a_step_that_is_gone_goes_where_it_moved() -> None:
    of = track(ONE, Mail(step="b"), moved={"old": "b"})
    assert ask(of, view("old"), START).actions[0].step == "b"  # type: ignore[union-attr]


def test_a_lead_on_a_step_that_is_gone_for_good_waits_for_a_person() -> None:
    decision = ask(track(ONE, version=3), view("old"), START)
    assert decision.actions == (Leave(ToQueue(Queue.NO_TRACK), "step old is not in version 3 of warm"),)


def test_the_touch_of_a_step_that_is_gone_is_waited_for_and_counted_from() -> None:
    of = track(Mail(Delay(days=2), step="b"), moved={"old": "b"})
    flying = view("old", touches=(Touch("old", 1, TouchState.IN_AIR, at(2)),))
    assert held(ask(of, flying, at(3)), HoldReason.IN_AIR, at(5))
    landed = view("old", touches=(accepted("old", at(4)),))
    assert held(ask(of, landed, at(4)), HoldReason.NOT_DUE, at(6))


def test_a_touch_in_the_air_of_another_step_is_waited_for() -> None:
    seen = view("b", touches=(Touch("a", 1, TouchState.IN_AIR, at(2)),))
    assert held(ask(track(Mail(step="b")), seen, at(3)), HoldReason.IN_AIR, at(5))


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
