"""Tiers of speed: a demo request has minutes, other hand-offs have hours; a hot lead waits for no single rep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.handoff import follow_up, responses
from nurture.journey.handoff.reassign import reassign
from nurture.journey.routing.replay import replay
from nurture.reporting.speed import report_speed
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.test_sla_sweep import escalation_rules
from tests.journey.observe import custody, due_at, record_signal, rows

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 1, 5, 10, tzinfo=UTC)
TIERS = """
tiers:
  - name: demo
    rules: [ready]
    wait: 30 minutes
    accept: {remind: 15 business minutes, escalate: 30 business minutes, take_back: 1 business hour, reroute: 2}
priority: {hot: [ready], aging_interval: 1 day}
routing:
  - {name: account, to: account owner}
  - {name: oslo, when: {field: city, is: Oslo}, to: {rep: ana}}
  - {name: rest, when: always, to: {pool: everyone}}
"""


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    rules = escalation_rules()
    rules["sales/policy.yaml"] += TIERS
    return make_context(sqlite_db, tmp_path, MONDAY, rules)


def test_a_demo_request_is_escalated_within_minutes_and_a_reply_within_hours(ctx: AppContext) -> None:
    demo = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    reply = add_lead(ctx, title="Head", at=MONDAY)
    record_signal(ctx, reply, SignalKind.REPLIED, MONDAY)
    run_at(ctx, MONDAY)
    assert (due_at(ctx, demo), due_at(ctx, reply)) == (MONDAY + 15 * MINUTE, MONDAY + 2 * HOUR)
    run_at(ctx, *(MONDAY + minutes * MINUTE for minutes in (15, 30, 60)))
    of_lead = "SELECT rep, state, tier, round FROM offer WHERE lead_id = :id ORDER BY id"
    assert [row[1:] for row in rows(ctx, of_lead, id=demo)] == [("expired", "demo", 1), ("offered", "demo", 2)]
    assert [row[1:] for row in rows(ctx, of_lead, id=reply)] == [("offered", None, 1)]
    run_at(ctx, *(MONDAY + hours * HOUR for hours in (2, 3, 4)))
    assert custody(ctx, demo) == ("queue", "manager-decision")
    assert len(rows(ctx, of_lead, id=demo)) == 3


@pytest.mark.parametrize("stage", [None, "in talks"])
def test_a_tier_paces_a_lead_until_its_first_contact_and_not_in_talks(
    sqlite_db: Database, tmp_path: Path, stage: str | None
) -> None:
    rules = escalation_rules()
    fast = "    follow_up: {remind: 1 business hour, escalate: 2 business hours, take_back: 3 business hours}\n"
    policy = rules["sales/policy.yaml"] + TIERS.replace("priority:", f"{fast}priority:")
    rules["sales/policy.yaml"] = policy + 'next_touch_within: {"followed up": 7 days, "in talks": 7 days}\n'
    ctx = make_context(sqlite_db, tmp_path, MONDAY, rules)
    silent, new = (add_lead(ctx, demo_requested=True, title="Head", at=MONDAY) for _ in range(2))
    run_at(ctx, MONDAY)
    for offer in (1, 2):
        responses.accept(ctx, offer, MONDAY)
    assert due_at(ctx, new) == MONDAY + HOUR
    follow_up.record_follow_up(ctx, silent, "call", MONDAY, stage=stage)
    asked = MONDAY + 7 * DAY + HOUR
    run_at(ctx, asked, asked + 3 * HOUR)
    assert custody(ctx, silent)[0] == "rep"
    assert custody(ctx, new)[0] != "rep"
    assert due_at(ctx, silent) == asked + 2 * DAY  # `escalate` of `sla`
    run_at(ctx, asked + 2 * DAY)
    assert (due_at(ctx, silent), custody(ctx, silent)[0]) == (asked + 3 * DAY, "rep")
    run_at(ctx, asked + 3 * DAY)
    assert custody(ctx, silent)[0] != "rep"


def test_a_hot_lead_waits_for_the_room_of_one_rep_as_long_as_its_tier_says(ctx: AppContext) -> None:
    for _ in range(5):  # Ana's capacity of a day
        add_lead(ctx, demo_requested=True, title="Head", city="Oslo", at=MONDAY)
    hot = add_lead(ctx, demo_requested=True, title="Head", city="Oslo", at=MONDAY)
    warm = add_lead(ctx, title="Head", city="Oslo", at=MONDAY)
    record_signal(ctx, warm, SignalKind.REPLIED, MONDAY)
    run_at(ctx, MONDAY)
    assert custody(ctx, hot) == custody(ctx, warm) == ("queue", "hand-off")
    assert due_at(ctx, hot) == MONDAY + 30 * MINUTE
    run_at(ctx, MONDAY + 30 * MINUTE)
    assert custody(ctx, hot)[0] == "offer"
    assert rows(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=hot) != [("ana",)]
    assert custody(ctx, warm) == ("queue", "hand-off")
    result = replay(ctx)
    assert (result.decisions, result.differences) == (6, [])


def test_the_report_measures_each_tier_from_the_signal_to_the_first_contact(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    reply = add_lead(ctx, title="Head", at=MONDAY)
    record_signal(ctx, reply, SignalKind.REPLIED, MONDAY - 20 * MINUTE)
    run_at(ctx, MONDAY)
    responses.accept(ctx, 1, MONDAY + 5 * MINUTE)
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + 12 * MINUTE)
    run_at(ctx, MONDAY + 2 * DAY)
    demo, others = report_speed(ctx, MONDAY - DAY)
    assert (demo.tier, demo.offers, demo.signal_to_brief_p95, demo.brief_to_touch_p50) == ("demo", 1, 0.0, 12.0)
    assert (others.tier, others.signal_to_brief_p50, others.brief_to_touch_p50) == ("no tier", 20.0, None)
    assert (demo.taken_back, others.taken_back) == (0, 1)
    assert report_speed(ctx, MONDAY + DAY) != [demo, others]
    reassign(ctx, 1, "ben" if custody(ctx, lead)[1] == "ana" else "ana", MONDAY + 3 * DAY)
    run_at(ctx, MONDAY + 3 * DAY)
    again = report_speed(ctx, MONDAY - DAY)[0]
    assert (again.offers, again.signal_to_brief_p95) == (2, 0.0), "a later offer says nothing about the first one"


def test_a_hand_off_on_a_date_that_was_stated_long_before_is_not_slow(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", at=MONDAY)
    record_signal(ctx, lead, SignalKind.DECIDING, MONDAY - 60 * DAY, f"{MONDAY + 20 * DAY:%Y-%m-%d}")
    run_at(ctx, MONDAY)
    (found,) = report_speed(ctx, MONDAY)
    assert (found.offers, found.signal_to_brief_p95) == (1, None)
