"""Tests that a lead becomes due a set number of days before a date that it stated, on a track and in a cool-off."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.planning.calendar import start_of_day
from nurture.journey.engagement import signals
from nurture.journey.handoff import responses
from nurture.journey.leads.signal_queries import NewSignal
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, one

POLICY = "sales/policy.yaml"
DAY = timedelta(days=1)
ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Auckland"]


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules()
    rules[POLICY] = rules[POLICY].replace("deciding: 30", "deciding: 1")
    return make_context(sqlite_db, tmp_path, rules=rules)


def state(ctx: AppContext, lead: int, day: date, at: datetime) -> None:
    signal = NewSignal(lead, "deciding", at, at, f"deciding {lead} {day}", "test", value=day.isoformat())
    signals.record(ctx, [signal], at)


def offered_at(ctx: AppContext, lead: int, after: datetime, limit: int = 80) -> datetime:
    """Run whenever the lead is due, until it is offered; return when that was."""
    for _ in range(limit):
        at = datetime.fromisoformat(one(ctx, "SELECT due_at FROM custody WHERE lead_id = :id", id=lead))
        after = max(at, after)
        run_at(ctx, after)
        if custody(ctx, lead)[0] == "offer":
            return after
    raise AssertionError(f"never offered until {after}")


@pytest.mark.parametrize("zone", ZONES)
def test_a_distant_date_makes_a_lead_on_a_track_due_at_the_start_of_its_local_day(ctx: AppContext, zone: str) -> None:
    lead = add_lead(ctx, zone=zone)
    run_at(ctx, START)
    decides = START.date() + 300 * DAY  # with at least one clock change in between
    state(ctx, lead, decides, START + DAY)
    assert offered_at(ctx, lead, START + DAY) == start_of_day(decides - 90 * DAY, zone)
    assert "decides on" in one(ctx, "SELECT handoff_reason FROM offer WHERE lead_id = :id", id=lead)


@pytest.mark.parametrize("reason", ["not-now", "wrong-person"])
@pytest.mark.parametrize("days", [2, 5, 60])
def test_a_date_that_a_rep_reported_makes_the_lead_due_even_in_its_cool_off(
    ctx: AppContext, reason: str, days: int
) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    decides = START.date() + (90 + days) * DAY
    responses.reject(ctx, 1, reason, START, decides)
    assert offered_at(ctx, lead, START) == start_of_day(decides - 90 * DAY, "UTC")


def test_a_lead_in_its_cool_off_gets_no_mail(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    responses.reject(ctx, 1, "not-now", START, START.date() + 110 * DAY)
    assert offered_at(ctx, lead, START) == start_of_day(START.date() + 20 * DAY, "UTC")
    assert one(ctx, "SELECT count(*) FROM message WHERE kind = 'touch'") == 0


def test_a_newly_stated_date_moves_the_due_time(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    run_at(ctx, START)
    state(ctx, lead, START.date() + 300 * DAY, START + DAY)
    run_at(ctx, START + DAY)
    state(ctx, lead, START.date() + 130 * DAY, START + 2 * DAY)
    assert offered_at(ctx, lead, START + 2 * DAY) == start_of_day(START.date() + 40 * DAY, "UTC")
