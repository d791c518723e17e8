"""Test outcomes: each report counts once, none is lost, and each is linked to its source."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.journey import run_once
from nurture.journey.handoff import responses
from nurture.journey.intake.api.batches import post_outcomes
from nurture.journey.outcomes import import_file, outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.journey.tracks import manual
from nurture.reporting import audit, tracks
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.intake.lead_files import import_leads, row
from tests.journey.observe import recorded_statements

DAY = timedelta(days=1)
WON, LOST = Closing.WON, Closing.LOST


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def custody(ctx: AppContext, lead_id: int) -> tuple[str, str]:
    with ctx.database.read() as tx:
        row = tx.execute(text("SELECT kind, ref FROM custody WHERE lead_id = :id"), {"id": lead_id})
        kind, ref = row.one()
    return kind, ref


def amounts(ctx: AppContext) -> list[tuple[str, float | None]]:
    with ctx.database.read() as tx:
        rows = tx.execute(text("SELECT closing, amount FROM outcome ORDER BY id")).all()
    return [(closing, amount) for closing, amount in rows]


def test_two_endings_that_a_person_states_at_one_time_both_count(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    discarded = OutcomeReport(lead, Closing.DISCARDED, reason="x")
    assert outcomes.close_lead(ctx, discarded, "cli", START) == "closed"
    assert outcomes.close_lead(ctx, discarded, "cli", START) == "known"
    manual.enroll(ctx, lead, "keep", START)
    assert outcomes.close_lead(ctx, OutcomeReport(lead, WON, amount=5_000.0), "cli", START) == "closed"
    assert amounts(ctx) == [("discarded", None), ("won", 5_000.0)]
    with pytest.raises(InvalidState, match="another outcome"):
        outcomes.close_lead(ctx, OutcomeReport(lead, LOST, reason="no"), "cli", START)
    with pytest.raises(InvalidState, match="needs a reason"):
        outcomes.close_lead(ctx, OutcomeReport(lead, LOST), "cli", START)


def test_a_lead_is_closed_wherever_it_is_and_its_mail_is_cancelled(ctx: AppContext) -> None:
    nurtured, offered, accepted = (add_lead(ctx, demo_requested=ready) for ready in (False, True, True))
    run_at(ctx, START)
    with ctx.database.read() as tx:
        offers = dict(tx.execute(text("SELECT lead_id, id FROM offer")).tuples().all())
    responses.accept(ctx, offers[accepted], START)
    reports = [OutcomeReport(one, WON, START, 100.0) for one in (nurtured, offered, accepted)]
    assert outcomes.record_outcomes(ctx, reports, "crm", START + DAY) == ["closed"] * 3
    assert {custody(ctx, one) for one in (nurtured, offered, accepted)} == {("resting", "customer")}
    with ctx.database.read() as tx:
        states = set(tx.execute(text("SELECT state FROM message WHERE kind = 'touch'")).scalars())
        withdrawn = tx.execute(text("SELECT state FROM offer WHERE id = :id"), {"id": offers[offered]})
        assert withdrawn.scalar_one() == "withdrawn"
    assert "planned" not in states
    assert audit.run_audit(ctx, START + DAY).ok


def test_the_same_outcome_reported_twice_and_by_two_sources_counts_once(ctx: AppContext) -> None:
    lead_id = add_lead(ctx)
    report = OutcomeReport(lead_id, WON, START, 100.0)
    assert outcomes.record_outcomes(ctx, [report], "crm", START) == ["closed"]
    assert outcomes.record_outcomes(ctx, [report], "crm", START + DAY) == ["known"]
    assert outcomes.record_outcomes(ctx, [report, report], "api", START + DAY) == ["same", "known"]
    assert amounts(ctx) == [("won", 100.0)]


def test_an_amount_that_comes_later_completes_the_outcome(ctx: AppContext) -> None:
    first, second = add_lead(ctx), add_lead(ctx)
    reports = [OutcomeReport(first, WON), OutcomeReport(second, WON), OutcomeReport(second, WON, START, 7.5)]
    assert outcomes.record_outcomes(ctx, reports, "cli", START) == ["closed", "closed", "completed"]
    assert outcomes.record_outcomes(ctx, [OutcomeReport(first, WON, START, 90.0)], "crm", START) == ["completed"]
    assert amounts(ctx) == [("won", 90.0), ("won", 7.5)]


def test_a_conflict_is_stored_and_a_person_resolves_it(ctx: AppContext) -> None:
    lead_id, other = add_lead(ctx), add_lead(ctx)
    both = [OutcomeReport(lead_id, LOST, START, reason="price"), OutcomeReport(other, WON, START, 10.0)]
    outcomes.record_outcomes(ctx, both, "csv", START)
    reports = [OutcomeReport(lead_id, WON, START + DAY, 500.0), OutcomeReport(other, WON, START + DAY, 20.0)]
    assert outcomes.record_outcomes(ctx, reports, "crm", START + DAY) == ["conflict"] * 2
    assert custody(ctx, lead_id) == ("closed", "lost")
    first, second = outcomes.list_contradictions(ctx)
    assert (first.lead_id, first.current_closing, first.closing, first.source) == (lead_id, "lost", "won", "crm")
    outcomes.resolve_contradiction(ctx, first.id, accept=True, by="mara", now=START + DAY)
    outcomes.resolve_contradiction(ctx, second.id, accept=False, by="mara", now=START + DAY)
    assert custody(ctx, lead_id) == ("resting", "customer")
    assert amounts(ctx) == [("won", 500.0), ("won", 10.0)]
    assert outcomes.list_contradictions(ctx) == []
    with pytest.raises(NotFound, match="no unresolved contradiction"):
        outcomes.resolve_contradiction(ctx, first.id, accept=False, by="mara", now=START + DAY)


def test_a_lead_closed_as_unreachable_may_still_be_won(ctx: AppContext) -> None:
    lead_id = add_lead(ctx)
    assert outcomes.record_outcomes(ctx, [OutcomeReport(lead_id, Closing.UNREACHABLE)], "cli", START) == ["closed"]
    assert outcomes.record_outcomes(ctx, [OutcomeReport(lead_id, WON, START, 5.0)], "crm", START) == ["closed"]
    assert custody(ctx, lead_id) == ("resting", "customer")


def test_an_outcome_is_joined_to_rep_policy_track_and_touch(ctx: AppContext) -> None:
    lead_id = add_lead(ctx, title="Head")
    run_at(ctx, START, START + timedelta(hours=3))
    outcomes.record_outcomes(ctx, [OutcomeReport(lead_id, WON, START + DAY, 9.0)], "crm", START + DAY)
    (one,) = outcomes.list_outcomes(ctx, WON, 10)
    assert (one.lead_id, one.lead_source, one.track, one.touch) == (lead_id, "test", "welcome", "01-hello")
    assert (one.source, one.amount, one.rep) == ("crm", 9.0, None)
    ready = add_lead(ctx, demo_requested=True)
    run_once.run_once(ctx, START + DAY)
    outcomes.record_outcomes(ctx, [OutcomeReport(ready, LOST, reason="price")], "crm", START + DAY)
    (one,) = outcomes.list_outcomes(ctx, LOST, 10)
    assert one.rep in ("ana", "ben")
    assert one.policy_version == 1


def test_a_batch_costs_the_same_statements_for_two_leads_and_for_forty(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    outcomes.record_outcomes(ctx, [OutcomeReport(add_lead(ctx), WON)], "crm", START)  # the definitions are read once
    few, many = ([OutcomeReport(add_lead(ctx), WON, START, 1.0) for _ in range(count)] for count in (2, 40))
    with recorded_statements(sqlite_db) as first:
        outcomes.record_outcomes(ctx, few, "crm", START)
    with recorded_statements(sqlite_db) as second:
        outcomes.record_outcomes(ctx, many, "crm", START)
    assert len(first) == len(second)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_a_file_closes_leads_and_gives_bad_rows_back_with_a_remedy(ctx: AppContext, tmp_path: Path) -> None:
    first = add_lead(ctx, email="ana@people.example")
    second = add_lead(ctx, external_id="c-2")
    file = write(
        tmp_path / "won.csv",
        "Email;Outcome;Deal Amount;Close Date;Lost Reason",
        "ana@people.example;Closed Won;1.234,50 €;31.12.2025;",
        "c-2;lost;;2026-01-02;no budget",
        "nobody@people.example;won;;;",
        "c-2;lost;;;",
        "c-2;maybe;;;",
        "c-2;won;12;2027-01-01;",
    )
    done = import_file.import_outcomes(ctx, file, START)
    assert (done.rows, done.new, done.unchanged, done.rejected) == (6, 2, 1, 3)
    assert amounts(ctx) == [("won", 1234.5), ("lost", None)]
    assert {custody(ctx, one) for one in (first, second)} == {("resting", "customer"), ("closed", "lost")}
    assert done.report_path is not None
    report = done.report_path.read_text("utf-8-sig")
    assert "4,\"no lead matches 'nobody@people.example'; use an id" in report
    assert "6,\"'maybe' is not an outcome; use one of won, lost, discarded, unreachable" in report
    assert "7,2027-01-01 is in the future" in report
    again = import_file.import_outcomes(ctx, file, START + DAY)
    assert (again.new, again.unchanged) == (0, 3)


def test_a_deal_with_an_unclear_amount_is_kept_and_its_amount_asked_for(ctx: AppContext, tmp_path: Path) -> None:
    add_lead(ctx, email="d0@people.example")
    file = write(tmp_path / "deals.csv", "Lead,Outcome,Amount,Close Date", "d0@people.example,won,1.234,2026-01-02")
    done = import_file.import_outcomes(ctx, file, START)
    assert (done.new, done.rejected, amounts(ctx)) == (1, 0, [("won", None)])
    (note,) = done.notes
    assert "line 2, '1.234' is not a clear amount" in note
    file.write_text(file.read_text("utf-8").replace("1.234", "1234.00"), "utf-8")
    assert import_file.import_outcomes(ctx, file, START + DAY).updated == 1
    assert amounts(ctx) == [("won", 1234.0)]


def test_a_lost_deal_needs_no_reason_and_keeps_its_amount(ctx: AppContext, tmp_path: Path) -> None:
    for number in range(6):
        add_lead(ctx, email=f"d{number}@people.example")
    file = write(
        tmp_path / "deals.csv",
        "Lead,Outcome,Amount,Close Date,Lost Reason",
        "d0@people.example,Closed Won,5000,2025-11-20,",
        "d1@people.example,Closed Lost,5000,2025-11-20,",
        "d2@people.example,Closed Lost,,2025-11-20,",
        "d3@people.example,Closed Lost,7000,2025-11-20,price",
        "d4@people.example,5 - Closed Lost (EU),,2025-11-20,price",
        "d5@people.example,Contract Sent,5000,2099-01-01,",
    )
    done = import_file.import_outcomes(ctx, file, START)
    assert (done.new, done.unchanged, done.still_open, done.rejected) == (5, 1, 1, 0)
    with ctx.database.read() as tx:
        rows = tx.execute(text("SELECT closing, amount, reason FROM outcome ORDER BY lead_id")).all()
    assert [tuple(row) for row in rows] == [
        ("won", 5000.0, ""),
        ("lost", 5000.0, "no reason given"),
        ("lost", None, "no reason given"),
        ("lost", 7000.0, "price"),
        ("lost", None, "price"),
    ]
    assert import_file.import_outcomes(ctx, file, START + DAY).unchanged == 6


EXPORTS = {
    "hubspot": (
        "Record ID,Deal Name,Deal Stage,Close Date,Amount,Associated Contact,Associated Contact IDs,Closed Lost Reason",
        "91,Big,Closed Won,2025-12-01,10,Nobody (no@people.example);Ana Souza (ana@people.example),7,",
        "92,Big,Closed Lost,2025-12-01,10,Bo (bo@people.example),8,price",
        "93,Big,Signing party,2027-12-01,10,Cy (cy@people.example),9,",
    ),
    "salesforce": (
        "Opportunity Name,Stage,Amount,Close Date,Contact: Email,Won,Loss Reason",
        "Big,Paid,10,2025-12-01,ana@people.example,1,",
        "Big,Closed Lost,10,2025-12-01,bo@people.example,0,price",
        "Big,Negotiation/Review,10,2027-12-01,cy@people.example,0,",
    ),
    "pipedrive table": (
        "ID,Title,Value,Status,Stage,Won time,Lost time,Contact person email",
        "1,Big,10,Won,Demo,2025-12-01,,ana@people.example",
        "2,Big,10,Lost,Demo,,2025-12-01,bo@people.example",
        "3,Big,10,Open,Demo,,,cy@people.example",
    ),
    "dynamics": (
        "Topic,Email Address (Contact),Status,Status Reason,Actual Revenue,Actual Close Date,Opportunity Name",
        "T,ana@people.example,Won,Won,10,2025-12-01,Big",
        "T,bo@people.example,Lost,Canceled,10,2025-12-01,Big",
        "T,cy@people.example,Open,In Progress,,,Big",
    ),
    "zoho": (
        "Deal Name,Stage,Amount,Closing Date,Contact Name,Email,Reason For Loss",
        "Big,Closed Won,10,2025-12-01,Ana,ana@people.example,",
        "Big,Closed Lost to Competition,10,2025-12-01,Bo,bo@people.example,price",
        "Big,Needs Analysis,10,2027-12-01,Cy,cy@people.example,",
    ),
    "pipedrive": (
        "Deal - Title,Deal - Value,Deal - Status,Deal - Stage,Deal - Won time,Deal - Lost time,Person - Email",
        "Big,10,Won,Demo,2025-12-01,,ana@people.example",
        "Big,10,Lost,Demo,,2025-12-01,bo@people.example",
        "Big,10,Open,Demo,,,cy@people.example",
    ),
}


@pytest.mark.parametrize("system", EXPORTS)
def test_an_export_of_deals_is_read_as_the_crm_writes_it(ctx: AppContext, tmp_path: Path, system: str) -> None:
    for name in ("ana", "bo", "cy"):
        add_lead(ctx, email=f"{name}@people.example")
    done = import_file.import_outcomes(ctx, write(tmp_path / "deals.csv", *EXPORTS[system]), START)
    assert (done.new, done.still_open, done.rejected) == (2, 1, 0)
    assert len(done.notes) == (system == "hubspot"), "the stage 'Signing party' is unknown"
    assert amounts(ctx) == [("won", 10.0), ("lost", 10.0)]
    with ctx.database.read() as tx:
        assert {f"{at}"[:10] for at in tx.execute(text("SELECT happened_at FROM outcome")).scalars()} == {"2025-12-01"}


def test_a_mapping_names_the_columns_and_the_meaning_of_stages(ctx: AppContext, tmp_path: Path) -> None:
    for name in ("ana", "bo"):
        add_lead(ctx, email=f"{name}@people.example")
    file = write(
        tmp_path / "deals.csv", "Kontakt;Stand;Summe", "ana@people.example;Unterschrift;5", "bo@people.example;Aus;"
    )
    mapping = write(
        tmp_path / "deals.yaml",
        "columns: {Kontakt: lead, Stand: outcome, Summe: amount}",
        "statuses: {Unterschrift: won, Aus: lost}",
    )
    done = import_file.import_outcomes(ctx, file, START, mapping=mapping)
    assert done.mapped == {"Kontakt": "lead", "Stand": "outcome", "Summe": "amount"}
    assert amounts(ctx) == [("won", 5.0), ("lost", None)]
    write(mapping, "columns: {Kontakt: leed}")
    with pytest.raises(FileUnreadable, match="did you mean lead"):
        import_file.import_outcomes(ctx, file, START, mapping=mapping)


def test_customers_of_an_import_are_no_wins_of_today(ctx: AppContext, tmp_path: Path) -> None:
    people = [row(f"c{n}@people.example", Status="Customer", Created_At="2024-01-01") for n in range(3)]
    import_leads(ctx, tmp_path, *people, row("d@people.example"), row("e@people.example"), now=START)
    outcomes.record_outcomes(ctx, [OutcomeReport(4, WON, START, 10.0)], "crm", START + DAY)
    import_leads(ctx, tmp_path, row("e@people.example", Status="Customer"), now=START + DAY)
    assert tracks.wins_by_age(ctx).wins == 2


def test_a_file_without_the_columns_says_which_it_needs(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    with pytest.raises(FileUnreadable, match="no column 'outcome'"):
        import_file.import_outcomes(ctx, write(tmp_path / "a.csv", "lead,status", "1,won"), START)


def test_the_api_accepts_outcomes_and_returns_item_errors(ctx: AppContext) -> None:
    lead_id = add_lead(ctx, email="ana@people.example")
    at = START.isoformat()
    items = [
        {"lead": {"email": "ANA@people.example"}, "closing": "won", "happened_at": at, "amount": 12, "id": "d1"},
        {"lead": {"id": lead_id}, "closing": "lost", "happened_at": at, "reason": "price"},
        {"lead": {"id": lead_id}, "closing": "lost", "happened_at": at},
        {"lead": {"id": lead_id}, "closing": "won", "happened_at": at, "amount": "12"},
        {"lead": {"id": lead_id}, "closing": "lost", "happened_at": at, "reason": "x", "amount": 1},
        {"lead": {"id": 999}, "closing": "won", "happened_at": at},
        {"lead": {"id": lead_id}, "closing": "won"},
        {"lead": {"id": lead_id}, "closing": "vanished", "happened_at": at},
        "won",
    ]
    done = post_outcomes(ctx, items, START)
    assert (done.received, done.accepted) == (9, 4)
    assert done.counts == {"closed": 1, "completed": 0, "same": 0, "conflict": 3, "known": 0}
    wrong = [(one.index, one.field) for one in done.rejected]
    assert wrong == [
        (3, "amount"), (5, "lead"), (6, "happened_at"), (7, "closing"), (8, ""),
    ]  # fmt: skip
    again = post_outcomes(ctx, [items[0] | {"amount": 13}], START + DAY)  # type: ignore[operator]
    assert again.counts["known"] == 1, "its own id tells that it is the same"


def test_an_outcome_of_a_missing_lead_changes_nothing(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = replace(make_context(sqlite_db, tmp_path), batch_size=10)
    lead_id = add_lead(ctx)
    with pytest.raises(NotFound, match="no lead 999"):
        outcomes.record_outcomes(ctx, [OutcomeReport(lead_id, WON), OutcomeReport(999, WON)], "cli", START)
    assert custody(ctx, lead_id) == ("intake", "test")
