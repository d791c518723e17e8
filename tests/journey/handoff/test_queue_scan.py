"""Test that no lead waits longer than one sweep while a rep has capacity, however it was freed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.journey.erasure import erase
from nurture.journey.handoff import call_back, follow_up, responses, roster
from nurture.journey.handoff import sweep as handoff_sweep
from nurture.journey.intake.import_file import import_file
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.intake.lead_files import row, write_file
from tests.journey.observe import custody, due_at, one, recorded_statements, rows
from tests.journey.test_two_workers import start_waiting

HOUR, LATER = timedelta(hours=1), timedelta(minutes=5)
NOW = START + 2 * HOUR
POLICY = "sales/policy.yaml"
IN_QUEUE = "SELECT count(*) FROM custody WHERE kind = 'queue' AND ref = 'hand-off'"


def _rules(in_hand: int = 1) -> dict[str, str]:
    rules = sample_rules()
    rules[POLICY] = rules[POLICY].replace("capacity: 5}", f"capacity: 50, max_open_leads: {in_hand}}}")
    return rules


def _full(ctx: AppContext) -> list[int]:
    """Use up the capacity of both reps, and let two leads wait; return all four, those with a rep first."""
    leads = [add_lead(ctx, demo_requested=True) for _ in range(4)]
    run_at(ctx, START, START + HOUR)
    assert one(ctx, IN_QUEUE) == 2
    assert not handoff_sweep.hand_off(ctx, NOW)
    return leads


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=_rules())


@pytest.fixture
def postgres_ctx(postgres_db: Database, tmp_path: Path) -> AppContext:
    return make_context(postgres_db, tmp_path, rules=_rules())


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as worker:
        yield worker


def _offer_of(ctx: AppContext, lead: int) -> int:
    found: int = one(ctx, "SELECT max(id) FROM offer WHERE lead_id = :id", id=lead)
    return found


def _won_by_file(ctx: AppContext, lead: int, folder: Path) -> None:
    email = one(ctx, "SELECT email FROM address JOIN lead ON address_id = address.id WHERE lead.id = :l", l=lead)
    import_file(ctx, write_file(folder, [row(email, Status="Customer", Customer="yes")]), NOW)
    assert custody(ctx, lead) == ("resting", "customer")


def _followed_up(ctx: AppContext, lead: int, _: Path) -> None:
    responses.accept(ctx, _offer_of(ctx, lead), NOW)
    assert not handoff_sweep.hand_off(ctx, NOW)
    follow_up.record_follow_up(ctx, lead, "call", NOW)


def _more_in_hand(ctx: AppContext, _lead: int, _folder: Path) -> None:
    publish_approved(ctx, _rules(in_hand=2), NOW)


FREE: dict[str, Callable[[AppContext, int, Path], object]] = {
    "rejected": lambda ctx, lead, _: responses.reject(ctx, _offer_of(ctx, lead), "bad-fit", NOW),
    "to be called later": lambda ctx, lead, _: call_back.call_back(
        ctx, _offer_of(ctx, lead), (NOW + timedelta(days=40)).date(), NOW
    ),
    "closed by hand": lambda ctx, lead, _: close_lead(ctx, lead, Closing.WON, NOW),
    "won in the CRM": lambda ctx, lead, _: outcomes.record_outcomes(
        ctx, [OutcomeReport(lead, Closing.WON, NOW, 10.0)], "crm", NOW
    ),
    "won by a file": _won_by_file,
    "forgotten": lambda ctx, lead, _: erase.erase_person(ctx, str(lead), NOW),
    "followed up": _followed_up,
    "a policy with more in hand": _more_in_hand,
}


@pytest.mark.parametrize("way", FREE)
def test_capacity_that_becomes_free_is_used_by_the_next_sweep(ctx: AppContext, way: str, tmp_path: Path) -> None:
    lead = _full(ctx)[0]
    FREE[way](ctx, lead, tmp_path)
    assert handoff_sweep.hand_off(ctx, NOW + LATER)["offered"] >= 1
    assert one(ctx, IN_QUEUE) < 2


def test_a_rep_back_from_leave_is_offered_leads_by_the_next_sweep(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    for rep in ("ana", "ben"):
        roster.add_leave(ctx, rep, START.date(), (START + timedelta(days=9)).date(), None, START)
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START, NOW)
    assert custody(ctx, lead) == ("queue", "hand-off")
    roster.cancel_leave(ctx, "ana", START.date(), NOW)
    assert handoff_sweep.hand_off(ctx, NOW + LATER)["offered"] == 1


def test_capacity_that_becomes_free_while_a_sweep_finds_none_is_used_by_the_next_one(
    postgres_ctx: AppContext, other: ThreadPoolExecutor
) -> None:
    ctx = postgres_ctx
    lead = _full(ctx)[0]
    with ctx.database.write() as tx:
        tx.execute(text("UPDATE custody SET due_at = :n, version = version + 1 WHERE kind = 'queue'"), {"n": NOW})
    with ctx.database.write() as tx:
        tx.execute(text("LOCK TABLE queue_scan IN EXCLUSIVE MODE"))  # where a sweep ends
        sweep = start_waiting(ctx, other, lambda: handoff_sweep.hand_off(ctx, NOW))
        responses.reject(ctx, _offer_of(ctx, lead), "bad-fit", NOW)
    sweep.result()
    assert one(ctx, IN_QUEUE) == 2
    assert handoff_sweep.hand_off(ctx, NOW + LATER)["offered"] == 1


def test_a_lead_that_was_locked_while_the_queue_was_scanned_is_offered_by_the_next_sweep(
    postgres_ctx: AppContext,
) -> None:
    ctx = postgres_ctx
    lead, _, *waiting = _full(ctx)
    responses.reject(ctx, _offer_of(ctx, lead), "bad-fit", NOW)
    with ctx.database.write() as tx:
        locked = text("SELECT lead_id FROM custody WHERE lead_id = ANY(:ids) FOR UPDATE")
        tx.execute(locked, {"ids": waiting})
        assert not handoff_sweep.hand_off(ctx, NOW + LATER)
    assert all((due_at(ctx, one_) or NOW) > NOW + HOUR for one_ in waiting)
    assert handoff_sweep.hand_off(ctx, NOW + 2 * LATER)["offered"] == 1


def test_a_queue_in_which_nothing_has_changed_costs_the_same_few_statements(ctx: AppContext) -> None:
    _full(ctx)
    with recorded_statements(ctx.database) as few:
        handoff_sweep.hand_off(ctx, NOW)
    for _ in range(20):
        add_lead(ctx, demo_requested=True)
    run_at(ctx, NOW)
    assert rows(ctx, IN_QUEUE) == [(22,)]
    with recorded_statements(ctx.database) as many:
        assert not handoff_sweep.hand_off(ctx, NOW + LATER)
    assert len(many) == len(few)
