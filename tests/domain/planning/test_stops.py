"""Laws of stops: no email of a stopped track is planned, and a lead that asks for a person is offered all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.delivery.stops import ALL_TRACKS, Stop, StopAction, find_stop
from nurture.domain.lead import Custodian
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.conditions import ScoreCondition, SignalCondition
from nurture.domain.planning.guards import requested
from nurture.domain.planning.planner import DecisionContext, EndEnrollment, HoldReason, OfferToSales, decide
from nurture.domain.planning.program import ToTrack
from nurture.domain.signals import SignalKind
from tests.domain.builders import DAY, HOUR, NO_ENTRIES, START, Mail, Wait, lead, policy, signal, track, view

TRACK = track(Wait(SignalCondition(SignalKind.CLICKED), Delay(days=2)), Mail(Delay(days=1)), Mail(Delay(days=3)))
RULES = policy(
    SignalCondition(SignalKind.REQUESTED_DEMO), SignalCondition(SignalKind.REPLIED), ScoreCondition(at_least=9)
)
ACTIONS = [StopAction.STOP, StopAction.STOP_ALL, StopAction.RETIRE]
SIGNALS = st.lists(
    st.builds(
        lambda kind, hours: signal(kind, START + hours * HOUR),
        st.sampled_from([SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.REQUESTED_DEMO, SignalKind.VISITED]),
        st.integers(0, 300),
    ),
    max_size=5,
).map(lambda found: tuple(sorted(found, key=lambda one: one.occurred_at)))


def _stop(of: str, action: StopAction = StopAction.STOP) -> dict[str, Stop]:
    move_to = "other" if action is StopAction.RETIRE else ""
    return {of: Stop(of, action, "wrong price", "mara", START, move_to)}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    signals=SIGNALS,
    hours=st.integers(0, 400),
    step=st.sampled_from(["s0", "s1", "s2"]),
    of=st.sampled_from(["warm", ALL_TRACKS]),
    paused=st.none() | st.integers(0, 400),
)
def test_a_stop_plans_no_email_and_changes_nothing_about_requests(
    signals: tuple[object, ...], hours: int, step: str, of: str, paused: int | None
) -> None:
    now = START + hours * HOUR
    until = None if paused is None else START + paused * HOUR
    seen = view(step, signals=signals, lead=lead(paused_until=until, paused_at=until and START))
    stopped = replace(seen, stops=_stop(of))
    free, held = decide(seen, TRACK, NO_ENTRIES, RULES, now), decide(stopped, TRACK, NO_ENTRIES, RULES, now)
    if requested(DecisionContext(seen, TRACK, RULES, now)) is not None:
        assert held == free
        assert isinstance(held.actions[0], OfferToSales)
        return
    assert (held.actions, held.hold) == ((), HoldReason.STOPPED)
    assert held.position == seen.enrollment.position  # type: ignore[union-attr]
    assert held.wake_at is not None
    assert now < held.wake_at <= now + 7 * DAY


def test_a_retired_track_moves_its_leads_whether_mail_is_stopped_or_not() -> None:
    stops = _stop("warm", StopAction.RETIRE) | _stop(ALL_TRACKS)
    decision = decide(view("s0", stops=stops), TRACK, NO_ENTRIES, RULES, START + HOUR)
    (action,) = decision.actions
    assert isinstance(action, EndEnrollment)
    assert action.destination == ToTrack("other")


@pytest.mark.parametrize("custodian", [Custodian.OFFER, Custodian.REP])
def test_a_lead_with_sales_stays_there(custodian: Custodian) -> None:
    decision = decide(
        view("s0", stops=_stop("warm"), custodian=custodian), TRACK, NO_ENTRIES, RULES, START + timedelta(hours=1)
    )
    assert decision.hold is HoldReason.WITH_SALES


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("of", ["warm", ALL_TRACKS])
def test_a_stop_covers_its_track_and_sales_only_if_all_mail_is_stopped(of: str, action: StopAction) -> None:
    stops = _stop(of, action)
    assert find_stop(stops, "warm", to_lead=True) == stops[of]
    assert (find_stop(stops, "other", to_lead=True) is None) == (of == "warm")
    stops_sales = of == ALL_TRACKS and action is StopAction.STOP_ALL
    assert (find_stop(stops, "warm", to_lead=False) is not None) == stops_sales
