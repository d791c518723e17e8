"""Requests and interest: which is which, and that a newer request passes over whatever silences our mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.consent.suppression import Scope, Source, Standing
from nurture.domain.lead import ABSENCE, Custodian, Queue, Timeline, is_parked
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.conditions import Any as AnyOf
from nurture.domain.planning.conditions import (
    Comparison,
    Condition,
    DecidesWithin,
    Did,
    Every,
    Field,
    Newer,
    Not,
    Question,
    Score,
    evaluate,
)
from nurture.domain.planning.lead_view import View
from nurture.domain.planning.planner import Decision, HoldReason, OfferToSales, decide
from nurture.domain.planning.requests import CriterionKind, request_part, silent_since
from nurture.domain.policy.policy import Criterion
from nurture.domain.signals import Signal, SignalKind
from tests.domain.builders import DAY, HOUR, POINTS, START, Mail, at, lead, policy, signal, track, view

CLICKED, REPLIED, DEMO = SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.REQUESTED_DEMO
SUBMITTED = SignalKind.SUBMITTED
REQUEST, INTEREST = CriterionKind.REQUEST, CriterionKind.INTEREST
HOT = Score(at_least=3)
RULES = policy(Did(CLICKED), HOT, Did(DEMO), Did(REPLIED), DecidesWithin(20))
NO, NOW = at(5), at(9)
law = settings(max_examples=300, deadline=None, derandomize=True)


def refused(source: Source = Source.PAGE, when: datetime = NO, scope: Scope = Scope.GLOBAL) -> Standing:
    return Standing(scope, "" if scope is Scope.GLOBAL else "warm", source, when, when)


def in_queue(queue: str, **settings: Any) -> View:
    return replace(view("s0", custodian=Custodian.QUEUE, **settings), enrollment=None, queue=queue)


def asked(seen: View, now: datetime = NOW, rules: Any = RULES) -> Decision:
    return decide(seen, None if is_parked(seen.queue) else track(Mail(Delay(days=90))), rules, now)


def offers(decision: Decision) -> list[str]:
    return [action.rule for action in decision.actions if isinstance(action, OfferToSales)]


@pytest.mark.parametrize(
    ("when", "kind", "part"),
    [
        (Did(DEMO), None, Newer(Did(DEMO))),
        (Did(REPLIED, email="s0"), None, Newer(Did(REPLIED, email="s0"))),
        (DecidesWithin(90), None, Newer(DecidesWithin(90))),
        (Did(CLICKED), None, None),
        (HOT, None, None),
        (Did(SUBMITTED), None, None),
        (Did(SUBMITTED), REQUEST, Newer(Did(SUBMITTED))),
        (HOT, REQUEST, None),
        (Field("demo", Comparison.IS, True), REQUEST, None),
        (Not(Did(DEMO)), REQUEST, None),
        (Did(DEMO), INTEREST, None),
        (AnyOf((Did(DEMO), HOT)), None, Newer(Did(DEMO))),
        (AnyOf((Did(DEMO), Did(CLICKED))), REQUEST, AnyOf((Newer(Did(DEMO)), Newer(Did(CLICKED))))),
        (Every((HOT, Did(DEMO))), None, Every((HOT, Newer(Did(DEMO))))),
        (Every((Did(DEMO), Not(Did(REPLIED)))), None, Every((Newer(Did(DEMO)), Not(Did(REPLIED))))),
    ],
)
def test_a_criterion_is_a_request_as_far_as_it_rests_on_one(
    when: Condition, kind: CriterionKind | None, part: Condition | None
) -> None:
    assert request_part(when, kind) == part


def test_of_two_requests_that_are_both_needed_one_must_be_newer() -> None:
    part = request_part(Every((Did(DEMO), Did(REPLIED))))
    assert part is not None
    seen = view("s0", signals=(signal(DEMO, at(2)), signal(REPLIED, at(6))))
    assert evaluate(part, Question(seen, POINTS, newer_than=at(5)), at(9)).yes
    assert not evaluate(part, Question(seen, POINTS, newer_than=at(7)), at(9)).yes


# The guards that it passes, one by one

SILENCED: dict[str, dict[str, Any]] = {
    "paused": {"lead": lead(paused_until=at(25), paused_at=NO, paused_by="by the lead")},
    "paused before pauses had a time": {"lead": lead(paused_until=at(25))},
    "no basis": {"lead": lead(basis=None)},
    "suppressed by a record without a time": {"suppressed": "import (global)"},
    **{f"suppressed by {source}": {"standing": (refused(source),)} for source in Source},
    "its track": {"standing": (refused(scope=Scope.TRACK),)},
    "left in peace": {"reached": at(25)},
}


@pytest.mark.parametrize("silence", SILENCED.values(), ids=SILENCED)
@pytest.mark.parametrize("kind", [DEMO, REPLIED])
def test_a_request_newer_than_the_silence_is_offered(silence: dict[str, Any], kind: SignalKind) -> None:
    seen = view("s0", signals=(signal(kind, at(6)),), **silence)
    assert offers(asked(seen)) == ["c2" if kind is DEMO else "c3"]


@pytest.mark.parametrize("silence", [one for name, one in SILENCED.items() if name != "left in peace"])
def test_interest_stays_behind_the_silence(silence: dict[str, Any]) -> None:
    clicks = (signal(CLICKED, at(6)), signal(CLICKED, at(7)))
    assert offers(asked(view("s0", signals=clicks, **silence))) == []
    assert offers(asked(view("s0", signals=clicks))) == ["c0"]


@pytest.mark.parametrize("queue", ["no-basis", "no-address", "suppressed", "no-track", "by-hand"])
def test_a_lead_in_a_queue_is_asked_for_requests_alone(queue: str) -> None:
    clicks = (signal(CLICKED, at(6)), signal(CLICKED, at(7)))
    held = asked(in_queue(queue, signals=clicks))
    assert (held.actions, held.hold, held.wake_at) == ((), HoldReason.QUEUED, None)
    assert offers(asked(in_queue(queue, signals=(*clicks, signal(REPLIED, at(8)))))) == ["c3"]
    who = lead(timeline=Timeline(date(2026, 6, 30), at(2)))
    assert asked(in_queue(queue, lead=who)).wake_at == at(10)
    assert offers(asked(in_queue(queue, lead=who), at(10))) == ["c4"]
    assert asked(in_queue(queue, lead=lead(call_on=date(2026, 6, 12)))).wake_at == at(12)
    assert offers(asked(in_queue(queue, lead=lead(call_on=date(2026, 6, 12))), at(12))) == ["call-back"]


@pytest.mark.parametrize(
    "queue", [Queue.HAND_OFF, Queue.NO_REP, Queue.AMBIGUOUS, "account-unsure", "needs-country"]
)
def test_a_lead_of_which_somebody_decides_stays_there(queue: str) -> None:
    seen = replace(in_queue("x", signals=(signal(DEMO, at(6)),)), queue=queue)
    assert decide(seen, None, RULES, at(9)).actions == ()


def test_who_says_no_after_asking_is_left_alone_and_an_older_request_waits_for_the_pause_to_end() -> None:
    said = (signal(DEMO, at(4)),)
    assert offers(asked(view("s0", signals=said, standing=(refused(),)))) == []
    assert offers(asked(in_queue("suppressed", signals=said, standing=(refused(),)))) == []
    assert offers(asked(in_queue("suppressed", signals=(*said, signal(SignalKind.UNSUBSCRIBED, NO))))) == []
    paused = view("s0", signals=said, **SILENCED["paused"])
    assert (asked(paused).hold, asked(paused).wake_at) == (HoldReason.PAUSED, at(25))
    assert offers(asked(paused, at(25))) == ["c2"]


def test_at_the_same_moment_an_opt_out_wins_and_a_pause_does_not() -> None:
    said = (signal(DEMO, NO),)
    assert offers(asked(view("s0", signals=said, standing=(refused(),)))) == []
    assert offers(asked(view("s0", signals=said, **SILENCED["paused"]))) == ["c2"]


@pytest.mark.parametrize(
    "silence",
    [
        {"standing": (refused(Source.BOUNCE),)},
        {"lead": lead(paused_until=at(25), paused_at=NO, paused_by=ABSENCE)},
        {"lead": lead(basis=None)},
    ],
    ids=["a bounce", "an absence", "no basis"],
)
def test_what_nobody_wished_for_silences_no_request_however_old(silence: dict[str, Any]) -> None:
    assert offers(asked(view("s0", signals=(signal(DEMO, at(4)),), **silence))) == ["c2"]


def test_a_date_that_comes_near_wakes_a_paused_lead_and_hands_it_off() -> None:
    who = lead(timeline=Timeline(date(2026, 6, 30), at(2)), paused_until=at(25), paused_at=NO)
    assert asked(view("s0", lead=who)).wake_at == at(10)
    assert offers(asked(view("s0", lead=who), at(10))) == ["c4"]
    called = lead(call_on=date(2026, 6, 12), paused_until=at(25), paused_at=NO)
    assert asked(view("s0", lead=called)).wake_at == at(12)
    assert offers(asked(view("s0", lead=called), at(12))) == ["call-back"]


def test_what_a_rep_answered_is_spent() -> None:
    who = lead(evidence_since=at(8), basis=None)
    assert offers(asked(view("s0", lead=who, signals=(signal(DEMO, at(6)),)))) == []
    assert offers(asked(in_queue("no-basis", lead=who, signals=(signal(DEMO, at(6)),)))) == []


def test_a_request_that_rests_on_a_click_settles_first() -> None:
    rules = replace(policy(), criteria=(Criterion("priced", Did(CLICKED, link="/price"), REQUEST),))
    click = signal(CLICKED, at(9) - timedelta(seconds=10), link="/price", judged=True)
    seen = in_queue("no-basis", signals=(click,))
    held = asked(seen, rules=rules)
    assert (held.hold, held.wake_at) == (HoldReason.SETTLING, at(9) + timedelta(seconds=80))
    assert offers(asked(seen, at(9, 0, 2), rules)) == ["priced"]


# The laws

times = st.integers(0, 14 * 24).map(lambda hours: START + hours * HOUR)
signals = st.lists(
    st.builds(Signal, st.sampled_from([CLICKED, REPLIED, DEMO, SUBMITTED]), times), max_size=5
).map(lambda found: tuple(sorted(found, key=lambda one: one.occurred_at)))
leaves: Any = st.one_of(
    st.builds(Did, st.sampled_from([CLICKED, REPLIED, DEMO]), times=st.integers(1, 2)),
    st.builds(Did, st.sampled_from([CLICKED, REPLIED, DEMO]), within=st.sampled_from([2 * DAY, 9 * DAY])),
    st.builds(DecidesWithin, st.integers(0, 40)),
    st.builds(Score, at_least=st.sampled_from([1.0, 10.0])),
    st.just(Field("title", Comparison.IS, "head")),
)
conditions: Any = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Every(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=6,
)
timelines = st.none() | st.builds(Timeline, st.dates(date(2026, 6, 5), date(2026, 7, 20)), times)


@law
@given(conditions, st.sampled_from([None, REQUEST]), signals, timelines, times, st.none() | times)
def test_a_request_part_holds_only_where_all_holds_and_by_something_newer(
    when: Any, kind: Any, done: Any, timeline: Any, newer_than: Any, answered: Any
) -> None:
    part, now = request_part(when, kind), START + 15 * DAY
    if part is None:
        return
    who = lead(timeline=timeline, evidence_since=answered, facts={"title": "head"})
    seen = view("s0", lead=who, signals=done)
    about = Question(seen, POINTS, answered, answered, newer_than=newer_than)
    if evaluate(part, about, now).yes:
        assert evaluate(when, about, now).yes
        newer_signal = any(one.occurred_at >= newer_than for one in done)
        assert newer_signal or timeline is not None


STATES = st.fixed_dictionaries(
    {
        "pause": st.none()
        | st.tuples(st.sampled_from(["by the lead", "by hand", "by rep ana", ABSENCE]), times),
        "standing": st.lists(
            st.builds(refused, st.sampled_from(list(Source)), times, st.sampled_from(list(Scope))), max_size=3
        ),
        "basis": st.sampled_from([None, "consent"]),
        "queue": st.sampled_from(["", "no-basis", "no-address", "suppressed", "no-track", "by-hand"]),
        "reached": st.sampled_from([START, at(28)]),
        "answered": st.none() | times,
        "done": signals,
        "kind": st.sampled_from([DEMO, REPLIED]),
    }
)


def _seen(state: dict[str, Any], *more: Signal) -> View:
    pause = state["pause"]
    who = lead(
        basis=state["basis"],
        evidence_since=state["answered"],
        paused_until=at(28) if pause else None,
        paused_at=pause[1] if pause else None,
        paused_by=pause[0] if pause else "",
    )
    done = tuple(sorted((*state["done"], *more), key=lambda one: one.occurred_at))
    settings = {"lead": who, "signals": done, "standing": tuple(state["standing"])}
    return (
        in_queue(state["queue"], **settings)
        if state["queue"]
        else view("s0", reached=state["reached"], **settings)
    )


@law
@given(STATES, st.integers(1, 200))
def test_after_a_request_no_state_keeps_the_lead_from_sales(state: dict[str, Any], later: int) -> None:
    """The request is newer than all that was before; whoever looks at whatever time after finds it."""
    said = at(16)
    decision = asked(_seen(state, Signal(state["kind"], said)), said + later * HOUR)
    assert len(offers(decision)) == 1
    assert decision.wake_at is None


@law
@given(STATES)
def test_without_a_newer_request_nothing_passes_what_silences_the_mail(state: dict[str, Any]) -> None:
    seen, now = _seen(state), at(16)
    since = max(filter(None, (silent_since(seen, now), state["answered"])), default=None)
    newer = [
        one
        for one in seen.signals
        if one.kind in (DEMO, REPLIED) and (since is None or one.occurred_at >= since)
    ]
    stopped = not seen.lead.basis or bool(seen.queue) or bool(state["pause"])
    stopped = stopped or any(one.scope is not Scope.TOPIC for one in seen.standing)
    if stopped:
        assert bool(offers(asked(seen, now))) == bool(newer)
