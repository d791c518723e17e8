"""Test what one run costs, and that a second one changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import ClockWentBackwards
from nurture.journey import run_once
from nurture.journey.delivery import claim, send
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.handoff import queue, sla_sweep
from nurture.journey.leads import signal_queries
from nurture.journey.tracks import advance, enroll
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, all_rows, messages, new_signal, one, recorded_statements, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MANY = 2_000


def _costs(ctx: AppContext, count: int) -> dict[str, int]:
    """Take *count* new leads all the way to their reps; return how many statements each batch took."""
    sent, answered = START + HOUR, START + 2 * HOUR
    ids = add_leads(ctx, count, title="Head")
    ctx.batch_size = limit = count + 1
    costs: dict[str, int] = {}
    batches: list[claim.ClaimedBatch] = []

    def cost(name: str, batch: Callable[[], object]) -> None:
        with recorded_statements(ctx.database) as statements:
            batch()
        costs[name] = len(statements)

    cost("classify", lambda: enroll.classify_batch(ctx, START, limit))
    cost("advance to a hold", lambda: advance.advance_batch(ctx, START, limit))
    cost("advance to a touch", lambda: advance.advance_batch(ctx, sent, limit))
    cost("claim", lambda: batches.append(claim.claim_batch(ctx, sent, limit)))
    cost("send", lambda: send.send_claimed(ctx, batches[-1], VirtualClock(sent)))
    cost("advance behind it", lambda: advance.advance_batch(ctx, sent, limit))
    with ctx.database.write() as tx:
        signal_queries.record_signals(tx, [new_signal(id_, SignalKind.REPLIED, answered) for id_ in ids])
    cost("signals", lambda: engagement_signals.apply_signals_batch(ctx, answered, limit))
    cost("advance to sales", lambda: advance.advance_batch(ctx, answered, limit))
    cost("hand off", lambda: queue.offer_all(ctx, answered))
    cost("claim briefs", lambda: batches.append(claim.claim_batch(ctx, answered, limit)))
    cost("send briefs", lambda: send.send_claimed(ctx, batches[-1], VirtualClock(answered)))
    offers = one(ctx, "SELECT count(*) FROM offer WHERE state = 'offered'")
    assert offers == count, "the batches did not do what they are measured for"
    cost("expire", lambda: sla_sweep.escalate_offers(ctx, answered + 2 * DAY, limit))
    ctx.database.engine.dispose()
    return costs


def test_a_batch_costs_as_many_statements_for_two_thousand_leads_as_for_ten(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("capacity: 5", "capacity: 5000")
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.provider = DiscardingProvider()
    _costs(ctx, 1)  # so that what is read once per process is read before measuring
    _clear(ctx)
    few = _costs(ctx, 10)
    _clear(ctx)
    assert _costs(ctx, MANY) == few
    assert max(few.values()) <= 40  # a hand-off, which also reads the consent history and the audiences, and counts


def _clear(ctx: AppContext) -> None:
    """Close every lead, so that the next ones are measured alone."""
    write(ctx, "UPDATE custody SET kind = 'closed', ref = 'lost', due_at = NULL, version = version + 1")


def test_a_second_run_at_the_same_time_changes_nothing(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    for title in ("Head", "Clerk", "student"):
        add_lead(ctx, title=title)
    add_lead(ctx, demo_requested=True)
    for at in (START, START + HOUR, START + 2 * HOUR, START + 6 * DAY):
        run_at(ctx, at, at)
        before = all_rows(ctx)
        done = run_once.run_once(ctx, at)
        assert all_rows(ctx) == before
        assert (done.signals_applied, done.classified.total(), done.advanced.leads) == (0, 0, 0)
        assert (done.handed_off.total(), done.delivered.messages) == (0, 0)


def test_a_run_after_a_long_pause_sends_one_touch_per_lead_and_no_more(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + 60 * DAY + 2 * HOUR)
    assert [row[:3] for row in messages(ctx)] == [(lead, "01-hello", "accepted")]


def test_a_clock_set_back_is_refused_and_nothing_is_done(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    before = all_rows(ctx)
    with pytest.raises(ClockWentBackwards, match="Nothing was done"):
        run_once.run_once(ctx, START - HOUR)
    assert all_rows(ctx) == before
