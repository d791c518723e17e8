"""Tests of advancing: errors of single leads, races, and replay of the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.db.types import Json, UtcDateTime
from nurture.domain.signals import SignalKind
from nurture.journey.handoff import sweep
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import Changes, NewOutcome
from nurture.journey.leads.custody import CustodyUpdate, JournalEntry
from nurture.journey.leads.transitions import RETRY_AFTER_ERROR
from nurture.journey.tracks import advance, enroll, manual
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    add_leads,
    all_rows,
    custody,
    due_at,
    events,
    messages,
    one,
    record_signal,
    rows,
    worker_context,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_a_lead_whose_decision_fails_is_journaled_and_does_not_stop_others(ctx: AppContext) -> None:
    good, bad, also_good = (add_lead(ctx, title="Head") for _ in range(3))
    run_at(ctx, START)
    write(ctx, "UPDATE lead SET zone = 'Mars/Olympus' WHERE id = :id", id=bad)
    run_at(ctx, START + HOUR)
    assert [row[0] for row in messages(ctx)] == [good, also_good]
    assert events(ctx, bad)[-1] == "error"
    ((reason,),) = rows(ctx, "SELECT reason FROM journal WHERE event = 'error'")
    assert "Mars/Olympus" in reason
    assert custody(ctx, bad) == ("track", "welcome")
    assert due_at(ctx, bad) == START + HOUR + RETRY_AFTER_ERROR


def test_a_corrected_lead_continues_at_its_position(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    write(ctx, "UPDATE lead SET zone = 'Mars/Olympus'")
    run_at(ctx, START + HOUR)
    write(ctx, "UPDATE lead SET zone = 'UTC'")
    run_at(ctx, START + HOUR + RETRY_AFTER_ERROR)
    assert [row[:3] for row in messages(ctx)] == [(lead, "01-hello", "accepted")]


def test_an_unpublished_track_is_an_error_of_its_leads_only(ctx: AppContext) -> None:
    lost, fine = add_lead(ctx, title="Head"), add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    write(ctx, "UPDATE enrollment SET track = 'gone' WHERE lead_id = :id", id=lost)
    write(ctx, "UPDATE custody SET ref = 'gone', version = version + 1 WHERE lead_id = :id", id=lost)
    run_at(ctx, START + 12 * DAY)
    assert events(ctx, lost)[-1] == "error"
    assert [row[0] for row in messages(ctx)] == [fine]


def _together(*work: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, at the same time; raise what they raise."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(each) for each in work]]


def test_workers_that_advance_the_same_leads_move_each_once(ctx: AppContext) -> None:
    ids = add_leads(ctx, 120, title="Head")
    run_at(ctx, START)
    workers = [worker_context(ctx) for _ in range(3)]
    for worker in workers:
        worker.batch_size = 10
    done = _together(*[lambda w=worker: advance.advance(w, START + HOUR) for worker in workers])
    assert sum(each.leads for each in done) == len(ids)
    assert sorted(row[0] for row in messages(ctx)) == ids
    assert one(ctx, "SELECT count(*) FROM journal WHERE event = 'touch'") == len(ids)
    for worker in workers:
        worker.database.close()


def test_workers_that_classify_the_same_leads_enroll_each_once(ctx: AppContext) -> None:
    ids = add_leads(ctx, 60, title="Head")
    workers = [worker_context(ctx) for _ in range(3)]
    for worker in workers:
        worker.batch_size = 7
    _together(*[lambda w=worker: enroll.classify(w, START) for worker in workers])
    assert [row[0] for row in rows(ctx, "SELECT lead_id FROM enrollment ORDER BY lead_id")] == ids
    for worker in workers:
        worker.database.close()


def test_workers_that_hand_off_the_same_leads_offer_each_once(ctx: AppContext) -> None:
    add_leads(ctx, 8, demo_requested=True)
    enroll.classify(ctx, START)
    workers = [worker_context(ctx) for _ in range(2)]
    for worker in workers:
        worker.batch_size = 2
    _together(*[lambda w=worker: sweep.hand_off(w, START) for worker in workers])
    assert one(ctx, "SELECT count(DISTINCT lead_id) FROM offer") == 8
    assert one(ctx, "SELECT count(*) FROM offer") == 8
    for worker in workers:
        worker.database.close()


def test_a_worker_that_loses_the_race_for_a_lead_writes_nothing(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    before = all_rows(ctx)
    stale = one(ctx, "SELECT version FROM custody") - 1
    changes = Changes(
        custody_updates=[CustodyUpdate(lead, stale, "closed", "won", START, "", None)],
        journal_entries=[
            JournalEntry(lead, START, "test", "closed", "late", custody_from="track", custody_to="closed")
        ],
        new_outcomes=[NewOutcome(lead, "won", START, None, "", "test", START)],
    )
    with ctx.database.write() as tx:
        assert changes.write(tx, START) == set()
    assert all_rows(ctx) == before


def test_a_sweep_skips_leads_that_another_worker_has_locked(postgres_db: Database, tmp_path: Path) -> None:
    ctx = make_context(postgres_db, tmp_path)
    held, free = add_lead(ctx, title="Head"), add_lead(ctx, title="Head")
    run_at(ctx, START)
    other = worker_context(ctx)
    with other.database.write() as tx:
        snapshot.load_rows(tx, [held])
        assert advance.advance(ctx, START + HOUR).leads == 1
    assert [row[0] for row in messages(ctx)] == [free]
    other.database.close()


def test_decisions_in_the_journal_rebuild_the_position_of_every_enrollment(ctx: AppContext) -> None:
    heads = [add_lead(ctx, title="Head") for _ in range(3)]
    others = [add_lead(ctx, title="Clerk") for _ in range(2)]
    for hours in range(0, 24 * 40, 6):
        now = START + timedelta(hours=hours)
        run_at(ctx, now)
        if hours == 48:
            record_signal(ctx, heads[0], SignalKind.CLICKED, now)
            for minutes in range(3):  # an offer for interest, which expires
                record_signal(ctx, heads[1], SignalKind.CLICKED, now + minutes * timedelta(minutes=1))
            manual.pause(ctx, others[0], now + 9 * DAY, now)
    positions = _positions(ctx)
    replayed = _replayed(ctx)
    assert len(positions) == 8  # each head on two tracks, the others on one
    assert {enrollment_id: replayed[enrollment_id] for enrollment_id in positions} == positions


def _positions(ctx: AppContext) -> dict[int, tuple[str, int, datetime, datetime]]:
    query = text("SELECT id, step, visit, anchor_at, reached_at FROM enrollment").columns(
        anchor_at=UtcDateTime(), reached_at=UtcDateTime()
    )
    with ctx.database.read() as tx:
        return {row[0]: tuple(row[1:]) for row in tx.execute(query)}  # type: ignore[misc]


def _replayed(ctx: AppContext) -> dict[int, tuple[str, int, datetime, datetime]]:
    """Return the last position that the journal's decisions give each enrollment.

    A decision that moves the lead to another track is recorded with the new enrollment; it ends the previous one.
    """
    query = text(
        "SELECT lead_id, enrollment_id, detail FROM journal WHERE detail IS NOT NULL AND stage = 'advance' ORDER BY id"
    ).columns(detail=Json)
    found: dict[int, tuple[str, int, datetime, datetime]] = {}
    newest: dict[int, int] = defaultdict(int)
    with ctx.database.read() as tx:
        for lead_id, enrollment_id, detail in tx.execute(query):
            newest[lead_id] = enrollment_id or newest[lead_id]
            step, visit, anchor, *reached = detail["position"]
            times = (datetime.fromisoformat(anchor), datetime.fromisoformat((*reached, anchor)[0]))
            found[newest[lead_id]] = (step, visit, *times)
    return found


def test_an_enrollment_ends_where_its_last_decision_says(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    for day in range(20):
        run_at(ctx, START + HOUR + day * DAY)
    assert custody(ctx, lead) == ("track", "keep")
    assert rows(ctx, "SELECT step FROM enrollment WHERE ended_at IS NOT NULL") == [("finally",)]


def test_classification_skips_a_lead_whose_fields_cannot_be_compared(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
        "when: {field: title, contains: [student]}", "when: {field: employees, at_most: 3}"
    )
    ctx = make_context(db, tmp_path, rules=rules)
    good, bad, also_good = (
        add_lead(ctx, title="Head", employees=40),
        add_lead(ctx, title="Head", employees=[40]),
        add_lead(ctx, title="Head", employees=40),
    )
    run_at(ctx, START)
    assert custody(ctx, good) == custody(ctx, also_good) == ("track", "welcome")
    assert custody(ctx, bad) == ("intake", "test")
    assert events(ctx, bad)[-1] == "error"
    assert due_at(ctx, bad) == START + RETRY_AFTER_ERROR
