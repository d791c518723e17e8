"""Requests and interest, and that a newer request passes every guard that silences our mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.consent.statements import withdrawal
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, SuppressionSource
from nurture.domain.lead import Custodian, PausedBy, Queue, Timeline, is_parked
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    EvaluationContext,
    FieldCondition,
    NewerThan,
    Not,
    ScoreCondition,
    SignalCondition,
    evaluate,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.planner import Decision, HoldReason, OfferToSales, decide
from nurture.domain.planning.requests import CriterionKind, request_part, silenced_since
from nurture.domain.policy.policy import Criterion
from nurture.domain.signals import Signal, SignalKind
from tests.domain.builders import (
    CONSENT,
    DAY,
    HOUR,
    NO_ENTRIES,
    POINTS,
    START,
    Mail,
    at,
    lead,
    policy,
    signal,
    track,
    view,
)

CLICKED, REPLIED, DEMO = SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.REQUESTED_DEMO
SUBMITTED = SignalKind.SUBMITTED
REQUEST, INTEREST = CriterionKind.REQUEST, CriterionKind.INTEREST
HOT = ScoreCondition(at_least=3)
RULES = policy(SignalCondition(CLICKED), HOT, SignalCondition(DEMO), SignalCondition(REPLIED), DecidesWithin(20))
NO, NOW = at(5), at(9)
law = settings(max_examples=300, deadline=None, derandomize=True)


def opted_out(
    source: SuppressionSource = SuppressionSource.PAGE,
    when: datetime = NO,
    scope: SuppressionScope = SuppressionScope.GLOBAL,
) -> ActiveSuppression:
    return ActiveSuppression(scope, "" if scope is SuppressionScope.GLOBAL else "warm", source, when, when)


def in_queue(queue: str, **settings: Any) -> LeadView:
    return replace(view("s0", custodian=Custodian.QUEUE, **settings), enrollment=None, queue=queue)


def decided(seen: LeadView, now: datetime = NOW, rules: Any = RULES) -> Decision:
    return decide(seen, None if is_parked(seen.queue) else track(Mail(Delay(days=90))), NO_ENTRIES, rules, now)


def offers(decision: Decision) -> list[str]:
    return [action.rule for action in decision.actions if isinstance(action, OfferToSales)]


@pytest.mark.parametrize(
    ("when", "kind", "part"),
    [
        (SignalCondition(DEMO), None, NewerThan(SignalCondition(DEMO))),
        (SignalCondition(REPLIED, email="s0"), None, NewerThan(SignalCondition(REPLIED, email="s0"))),
        (DecidesWithin(90), None, NewerThan(DecidesWithin(90))),
        (SignalCondition(CLICKED), None, None),
        (HOT, None, None),
        (SignalCondition(SUBMITTED), None, None),
        (SignalCondition(SUBMITTED), REQUEST, NewerThan(SignalCondition(SUBMITTED))),
        (HOT, REQUEST, None),
        (FieldCondition("demo", Comparison.IS, True), REQUEST, None),
        (Not(SignalCondition(DEMO)), REQUEST, None),
        (SignalCondition(DEMO), INTEREST, None),
        (AnyOf((SignalCondition(DEMO), HOT)), None, NewerThan(SignalCondition(DEMO))),
        (
            AnyOf((SignalCondition(DEMO), SignalCondition(CLICKED))),
            REQUEST,
            AnyOf((NewerThan(SignalCondition(DEMO)), NewerThan(SignalCondition(CLICKED)))),
        ),
        (AllOf((HOT, SignalCondition(DEMO))), None, AllOf((HOT, NewerThan(SignalCondition(DEMO))))),
        (
            AllOf((SignalCondition(DEMO), Not(SignalCondition(REPLIED)))),
            None,
            AllOf((NewerThan(SignalCondition(DEMO)), Not(SignalCondition(REPLIED)))),
        ),
    ],
)
def test_a_criterion_is_reduced_to_its_requests(
    when: Condition, kind: CriterionKind | None, part: Condition | None
) -> None:
    assert request_part(when, kind) == part


def test_of_two_requests_that_are_both_needed_one_must_be_newer() -> None:
    part = request_part(AllOf((SignalCondition(DEMO), SignalCondition(REPLIED))))
    assert part is not None
    seen = view("s0", signals=(signal(DEMO, at(2)), signal(REPLIED, at(6))))
    assert evaluate(part, EvaluationContext(seen, POINTS, newer_than=at(5)), at(9)).met
    assert not evaluate(part, EvaluationContext(seen, POINTS, newer_than=at(7)), at(9)).met


# The guards that it passes, one by one

SILENCED: dict[str, dict[str, Any]] = {
    "paused": {"lead": lead(paused_until=at(25), paused_at=NO, paused_by=PausedBy.PREFERENCE_PAGE)},
    "paused before pauses had a time": {"lead": lead(paused_until=at(25))},
    "no basis": {"statements": ()},
    "withdrawn by a record": {"statements": (*CONSENT, withdrawal("crm", NO, NO))},
    **{f"suppressed by {source}": {"suppressions": (opted_out(source),)} for source in SuppressionSource},
    "its track": {"suppressions": (opted_out(scope=SuppressionScope.TRACK),)},
    "in its cool-off": {"reached": at(25)},
}


@pytest.mark.parametrize("silence", SILENCED.values(), ids=SILENCED)
@pytest.mark.parametrize("kind", [DEMO, REPLIED])
def test_a_request_newer_than_the_silence_is_offered(silence: dict[str, Any], kind: SignalKind) -> None:
    seen = view("s0", signals=(signal(kind, at(6)),), **silence)
    assert offers(decided(seen)) == ["c2" if kind is DEMO else "c3"]


@pytest.mark.parametrize("silence", [one for name, one in SILENCED.items() if name != "in its cool-off"])
def test_interest_stays_behind_the_silence(silence: dict[str, Any]) -> None:
    clicks = (signal(CLICKED, at(6)), signal(CLICKED, at(7)))
    assert offers(decided(view("s0", signals=clicks, **silence))) == []
    assert offers(decided(view("s0", signals=clicks))) == ["c0"]


@pytest.mark.parametrize("queue", ["no-consent-basis", "no-address", "suppressed", "track-missing", "by-hand"])
def test_a_lead_in_a_queue_is_asked_for_requests_alone(queue: str) -> None:
    clicks = (signal(CLICKED, at(6)), signal(CLICKED, at(7)))
    held = decided(in_queue(queue, signals=clicks))
    assert (held.actions, held.hold, held.wake_at) == ((), HoldReason.QUEUED, None)
    assert offers(decided(in_queue(queue, signals=(*clicks, signal(REPLIED, at(8)))))) == ["c3"]
    who = lead(timeline=Timeline(date(2026, 6, 30), at(2)))
    assert decided(in_queue(queue, lead=who)).wake_at == at(10)
    assert offers(decided(in_queue(queue, lead=who), at(10))) == ["c4"]
    assert decided(in_queue(queue, lead=lead(call_on=date(2026, 6, 12)))).wake_at == at(12)
    assert offers(decided(in_queue(queue, lead=lead(call_on=date(2026, 6, 12))), at(12))) == ["call-back"]


@pytest.mark.parametrize("queue", [Queue.HAND_OFF, Queue.NO_REP, Queue.AMBIGUOUS, "account-ambiguous", "missing-field"])
def test_a_lead_that_waits_for_a_decision_stays_in_its_queue(queue: str) -> None:
    seen = replace(in_queue("x", signals=(signal(DEMO, at(6)),)), queue=queue)
    assert decide(seen, None, NO_ENTRIES, RULES, at(9)).actions == ()


def test_an_opt_out_after_a_request_wins_and_an_older_request_waits_for_the_pause_to_end() -> None:
    said = (signal(DEMO, at(4)),)
    assert offers(decided(view("s0", signals=said, suppressions=(opted_out(),)))) == []
    assert offers(decided(in_queue("suppressed", signals=said, suppressions=(opted_out(),)))) == []
    assert offers(decided(in_queue("suppressed", signals=(*said, signal(SignalKind.UNSUBSCRIBED, NO))))) == []
    paused = view("s0", signals=said, **SILENCED["paused"])
    assert (decided(paused).hold, decided(paused).wake_at) == (HoldReason.PAUSED, at(25))
    assert offers(decided(paused, at(25))) == ["c2"]


def test_at_the_same_time_an_opt_out_wins_and_a_pause_does_not() -> None:
    said = (signal(DEMO, NO),)
    assert offers(decided(view("s0", signals=said, suppressions=(opted_out(),)))) == []
    assert offers(decided(view("s0", signals=said, **SILENCED["paused"]))) == ["c2"]


@pytest.mark.parametrize(
    "silence",
    [
        {"suppressions": (opted_out(SuppressionSource.BOUNCE),)},
        {"lead": lead(paused_until=at(25), paused_at=NO, paused_by=PausedBy.OUT_OF_OFFICE)},
        {"statements": ()},
    ],
    ids=["a bounce", "an absence", "no basis"],
)
def test_a_bounce_an_absence_and_no_basis_silence_no_request(silence: dict[str, Any]) -> None:
    assert offers(decided(view("s0", signals=(signal(DEMO, at(4)),), **silence))) == ["c2"]


def test_a_date_that_comes_near_wakes_a_paused_lead_and_hands_it_off() -> None:
    who = lead(timeline=Timeline(date(2026, 6, 30), at(2)), paused_until=at(25), paused_at=NO)
    assert decided(view("s0", lead=who)).wake_at == at(10)
    assert offers(decided(view("s0", lead=who), at(10))) == ["c4"]
    called = lead(call_on=date(2026, 6, 12), paused_until=at(25), paused_at=NO)
    assert decided(view("s0", lead=called)).wake_at == at(12)
    assert offers(decided(view("s0", lead=called), at(12))) == ["call-back"]


def test_an_answered_request_does_not_count_again() -> None:
    who = lead(signals_since=at(8))
    assert offers(decided(view("s0", lead=who, statements=(), signals=(signal(DEMO, at(6)),)))) == []
    assert offers(decided(in_queue("no-consent-basis", lead=who, statements=(), signals=(signal(DEMO, at(6)),)))) == []


def test_a_request_by_a_click_has_a_grace_period() -> None:
    rules = replace(policy(), criteria=(Criterion("priced", SignalCondition(CLICKED, link="/price"), REQUEST),))
    click = signal(CLICKED, at(9) - timedelta(seconds=10), link="/price", auto_classified=True)
    seen = in_queue("no-consent-basis", signals=(click,))
    held = decided(seen, rules=rules)
    assert (held.hold, held.wake_at) == (HoldReason.CLICK_GRACE, at(9) + timedelta(seconds=80))
    assert offers(decided(seen, at(9, 0, 2), rules)) == ["priced"]


# The laws

times = st.integers(0, 14 * 24).map(lambda hours: START + hours * HOUR)
signals = st.lists(st.builds(Signal, st.sampled_from([CLICKED, REPLIED, DEMO, SUBMITTED]), times), max_size=5).map(
    lambda found: tuple(sorted(found, key=lambda one: one.occurred_at))
)
leaves: Any = st.one_of(
    st.builds(SignalCondition, st.sampled_from([CLICKED, REPLIED, DEMO]), times=st.integers(1, 2)),
    st.builds(SignalCondition, st.sampled_from([CLICKED, REPLIED, DEMO]), within=st.sampled_from([2 * DAY, 9 * DAY])),
    st.builds(DecidesWithin, st.integers(0, 40)),
    st.builds(ScoreCondition, at_least=st.sampled_from([1.0, 10.0])),
    st.just(FieldCondition("title", Comparison.IS, "head")),
)
conditions: Any = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
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
    who = lead(timeline=timeline, signals_since=answered, fields={"title": "head"})
    seen = view("s0", lead=who, signals=done)
    context = EvaluationContext(seen, POINTS, answered, answered, newer_than=newer_than)
    if evaluate(part, context, now).met:
        assert evaluate(when, context, now).met
        newer_signal = any(one.occurred_at >= newer_than for one in done)
        assert newer_signal or timeline is not None


STATES = st.fixed_dictionaries(
    {
        "pause": st.none() | st.tuples(st.sampled_from(list(PausedBy)), times),
        "suppressions": st.lists(
            st.builds(
                opted_out, st.sampled_from(list(SuppressionSource)), times, st.sampled_from(list(SuppressionScope))
            ),
            max_size=3,
        ),
        "statements": st.sampled_from([(), CONSENT]),
        "queue": st.sampled_from(["", "no-consent-basis", "no-address", "suppressed", "track-missing", "by-hand"]),
        "reached": st.sampled_from([START, at(28)]),
        "answered": st.none() | times,
        "done": signals,
        "kind": st.sampled_from([DEMO, REPLIED]),
    }
)


def _view(state: dict[str, Any], *more: Signal) -> LeadView:
    pause = state["pause"]
    who = lead(
        signals_since=state["answered"],
        paused_until=at(28) if pause else None,
        paused_at=pause[1] if pause else None,
        paused_by=pause[0] if pause else "",
    )
    done = tuple(sorted((*state["done"], *more), key=lambda one: one.occurred_at))
    settings = {"lead": who, "signals": done, "suppressions": tuple(state["suppressions"])} | {
        "statements": state["statements"]
    }
    return in_queue(state["queue"], **settings) if state["queue"] else view("s0", reached=state["reached"], **settings)


@law
@given(STATES, st.integers(1, 200))
def test_after_a_request_no_state_keeps_the_lead_from_sales(state: dict[str, Any], later: int) -> None:
    """The request is newer than everything before; any later run finds it."""
    said = at(16)
    decision = decided(_view(state, Signal(state["kind"], said)), said + later * HOUR)
    assert len(offers(decision)) == 1
    assert decision.wake_at is None


@law
@given(STATES)
def test_without_a_newer_request_nothing_passes_what_silences_the_mail(state: dict[str, Any]) -> None:
    seen, now = _view(state), at(16)
    since = max(filter(None, (silenced_since(seen, now), state["answered"])), default=None)
    newer = [one for one in seen.signals if one.kind in (DEMO, REPLIED) and (since is None or one.occurred_at >= since)]
    stopped = not seen.statements or bool(seen.queue) or bool(state["pause"])
    stopped = stopped or any(one.scope is not SuppressionScope.TOPIC for one in seen.suppressions)
    if stopped:
        assert bool(offers(decided(seen, now))) == bool(newer)
