"""Tests of what files and the API say about consent: it counts at every import, and the newest statement wins."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.formats.lead_item import ItemReader
from nurture.journey import run_once
from nurture.journey.intake.import_file import import_rows
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context
from tests.journey.intake.lead_files import custody_of, import_leads, row, rows_of, statements_of

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def on_track(db: Database, tmp_path: Path, **cells: str) -> AppContext:
    """Return a context with one lead on the track `keep`."""
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(**cells), now=START)
    run_once.run_once(ctx, START)
    assert custody_of(db) == [("track", "keep")]
    return ctx


@pytest.mark.parametrize("no", ["No", "Withdrawn", "Unsubscribed", "Opted out"])
def test_a_later_no_stops_mail_at_once_with_a_line_in_the_journal(db: Database, tmp_path: Path, no: str) -> None:
    ctx = on_track(db, tmp_path)
    done = import_leads(ctx, tmp_path, row(Consent=no), now=START + HOUR)
    assert (done.updated, dict(done.consent)) == (1, {"withdrawn": 1})
    assert rows_of(db, "SELECT reason FROM journal WHERE event = 'updated'")[0][0].endswith("new: opt-out")
    assert rows_of(db, "SELECT consent_basis FROM lead") == [(None,)]
    run_once.run_once(ctx, START + HOUR)
    assert custody_of(db) == [("queue", "suppressed")]
    run_once.run_once(ctx, START + 40 * DAY)
    assert rows_of(db, "SELECT count(*) FROM message WHERE state <> 'cancelled' AND recipient = 'lead'") == [(0,)]


def test_a_withdrawal_by_the_api_stops_mail(db: Database, tmp_path: Path) -> None:
    ctx = on_track(db, tmp_path)
    item = {"email": "ann@example.com", "consent_basis": "withdrawn"}
    assert import_rows(ctx, [ItemReader("crm", {}).read(1, item)], "API batch", START + HOUR).updated == 1
    run_once.run_once(ctx, START + HOUR)
    assert custody_of(db) == [("queue", "suppressed")]


def test_a_later_yes_frees_a_lead_without_basis(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    assert dict(import_leads(ctx, tmp_path, row(Consent=""), now=START).by_queue) == {"no-consent-basis": 1}
    done = import_leads(ctx, tmp_path, row(Consent="Yes", Consent_Date="2026-01-04"), now=START + HOUR)
    assert (done.updated, done.freed, dict(done.consent)) == (1, 1, {"granted": 1})
    assert custody_of(db) == [("intake", "import")]
    run_once.run_once(ctx, START + HOUR)
    assert custody_of(db) == [("track", "keep")]


def test_only_a_later_dated_yes_lifts_a_withdrawal(db: Database, tmp_path: Path) -> None:
    ctx = on_track(db, tmp_path)
    import_leads(ctx, tmp_path, row(Consent="No"), now=START + DAY)
    for cells in ({}, {"Consent Date": "2026-01-01"}, {"Consent Date": "2026-01-06"}):
        done = import_leads(ctx, tmp_path, row() | cells, now=START + 2 * DAY)
        assert done.consent["overruled"] == 1
    run_once.run_once(ctx, START + 2 * DAY)
    assert custody_of(db) == [("queue", "suppressed")]
    assert import_leads(ctx, tmp_path, row(Consent_Date="2026-01-08"), now=START + 4 * DAY).freed == 1
    run_once.run_once(ctx, START + 4 * DAY)
    assert custody_of(db) == [("track", "keep")]


def test_in_one_row_and_in_one_file_the_no_wins(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    dated = row("bo@example.com", Consent_Date="2026-01-04")
    rows = row(Opted_Out="yes"), dated, dated | {"Consent": "No", "Consent Date": "2026-01-01"}
    for day in range(2):
        done = import_leads(ctx, tmp_path, *rows, now=START + day * DAY)
        assert custody_of(db) == [("queue", "suppressed"), ("queue", "suppressed")]
        assert done.consent["overruled"] == 2
    assert done.unchanged == 3


def test_consent_stays_with_its_address_and_a_withdrawal_moves_along(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    import_leads(ctx, tmp_path, row(Lead_ID="1"), row("bo@example.com", Lead_ID="2", Consent="No"), now=START)
    later = row("ann2@example.com", Lead_ID="1", Consent=""), row("bo2@example.com", Lead_ID="2")
    import_leads(ctx, tmp_path, *later, now=START + DAY)
    assert custody_of(db) == [("queue", "no-consent-basis"), ("queue", "suppressed")]
    assert rows_of(db, "SELECT consent_basis FROM lead ORDER BY id") == [(None,), (None,)]
    assert statements_of(db) == [
        ("ann@example.com", "global", "consent", "crm"),
        ("bo2@example.com", "global", None, "crm"),
        ("bo2@example.com", "global", "consent", "crm"),
        ("bo@example.com", "global", None, "crm"),
    ]
    import_leads(ctx, tmp_path, row(Lead_ID="1", Consent=""), now=START + 2 * DAY)
    assert custody_of(db)[0] == ("intake", "import")  # the earlier address still has its consent


def test_an_undated_no_that_is_repeated_after_a_yes_counts_again(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    no, yes = row(Consent="No"), row(Consent_Date="2026-01-06")
    import_leads(ctx, tmp_path, no, now=START)
    import_leads(ctx, tmp_path, yes, now=START + 2 * DAY)
    assert custody_of(db) == [("intake", "import")]
    assert import_leads(ctx, tmp_path, no, now=START + 3 * DAY).updated == 1
    assert import_leads(ctx, tmp_path, no, now=START + 4 * DAY).unchanged == 1
    assert import_leads(ctx, tmp_path, yes, now=START + 4 * DAY).unchanged == 1
    assert custody_of(db) == [("queue", "suppressed")]
