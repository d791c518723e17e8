"""Test two workers on one lead at once on PostgreSQL: nothing is overwritten, nothing deadlocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.lead import Closing, Custodian
from nurture.journey.delivery import claim, send
from nurture.journey.intake.import_file import import_file
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.journey.tracks import advance, enroll
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.intake.lead_files import row, write_file
from tests.journey.observe import custody, one, rows

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def ctx(postgres_db: Database, tmp_path: Path) -> AppContext:
    return make_context(postgres_db, tmp_path)


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as worker:
        yield worker


def start_waiting(ctx: AppContext, other: ThreadPoolExecutor, action: Callable[[], object]) -> Future[object]:
    """Start *action* in *other*, and return once it waits for a lock held here."""
    doing = other.submit(action)
    until = time.monotonic() + 20
    while not one(ctx, _WAITING):
        assert not doing.done(), doing.result()
        assert time.monotonic() < until
        time.sleep(0.01)
    return doing


def test_a_lead_that_is_closed_while_a_sweep_enrolls_it_leaves_its_new_track(
    ctx: AppContext, other: ThreadPoolExecutor
) -> None:
    lead = add_lead(ctx, title="Head")
    database = ctx.database
    with database.write() as tx:
        found = snapshot.claim_due(tx, [Custodian.INTAKE], START, 10)
        transitions = LeadTransitions(ctx.definitions.current(tx), START, "enroll")
        (claimed,) = snapshot.load_snapshots(ctx, tx, None, found, START)
        enroll.enroll_by_audience(claimed, transitions, "fits")
        closing = start_waiting(ctx, other, lambda: close_lead(ctx, lead, Closing.WON, START))
        transitions.changes.write(tx, START)
    closing.result(20)
    assert custody(ctx, lead) == ("resting", "customer")
    assert rows(ctx, "SELECT end_reason FROM enrollment") == [("won",)]


def test_an_import_and_a_sweep_do_not_wait_for_each_other(
    ctx: AppContext, other: ThreadPoolExecutor, tmp_path: Path
) -> None:
    lead = add_lead(ctx, email="ann@example.com", title="Head")
    path = write_file(tmp_path, [row(Company="Acme")])
    database = ctx.database
    with database.write() as tx:
        snapshot.load_rows(tx, [lead])
        coming: Future[Any] = start_waiting(ctx, other, lambda: import_file(ctx, path, START))
        leads_queries.reset_engagement(tx, [lead], START)
    assert coming.result(20).updated == 1


def test_a_sender_waits_for_whoever_holds_its_lead_before_it_takes_the_message(
    ctx: AppContext, other: ThreadPoolExecutor
) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    nine = START.replace(hour=9)
    advance.advance(ctx, nine)
    batch = claim.claim_batch(ctx, nine, 10)
    database = ctx.database
    with database.write() as tx:
        snapshot.load_rows(tx, [lead])
        sending = start_waiting(ctx, other, lambda: send.send_claimed(ctx, batch, VirtualClock(nine)))
        cancel = text("UPDATE message SET state = 'cancelled', lease_token = NULL WHERE lead_id = :id")
        tx.execute(text("SET LOCAL lock_timeout = '2s'"))
        tx.execute(cancel, {"id": lead})
    sending.result(20)
    assert rows(ctx, "SELECT state FROM message") == [("cancelled",)]
