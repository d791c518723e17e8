"""Tests of custody transitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.planning.program import Destination, ToClosed, ToQueue, ToTrack
from nurture.domain.policy.queues import REVIEW_INTERVAL
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.leads.transitions import LeadTransitions
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import custody, due_at, rows

HOUR = timedelta(hours=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


@contextmanager
def _transitions(ctx: AppContext, lead: int) -> Iterator[tuple[LeadTransitions, LeadSnapshot]]:
    now = START + HOUR
    with ctx.database.write() as tx:
        found = snapshot.load_rows(tx, [lead])
        claimed = snapshot.load_snapshots(ctx, tx, None, found, now)[0]
        transitions = LeadTransitions(ctx.definitions.current(tx), now, "test")
        yield transitions, claimed
        transitions.changes.write(tx, now)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (ToTrack("keep"), ("track", "keep")),
        (ToTrack("gone"), ("queue", "track-missing")),
        (ToQueue("call"), ("queue", "call")),
        (ToClosed(Closing.LOST, "no"), ("closed", "lost")),
        (ToClosed(Closing.WON, "paid"), ("resting", "customer")),
    ],
)
def test_every_move_ends_the_enrollment_and_is_journaled_with_its_reason(
    ctx: AppContext, to: Destination, expected: tuple[str, str]
) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    with _transitions(ctx, lead) as (transitions, claimed):
        transitions.move_to(claimed, to, "moved by hand")
    assert custody(ctx, lead) == expected
    assert (due_at(ctx, lead) is None) == (expected[0] == "closed")
    query = "SELECT custody_from, custody_to, ref, reason FROM journal ORDER BY id DESC LIMIT 1"
    ((origin, target, ref, reason),) = rows(ctx, query)
    assert (origin, target, ref) == ("track", *expected)
    assert reason.startswith("moved by hand")
    ended = rows(ctx, "SELECT track FROM enrollment WHERE ended_at IS NOT NULL")
    assert ended == [("welcome",)]


def test_a_queued_lead_gets_a_review_date_and_a_cool_off_is_kept(ctx: AppContext) -> None:
    queued, cooling_off = add_lead(ctx, title="Head"), add_lead(ctx, title="Head")
    run_at(ctx, START)
    with _transitions(ctx, queued) as (transitions, claimed):
        transitions.move_to(claimed, ToQueue("call"), "why")
    until = START + timedelta(days=30)
    with _transitions(ctx, cooling_off) as (transitions, claimed):
        transitions.move_to(claimed, ToTrack("keep"), "why", cool_off_until=until)
    assert due_at(ctx, queued) == START + HOUR + REVIEW_INTERVAL
    assert due_at(ctx, cooling_off) == until


def test_since_changes_only_with_the_custodian(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    before = rows(ctx, "SELECT since FROM custody")
    run_at(ctx, START + HOUR)
    assert rows(ctx, "SELECT since FROM custody") == before
    with _transitions(ctx, lead) as (transitions, claimed):
        transitions.move_to(claimed, ToQueue("call"), "why")
    assert rows(ctx, "SELECT since FROM custody") != before
