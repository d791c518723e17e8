"""Tests of what a dry run says about the leads of a file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import FileUnreadable
from nurture.journey.intake.import_file import import_file, write_mapping_file
from nurture.journey.run_once import run_once
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.intake.lead_files import NOW, plain_context, row, rows_of, write_file
from tests.journey.observe import custody, rows


def test_a_dry_run_previews_the_classification_and_writes_nothing(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, title="Head", email="known@example.com")
    ctx.batch_size = 2
    path = write_file(tmp_path, [row(), row("bo@example.com"), row("cy@example.com", Opted_Out="yes")])
    before = rows(ctx, "SELECT count(*) FROM journal")
    done = import_file(ctx, path, START, dry_run=True)
    assert done.new == 3
    assert done.preview.total() == 3
    assert done.preview["queue suppressed"] == 1
    assert not any(place.startswith("intake") for place in done.preview)
    assert rows(ctx, "SELECT count(*) FROM journal") == before
    assert rows(ctx, "SELECT kind FROM custody") == [("intake",)]


def test_without_publication_there_is_no_preview(db: Database, tmp_path: Path) -> None:
    path = write_file(tmp_path, [row()])
    assert not import_file(plain_context(db, tmp_path), path, NOW, dry_run=True).preview


def test_an_unclear_column_stops_a_dry_run_too(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Email,Sperrkz\na@example.com,x\n", encoding="utf-8")
    ctx = plain_context(db, tmp_path)
    for dry_run in (True, False):
        with pytest.raises(FileUnreadable, match="looks like an opt-out"):
            import_file(ctx, path, NOW, dry_run=dry_run)
    assert import_file(ctx, path, NOW, skip_columns=["Sperrkz"]).new == 1


def test_the_opt_out_of_a_rejected_row_is_recorded(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Email,Unsubscribed,Attended\nann@example.com,2026-01-01,perhaps\n", encoding="utf-8")
    done = import_file(plain_context(db, tmp_path), path, NOW)
    assert (done.new, done.rejected) == (0, 1)
    said = "SELECT normalized, granted FROM consent_statement JOIN address ON address.id = address_id"
    assert [(email, bool(granted)) for email, granted in rows_of(db, said)] == [("ann@example.com", False)]
    again = import_file(plain_context(db, tmp_path), path, NOW)
    assert (again.rejected, len(rows_of(db, said))) == (1, 1)


def test_a_rejected_row_takes_a_known_lead_off_its_track(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    lead = add_lead(ctx, title="Head", email="ann@example.com")
    run_at(ctx, START)
    path = tmp_path / "leads.csv"
    path.write_text("Email,Unsubscribed,Attended\nann@example.com,Yes,perhaps\n", encoding="utf-8")
    import_file(ctx, path, START + timedelta(hours=1))
    run_at(ctx, START + timedelta(hours=2))
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_an_opt_out_with_an_unreadable_address_counts_for_the_lead_that_has_its_id(
    db: Database, tmp_path: Path
) -> None:
    ctx, path = plain_context(db, tmp_path), tmp_path / "leads.csv"
    path.write_text("Record ID,Email,Consent\n7,ann@example.com,Yes\n", encoding="utf-8")
    import_file(ctx, path, NOW, source="crm")
    rows = ("7,ann@@example..com,Yes,", "8,bo@@example..com,Yes,", "7,ann@@example..com,,Yes")
    path.write_text("\n".join(["Record ID,Email,Unsubscribed,Bounced", *rows]) + "\n", encoding="utf-8")
    done = import_file(ctx, path, NOW + timedelta(hours=1), source="crm")
    assert (done.new, done.updated, done.rejected) == (0, 0, 3)
    said = "SELECT normalized, granted FROM consent_statement JOIN address ON address.id = address_id ORDER BY 2"
    assert rows_of(db, said) == [("ann@example.com", False), ("ann@example.com", True)]
    assert rows_of(db, "SELECT * FROM suppression") == []


def test_a_mapping_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Email,Sperrkz\na@example.com,x\n", encoding="utf-8")
    target = write_mapping_file(path)
    assert "opted_out" in target.read_text(encoding="utf-8")
    with pytest.raises(FileUnreadable, match="exists"):
        write_mapping_file(path)


def test_a_dry_run_and_a_run_name_whom_the_policy_closes_and_why(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    path = write_file(tmp_path, [row(), row("bo@example.com", Job_Title="PhD student")])
    expected = [("bo@example.com", "student: title contains student")]
    done = import_file(ctx, path, START, dry_run=True)
    assert [(one.email, one.reason) for one in done.closed] == expected
    assert import_file(ctx, path, START).closed == []
    closed = run_once(ctx, START + timedelta(hours=1)).closed
    assert [(one.email, one.reason) for one in closed] == expected
    assert run_once(ctx, START + timedelta(hours=2)).closed == ()
