"""Test planning a broadcast: who gets it, once, at which time, and who does not and why."""

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.broadcasts import plan, release
from nurture.journey.consent.suppression import suppress
from nurture.reporting import explain
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.journey.broadcasts.world import (
    DAY,
    HOUR,
    NAME,
    TEN,
    broadcast_rules,
    make_broadcast,
    recipients,
    republish,
    send,
    states,
)
from tests.journey.builders import START, add_lead, run_at
from tests.journey.observe import add_leads, all_rows, custody, record_signal, recorded_statements, rows

MANY = 2_000


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_broadcast(db, tmp_path)


def test_the_audience_gets_it_once_at_its_time_and_stays_on_its_track(ctx: AppContext) -> None:
    lead, other = add_lead(ctx, city="Kiel", title="Buyer"), add_lead(ctx, city="Ulm", title="Buyer")
    run_at(ctx, START)
    before = rows(ctx, "SELECT step, anchor_at, reached_at FROM enrollment ORDER BY id")
    send(ctx)
    run_at(ctx, START, TEN - HOUR)
    assert states(ctx) == {}
    run_at(ctx, TEN, TEN, TEN + HOUR)
    assert recipients(ctx) == {lead: 1}
    assert custody(ctx, other) == custody(ctx, lead) == ("track", "keep")
    assert rows(ctx, "SELECT step, anchor_at, reached_at FROM enrollment ORDER BY id") == before
    assert run_audit(ctx, TEN + HOUR).ok


def test_nobody_gets_a_broadcast_that_is_only_published(ctx: AppContext) -> None:
    add_lead(ctx, city="Kiel")
    run_at(ctx, START, TEN, TEN + DAY)
    assert states(ctx) == {}


def test_whoever_may_not_get_it_is_left_out_and_counted_by_reason_as_the_dry_run_said(ctx: AppContext) -> None:
    fine = add_lead(ctx, city="Kiel", title="Buyer")
    refused = add_lead(ctx, city="Kiel", email="no@people.example")
    unknown = add_lead(ctx, city="Kiel", consent_basis=None)
    nowhere = add_lead(ctx, city="Kiel", email=None)
    selling = add_lead(ctx, city="Kiel", demo_requested=True)
    closed, resting = add_lead(ctx, city="Kiel", title="student"), add_lead(ctx, city="Kiel", title="Buyer")
    run_at(ctx, START)
    late = add_lead(ctx, city="Kiel")
    suppress(ctx, ["no@people.example"], START)
    expected = release.preview(ctx, NAME, START)
    assert expected.recipients == 2
    send(ctx)
    done = plan.plan_due(ctx, TEN)
    assert done.left_out == expected.left_out
    found = states(ctx)
    assert found[fine] == found[resting] == "planned"
    assert found[unknown] == "cancelled left out: no consent"
    assert found[nowhere] == "cancelled left out: no email address"
    assert found[selling] == "cancelled left out: with sales"
    assert found[late] == "cancelled left out: not classified yet"
    assert found[refused].startswith("cancelled left out: suppressed")
    assert closed not in found


@pytest.mark.parametrize("again", ["the same version", "a corrected version"])
def test_a_second_release_reaches_only_those_who_have_not_had_it(ctx: AppContext, again: str) -> None:
    had, left_out = add_lead(ctx, city="Kiel", title="Buyer"), add_lead(ctx, city="Kiel", consent_basis=None)
    run_at(ctx, START)
    send(ctx)
    run_at(ctx, TEN)
    assert recipients(ctx) == {had: 1}
    if again == "a corrected version":
        republish(ctx, broadcast_rules(text="Hello, corrected."))
    new = add_lead(ctx, city="Kiel", title="Buyer", at=TEN)
    run_at(ctx, TEN + HOUR)
    assert send(ctx).is_new
    run_at(ctx, TEN + 2 * HOUR)
    assert recipients(ctx) == {had: 1, new: 1}
    assert states(ctx)[left_out] == "cancelled left out: no consent"


def test_a_release_that_waits_is_not_released_again_and_follows_a_changed_time(ctx: AppContext) -> None:
    lead = add_lead(ctx, city="Kiel", title="Buyer")
    run_at(ctx, START)
    assert [send(ctx).is_new, send(ctx).is_new] == [True, False]
    later = {name: text.replace("2026-01-05 10:00", "2026-01-06 10:00") for name, text in broadcast_rules().items()}
    republish(ctx, later)
    run_at(ctx, TEN, TEN + HOUR)
    assert states(ctx) == {}
    run_at(ctx, TEN + DAY)
    assert recipients(ctx) == {lead: 1}


def test_each_lead_gets_it_in_its_own_zone_and_at_its_minute_of_the_spread(db: Database, tmp_path: Path) -> None:
    rules = broadcast_rules("spread: 2 hours\n")
    yaml = rules["broadcasts/spring/broadcast.yaml"].replace("zone: UTC", "zone: lead")
    rules["broadcasts/spring/broadcast.yaml"] = yaml.replace("2026-01-05 10:00", "2026-01-06 10:00")
    ctx = make_broadcast(db, tmp_path, rules)
    zones = {add_lead(ctx, city="Kiel", zone=zone): zone for zone in ("Asia/Tokyo", "America/New_York", "UTC") * 4}
    run_at(ctx, START)
    send(ctx)
    ten = TEN + DAY
    run_at(ctx, ten - 14 * HOUR)
    opens = {"Asia/Tokyo": ten - 9 * HOUR, "America/New_York": ten + 5 * HOUR, "UTC": ten}
    planned = dict(rows(ctx, "SELECT lead_id, send_at FROM message WHERE kind = 'broadcast'"))
    assert planned.keys() == zones.keys()
    for lead, zone in zones.items():
        at = str(planned[lead])[:16].replace("T", " ")
        assert str(opens[zone])[:16] <= at <= str(opens[zone] + 2 * HOUR)[:16]
    assert len(set(map(str, planned.values()))) > 3


def test_a_lead_that_turns_to_sales_or_says_no_before_its_time_does_not_get_it(ctx: AppContext) -> None:
    asked, refused = add_lead(ctx, city="Kiel"), add_lead(ctx, city="Kiel", email="no@people.example")
    run_at(ctx, START)
    send(ctx)
    plan.plan_due(ctx, TEN)
    record_signal(ctx, asked, SignalKind.REPLIED, TEN)
    suppress(ctx, ["no@people.example"], TEN)
    run_at(ctx, TEN)
    assert recipients(ctx) == {}
    assert states(ctx)[asked] == "cancelled with sales"
    assert states(ctx)[refused].startswith("cancelled suppressed")


def test_a_lead_that_reaches_the_goal_before_its_time_does_not_get_it(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path, broadcast_rules("until: {did: registered}\n"))
    early, later, other = (add_lead(ctx, city="Kiel") for _ in range(3))
    run_at(ctx, START)
    record_signal(ctx, early, SignalKind.REGISTERED, START - HOUR)
    send(ctx)
    record_signal(ctx, later, SignalKind.REGISTERED, START + HOUR)
    run_at(ctx, START + HOUR, TEN)
    assert recipients(ctx) == {early: 1, other: 1}, "what they did before the release is no answer to it"
    assert states(ctx)[later] == "cancelled left out: reached the goal"


def test_a_batch_costs_as_many_statements_for_two_thousand_leads_as_for_ten(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path, broadcast_rules("until: {did: registered}\n", front="call_to_action: yes\n"))
    ctx.provider = DiscardingProvider()
    costs = []
    for number, count in enumerate((1, 10, MANY)):
        at = START + number * HOUR / 10
        add_leads(ctx, count, city="Kiel")
        ctx.batch_size = 3 * MANY
        run_at(ctx, at)
        release.release(ctx, NAME, "mara", at)
        with recorded_statements(ctx.database) as statements:
            assert plan.plan_due(ctx, TEN).planned >= count
        costs.append(len(statements))
    assert costs[1] == costs[2] <= 25
    assert len(states(ctx)) == MANY + 11


def test_a_round_without_a_due_broadcast_is_one_look(ctx: AppContext) -> None:
    send(ctx)
    with recorded_statements(ctx.database) as statements:
        plan.plan_due(ctx, START)
    assert len([one for one in statements if "SELECT" in one]) == 1


def test_planning_again_from_any_place_changes_nothing(ctx: AppContext) -> None:
    add_leads(ctx, 25, city="Kiel")
    ctx.batch_size = 10
    run_at(ctx, START)
    send(ctx)
    plan.plan_batch(ctx, TEN)  # and the worker dies
    assert len(states(ctx)) == 10
    plan.plan_due(ctx, TEN)
    before = all_rows(ctx)
    assert len(states(ctx)) == 25
    plan.plan_due(ctx, TEN)
    assert all_rows(ctx) == before


def test_the_history_of_a_lead_tells_of_it(ctx: AppContext) -> None:
    lead, left_out = add_lead(ctx, city="Kiel", title="Buyer"), add_lead(ctx, city="Kiel", consent_basis=None)
    run_at(ctx, START)
    send(ctx)
    run_at(ctx, TEN)
    reported = [
        [line.reason for line in explain.explain(ctx, one, TEN).history if line.stage == "broadcast"]
        for one in (lead, left_out)
    ]
    of = "invitation of broadcasts/spring, version 1"
    assert reported == [[of], [f"{of}: left out: no consent"]]
