"""Tests of imports of known leads: transitions, signals, and which leads become due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey import run_once
from nurture.journey.handoff import responses, roster
from nurture.journey.tracks import enroll, manual
from tests.journey.builders import START, make_context
from tests.journey.intake.lead_files import (
    CUSTODY,
    LEAD,
    NOW,
    SIGNAL,
    custody_of,
    import_leads,
    plain_context,
    row,
    rows_of,
)
from tests.journey.observe import record_signal


def test_a_known_lead_that_became_a_customer_is_closed_from_any_custodian(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    people = [
        row(),
        row("bo@example.com", Status="Working", Owner="Bo"),
        row("cy@example.com", Status="Lost"),
        row("di@example.com", Status="Working", Owner="Bo", Customer="yes"),
    ]
    import_leads(ctx, tmp_path, *people, now=START)
    run_once.run_once(ctx, START)
    run_once.run_once(ctx, START + timedelta(hours=1))
    assert custody_of(db) == [("track", "keep"), ("rep", "Bo"), ("closed", "lost"), ("rep", "Bo")]
    import_leads(ctx, tmp_path, *[one | {"Status": "Closed Won"} for one in people], now=START + timedelta(hours=2))
    assert custody_of(db) == [("resting", "customer"), ("resting", "customer"), ("resting", "customer"), ("rep", "Bo")]
    assert rows_of(db, "SELECT count(*) FROM enrollment WHERE ended_at IS NULL") == [(0,)]
    assert rows_of(db, "SELECT count(*) FROM message WHERE state = 'planned'") == [(0,)]
    assert rows_of(db, "SELECT lead_id FROM outcome WHERE closing = 'won' ORDER BY 1") == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("cells", "end_reason"),
    [
        ({"Status": "Closed Won"}, "won"),
        ({"Status": "Lost"}, "lost"),
        ({"Status": "Working", "Owner": "Bo"}, "accepted"),
    ],
)
def test_an_import_ends_an_enrollment_with_what_its_row_says(
    db: Database, tmp_path: Path, cells: dict[str, str], end_reason: str
) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(), row("bo@example.com"), now=START)
    run_once.run_once(ctx, START)
    record_signal(ctx, 1, SignalKind.REPLIED, START)
    run_once.run_once(ctx, START + timedelta(hours=1))
    assert custody_of(db)[0][0] == "offer"
    later = [row(**cells), row("bo@example.com", **cells)]
    import_leads(ctx, tmp_path, *later, now=START + timedelta(hours=2))
    offer = ("withdrawn", "won") if end_reason == "won" else ("offered", None)  # a rep answers the others
    assert rows_of(db, "SELECT state, reason FROM offer") == [offer]
    assert rows_of(db, "SELECT end_reason FROM enrollment WHERE lead_id = 2") == [(end_reason,)]


def test_a_lead_that_an_import_marks_as_won_frees_the_capacity_of_its_rep(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    import_leads(ctx, tmp_path, row(), now=START)
    run_once.run_once(ctx, START)
    record_signal(ctx, 1, SignalKind.REPLIED, START)
    run_once.run_once(ctx, START + timedelta(hours=1))
    responses.accept(ctx, 1, START + timedelta(hours=1))
    import_leads(ctx, tmp_path, row(Status="Closed Won"), now=START + timedelta(hours=2))
    assert custody_of(sqlite_db) == [("resting", "customer")]
    assert [rep.open_leads for rep in roster.load_roster(ctx, START + timedelta(hours=2))] == [0, 0]


def test_a_known_lead_keeps_its_custodian_otherwise(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    people = [row(), row("bo@example.com", Status="Working", Owner="Bo"), row("cy@example.com", Status="Lost")]
    import_leads(ctx, tmp_path, *people, now=START)
    run_once.run_once(ctx, START)
    later = [row(Status="Open"), row("bo@example.com", Status="Open"), row("cy@example.com", Status="Open")]
    import_leads(ctx, tmp_path, *later, now=START + timedelta(days=1))
    assert custody_of(db) == [("track", "keep"), ("rep", "Bo"), ("closed", "lost")]


def test_a_known_lead_that_a_rep_works_now_or_lost_leaves_its_track(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(), row("bo@example.com"), now=START)
    run_once.run_once(ctx, START)
    run_once.run_once(ctx, START + timedelta(hours=1))
    assert custody_of(db) == [("track", "keep"), ("track", "keep")]
    later = [row(Status="Working", Owner="Bo"), row("bo@example.com", Status="Lost")]
    import_leads(ctx, tmp_path, *later, now=START + timedelta(days=1))
    assert custody_of(db) == [("rep", "Bo"), ("closed", "lost")]
    assert rows_of(db, "SELECT count(*) FROM enrollment WHERE ended_at IS NULL") == [(0,)]
    assert rows_of(db, "SELECT count(*) FROM message WHERE state = 'planned'") == [(0,)]


def test_an_unchanged_status_does_not_move_a_lead_from_its_track(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    file = [row(Status="Working", Owner="Bo")]
    import_leads(ctx, tmp_path, *file, now=START)
    with db.write() as tx:
        tx.execute(text("UPDATE custody SET kind = 'queue', ref = 'by-hand', version = version + 1"))
    import_leads(ctx, tmp_path, *file, now=START + timedelta(days=1))
    assert custody_of(db) == [("queue", "by-hand")]


def test_new_fields_make_a_lead_on_a_track_due(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(), now=START)
    run_once.run_once(ctx, START)
    at = START + timedelta(hours=1)
    import_leads(ctx, tmp_path, row(), now=at)
    assert rows_of(db, "SELECT version FROM custody") == (before := rows_of(db, "SELECT version FROM custody"))
    import_leads(ctx, tmp_path, row(Company="Firm"), now=at)
    assert rows_of(db, "SELECT version FROM custody")[0][0] == before[0][0] + 1
    with db.read() as tx:
        assert tx.execute(CUSTODY.select()).one().due_at == at


def test_a_row_becomes_signals_once(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    one = row(
        Lead_ID="1",
        Registered_On="2026-02-10 10:00",
        Attended="yes",
        Demo_Requested="yes",
        Purchase_Timeframe="3 months",
    )
    assert import_leads(ctx, tmp_path, one, one).signals == 4
    assert import_leads(ctx, tmp_path, one, now=NOW + timedelta(days=9)).signals == 0
    with db.read() as tx:
        found = tx.execute(SIGNAL.select().order_by(SIGNAL.c.kind)).all()
    assert [(each.kind, each.value) for each in found] == [
        ("attended", None),
        ("deciding", "2026-05-12"),
        ("registered", None),
        ("requested_demo", None),
    ]
    assert {each.occurred_at for each in found} == {datetime(2026, 2, 10, 10, tzinfo=UTC)}
    assert import_leads(ctx, tmp_path, one | {"Registered On": "2026-02-20 10:00"}).signals == 4


def test_an_undated_answer_counts_from_the_first_import(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Purchase_Timeframe="June 2026", Demo_Requested="yes"))
    later = import_leads(
        ctx, tmp_path, row(Purchase_Timeframe="June 2026", Demo_Requested="yes"), now=NOW + timedelta(days=30)
    )
    assert (later.unchanged, later.signals) == (1, 0)


def test_signals_are_applied_before_a_new_lead_is_classified(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Created_At="2026-01-02", Purchase_Timeframe="within 2 months"), now=START)
    with db.read() as tx:
        assert str(tx.execute(LEAD.select()).one().decides_on) == "2026-03-04"
    enroll.classify(ctx, START)
    run_once.run_once(ctx, START)
    assert custody_of(db)[0][0] in ("queue", "offer")


def test_a_new_registration_brings_back_a_lost_lead_and_an_old_one_does_not(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    lost = row(Status="Lost", Registered_On="2026-01-02")
    import_leads(ctx, tmp_path, lost, now=START)
    import_leads(ctx, tmp_path, lost | {"Registered On": "2025-12-01"}, now=START + timedelta(days=2))
    assert custody_of(db) == [("closed", "lost")]
    import_leads(ctx, tmp_path, lost | {"Registered On": "2026-01-06"}, now=START + timedelta(days=2))
    assert custody_of(db) == [("intake", "return")]


def test_a_new_registration_makes_a_known_lead_due(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(), now=START)
    run_once.run_once(ctx, START)
    at = START + timedelta(hours=1)
    assert import_leads(ctx, tmp_path, row(Registered_On="2026-01-05"), now=at).signals == 1
    with db.read() as tx:
        assert tx.execute(CUSTODY.select()).one().due_at == at


def test_an_opt_out_in_a_file_takes_a_lead_off_its_track(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(), now=START)
    run_once.run_once(ctx, START)
    import_leads(ctx, tmp_path, row(Opted_Out="yes"), now=START + timedelta(hours=1))
    run_once.run_once(ctx, START + timedelta(hours=1))
    assert custody_of(db) == [("queue", "suppressed")]


def test_a_lead_paused_by_hand_stays_paused(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(), now=START)
    run_once.run_once(ctx, START)
    manual.pause(ctx, 1, START + timedelta(days=30), START)
    import_leads(ctx, tmp_path, row(Company="Firm"), now=START + timedelta(hours=1))
    with db.read() as tx:
        assert tx.execute(LEAD.select()).one().paused_until == START + timedelta(days=30)


def test_the_owner_of_a_worked_lead_is_a_rep_or_is_named(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    people = [
        row(Status="Working", Owner="ANA"),
        row("bo@example.com", Status="Working", Owner="ben@house.example"),
        row("cy@example.com", Status="Working", Owner="Zoe"),
    ]
    done = import_leads(ctx, tmp_path, *people, now=START)
    assert custody_of(db) == [("rep", "ana"), ("rep", "ben"), ("rep", "Zoe")]
    assert done.notes[-1] == "Owners who are not reps in the policy keep the leads that they work: Zoe (1)."
