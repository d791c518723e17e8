"""A lead that asked to be called on a day is offered when that day begins in its time zone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from nurture.domain.lead import Lead
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.planner import HoldReason, OfferToSales, decide
from nurture.domain.planning.program import Program
from tests.domain.builders import DAY, NO_ENTRIES, START, Mail, Round, at, lead, policy, track, view

CALLED = lead(call_on=date(2026, 7, 1), zone="Europe/Berlin")
BEGINS = at(31) - timedelta(hours=2)  # 1 July, local time


def _on_step(program: Program, who: Lead = CALLED) -> LeadView:
    return view(program.first_step, lead=who)


@pytest.mark.parametrize("program", [track(Round((Mail(),))), track()], ids=["goes-round", "has-run-out"])
def test_it_waits_for_the_day_and_is_offered_when_it_begins_even_if_the_track_ends_before(program: Program) -> None:
    asked = _on_step(program)
    now = BEGINS - timedelta(seconds=1)
    before = decide(asked, program, NO_ENTRIES, policy(), now)
    assert not any(isinstance(action, OfferToSales) for action in before.actions)
    assert before.wake_at is not None
    assert before.wake_at <= BEGINS
    offered = decide(asked, program, NO_ENTRIES, policy(), BEGINS)
    assert offered.actions == (OfferToSales("call-back", "asked to be called on 2026-07-01"),)


def test_a_finished_track_keeps_the_lead_until_then() -> None:
    program = track()
    held = decide(_on_step(program), program, NO_ENTRIES, policy(), START)
    assert (held.hold, held.wake_at, held.actions) == (HoldReason.WAITING, BEGINS, ())
    assert held.position is not None
    seen = _on_step(program)
    assert seen.enrollment is not None
    later = replace(seen, enrollment=replace(seen.enrollment, position=held.position))
    assert decide(later, program, NO_ENTRIES, policy(), START + DAY).wake_at == BEGINS
