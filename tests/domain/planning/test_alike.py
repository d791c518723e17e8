"""Leads with one key get one decision, whatever else is different about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.consent.statements import grant, withdrawal
from nurture.domain.lead import Lead, Timeline
from nurture.domain.planning.alike import Decider, DecisionInputs
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import FieldCondition
from nurture.domain.planning.frequency_cap import CountedEmail
from nurture.domain.planning.lead_view import LeadView, PastStay, Touch, TouchState
from nurture.domain.planning.planner import decide
from tests.domain.builders import CONSENT, DAY, HOUR, NO_ENTRIES, START, UNSUBSCRIBED, Mail, World, policy, track
from tests.domain.planning.test_planner_laws import brief_law, lives

NOTABLE_FIELDS = [{}, {"flag": True}, {"flag": 1}, {"flag": "x"}, {"due": "2026-06-03"}, {"first_name": "Ada"}]


def twins(one: LeadView, now: Any) -> list[LeadView]:
    """Return leads that differ from *one* in one thing each."""
    lead, stay = one.lead, one.enrollment
    assert stay is not None
    leads: list[Lead] = [
        *(replace(lead, fields={**lead.fields, **more}) for more in NOTABLE_FIELDS),
        *(replace(lead, zone=zone) for zone in ("", "Asia/Tokyo")),
        replace(lead, holidays=frozenset({date(2026, 6, day) for day in range(1, 20)})),
        replace(lead, timeline=Timeline(now.date() + 5 * DAY, now - DAY)),
        replace(lead, signals_since=now - HOUR),
        replace(lead, paused_until=now + DAY, paused_at=now - DAY, paused_by="operator"),
        replace(lead, call_on=now.date()),
        replace(lead, touch_interval=30 * DAY),
        replace(lead, first_contact_at=now - 400 * DAY),
        replace(lead, is_customer=True),
        replace(lead, owner="Ada"),
    ]
    stays = [replace(stay, entered_at=stay.entered_at - DAY), replace(stay, id=7), replace(stay, ended=True)]
    places = [replace(stay.position, **{name: getattr(stay.position, name) - DAY}) for name in ("anchor", "reached_at")]
    stays += [replace(stay, position=place) for place in (*places, replace(stay.position, visit=2))]
    return [
        replace(one, lead=replace(lead, id=9)),
        *(replace(one, lead=other) for other in leads),
        *(replace(one, enrollment=other) for other in stays),
        replace(one, touches=(*one.touches, Touch("s1", 1, TouchState.UNKNOWN, now))),
        replace(one, counted_emails=(*one.counted_emails, CountedEmail(now - HOUR))),
        replace(one, statements=(grant("contract", "a file", None, now - timedelta(days=3)),)),
        replace(one, statements=(grant("consent", "a file", None, now + DAY),)),
        replace(one, statements=(*CONSENT, withdrawal("a file", None, now - HOUR))),
        replace(one, statements=()),
        replace(one, suppressions=UNSUBSCRIBED),
        replace(one, reps_full_until=now + DAY),
        replace(one, past_stays=(PastStay(replace(stay, id=8, ended=True), now - DAY),)),
        replace(one, excluded_from=frozenset({stay.track})),
        replace(one, colleague_with_sales=4),
        replace(one, received=frozenset({f"{stay.track}/s0"})),
    ]


@brief_law
@given(lives(), st.integers(0, 30 * 24))
def test_leads_with_one_key_get_one_decision(life: Any, hours: int) -> None:
    world = life()
    world.run(world.start + hours * HOUR)
    seen, program, rules, now = world.view(), world.program, world.policy, world.now
    inputs = DecisionInputs.of([program], rules)
    key = inputs.key(seen, program, now)
    for twin in twins(seen, now) if key is not None else ():
        if inputs.key(twin, program, now) == key:
            assert decide(twin, program, NO_ENTRIES, rules, now) == decide(seen, program, NO_ENTRIES, rules, now)


def test_what_no_rule_asks_for_is_decided_once_and_what_a_lead_did_by_itself() -> None:
    program = track(Mail())
    rules = policy(FieldCondition("company", Comparison.EXISTS, True))
    inputs = DecisionInputs.of([program], rules)
    world = World(program, rules, Lead(1, {"company": "Acme", "first_name": "Ada"}, holidays=frozenset()))
    seen = world.view()
    same = replace(seen, lead=replace(seen.lead, id=2, fields={"company": "Other", "first_name": "Bob"}))
    other = replace(seen, lead=replace(seen.lead, id=3, fields={"first_name": "Bob"}))
    decider = Decider(inputs, NO_ENTRIES, rules, START, repr)
    assert decider.decide(seen, program) is decider.decide(same, program)
    first = decide(other, program, NO_ENTRIES, rules, START)
    assert decider.decide(other, program) == (first, repr(first)) != decider.decide(seen, program)
    assert inputs.key(replace(seen, suppressions=UNSUBSCRIBED), program, START) is None
    assert inputs.key(replace(seen, statements=()), program, START) != inputs.key(seen, program, START)
