"""Test that a lead's action is decided about without waiting for the next run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey import run_now
from nurture.journey.engagement import signals
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    add_leads,
    all_rows,
    custody,
    messages,
    new_signal,
    record_signal,
    recorded_statements,
    rows,
)

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TRACK = "tracks/welcome/track.yaml"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_a_reply_is_offered_to_a_rep_at_once(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + HOUR)
    record_signal(ctx, lead, SignalKind.REPLIED, START + 2 * HOUR)
    assert run_now.process_due_leads(ctx, START + 2 * HOUR) == 1
    assert custody(ctx, lead)[0] == "offer"
    assert rows(ctx, "SELECT kind, state FROM message WHERE kind = 'brief'") == [("brief", "planned")]


def test_a_click_is_decided_about_at_once(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + HOUR)
    clicked = new_signal(lead, SignalKind.CLICKED, START + 2 * HOUR, step="01-hello")
    signals.record(ctx, [clicked], START + 2 * HOUR)
    assert run_now.process_due_leads(ctx, START + 2 * HOUR) == 1
    assert rows(ctx, "SELECT step FROM enrollment") == [("02-more",)]


def test_nothing_due_costs_one_query_and_changes_nothing(ctx: AppContext) -> None:
    add_leads(ctx, 20, title="Head")
    run_at(ctx, START, START + HOUR, START + HOUR)
    before = all_rows(ctx)
    with recorded_statements(ctx.database) as statements:
        assert not run_now.has_due(ctx, START + HOUR)
    assert len([one for one in statements if one != "BEGIN"]) == 1
    assert all_rows(ctx) == before


def test_a_backlog_is_left_to_the_sweeps(ctx: AppContext) -> None:
    add_leads(ctx, run_now.MAX_LEADS + 10, title="Head")
    run_at(ctx, START)
    assert run_now.process_due_leads(ctx, START + HOUR) == run_now.MAX_LEADS
    assert rows(ctx, "SELECT count(*) FROM message") == [(run_now.MAX_LEADS,)]


def test_a_new_lead_is_classified_and_its_first_mail_goes_at_once(ctx: AppContext) -> None:
    rules = sample_rules()
    rules[TRACK] = rules[TRACK].replace("after: 1 hour", "after: at once")
    publish(ctx, rules, START)
    lead = add_lead(ctx, at=START + 2 * HOUR, title="Head")
    assert run_now.has_due(ctx, START + 2 * HOUR)
    assert run_now.process_due(ctx, VirtualClock(START + 2 * HOUR)) == 3  # classified, advanced and sent
    assert messages(ctx) == [(lead, "01-hello", "accepted", "")]


def test_a_delay_in_minutes_is_kept_to_the_minute(ctx: AppContext) -> None:
    rules = sample_rules()
    rules[TRACK] = rules[TRACK].replace("after: 1 hour", "after: 20 minutes")
    publish(ctx, rules, START)
    add_lead(ctx, at=START + 2 * HOUR, title="Head")
    run_now.process_due(ctx, VirtualClock(START + 2 * HOUR))
    due = START + 2 * HOUR + 20 * MINUTE
    assert not run_now.has_due(ctx, due - timedelta(seconds=1))
    assert run_now.has_due(ctx, due)
    assert run_now.process_due(ctx, VirtualClock(due)) == 2
    assert rows(ctx, "SELECT state FROM message") == [("accepted",)]


def test_few_messages_are_sent_at_once_and_the_rest_is_left_to_the_next_poll(ctx: AppContext) -> None:
    add_leads(ctx, run_now.MAX_MESSAGES + 5, title="Head")
    run_at(ctx, START)
    run_now.process_due(ctx, VirtualClock(START + HOUR))
    sent = "SELECT count(*) FROM message WHERE state = 'accepted'"
    assert rows(ctx, sent) == [(run_now.MAX_MESSAGES,)]
    run_now.process_due(ctx, VirtualClock(START + HOUR))
    assert rows(ctx, sent) == [(run_now.MAX_MESSAGES + 5,)]
