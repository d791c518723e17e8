"""Test signal files: valid rows are imported, the others are reported."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import FileUnreadable
from nurture.journey.engagement.signal_files import import_signals
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import all_rows, one, rows

HOUR = timedelta(hours=1)
NOW = START + timedelta(days=2)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _file(tmp_path: Path, *lines: str, header: str = "lead,kind,at,value,email,link") -> Path:
    path = tmp_path / "signals.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_good_rows_go_in_and_bad_ones_are_reported_with_line_and_reason(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx, email="ana@people.example", external_id="00Q1")
    file = _file(
        tmp_path,
        f"{lead},clicked,2026-01-06,,01-hello,guide",
        "Ana@People.example,replied,2026-01-06T10:00,,,",
        "00Q1,deciding,2026-01-06T11:00+01:00,2026-09-30,,",
        "nobody@people.example,clicked,2026-01-06,,,",
        f"{lead},waved,2026-01-06,,,",
        f"{lead},clicked,yesterday,,,",
        f"{lead},clicked,2027-01-01,,,",
        f"{lead},deciding,2026-01-06,30.9.2026,,",
        f"{lead},clicked",
    )
    done = import_signals(ctx, file, NOW)
    assert (done.rows, done.new, done.unchanged, done.rejected) == (9, 3, 0, 6)
    assert done.report_path == tmp_path / "signals.bad-rows.csv"
    with done.report_path.open(encoding="utf-8-sig", newline="") as report:
        bad = list(csv.reader(report))[1:]
    assert sorted(int(row[0]) for row in bad) == [5, 6, 7, 8, 9, 10]
    reasons = " ".join(cell for row in bad for cell in row)
    for word in ("nobody@people.example", "waved", "yesterday", "in the future", "2027-03-31"):
        assert word in reasons
    assert rows(ctx, "SELECT kind FROM signal ORDER BY kind") == [("clicked",), ("deciding",), ("replied",)]
    assert one(ctx, "SELECT count(*) FROM lead WHERE decides_on IS NOT NULL") == 1


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("email_click", "clicked"),
        ("email_open", "opened"),
        ("form_submit", "submitted"),
        ("page_view", "visited"),
        ("Page View", "visited"),
        ("unsubscribe", "unsubscribed"),
    ],
)
def test_words_and_columns_of_other_systems_are_known(
    sqlite_db: Database, tmp_path: Path, word: str, kind: str
) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    add_lead(ctx, email="ana@people.example")
    file = _file(tmp_path, f"ana@people.example,{word},2026-01-06T10:00", header="email,event_type,event_date")
    assert import_signals(ctx, file, NOW).new == 1
    assert rows(ctx, "SELECT kind FROM signal") == [(kind,)]


def test_a_file_that_is_in_already_changes_nothing(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx)
    file = _file(tmp_path, f"{lead},clicked,2026-01-06,,,", f"{lead},clicked,2026-01-06,,,")
    assert (import_signals(ctx, file, NOW).new, one(ctx, "SELECT count(*) FROM signal")) == (1, 1)
    before = all_rows(ctx)
    again = import_signals(ctx, file, NOW)
    assert (again.new, again.unchanged, again.report_path) == (0, 2, None)
    after = all_rows(ctx)
    assert len(after.pop("import_file")) == len(before.pop("import_file")) + 1
    assert after == before


def test_a_click_on_an_email_answers_the_touch_that_carried_it(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    import_signals(ctx, _file(tmp_path, f"{lead},clicked,2026-01-06,,01-hello,"), NOW)
    assert rows(ctx, "SELECT enrollment_id, track, step FROM signal") == [(1, "welcome", "01-hello")]
    run_at(ctx, NOW)
    assert one(ctx, "SELECT step FROM enrollment") == "02-more"


def test_two_leads_of_one_external_id_are_not_guessed_between(ctx: AppContext, tmp_path: Path) -> None:
    for source in ("crm", "webinar"):
        add_lead(ctx, source=source, external_id="77777")
    done = import_signals(ctx, _file(tmp_path, "77777,clicked,2026-01-06,,,"), NOW)
    assert (done.new, done.rejected) == (0, 1)


def test_columns_may_stand_in_any_order_and_optional_ones_may_be_missing(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx)
    file = _file(tmp_path, f"2026-01-06,{lead},replied", header="At,Lead,Kind")
    assert import_signals(ctx, file, NOW).new == 1


def test_a_file_without_its_columns_is_rejected_whole(ctx: AppContext, tmp_path: Path) -> None:
    before = all_rows(ctx)
    with pytest.raises(FileUnreadable, match="no column kind, at"):
        import_signals(ctx, _file(tmp_path, "1,clicked", header="lead,what"), NOW)
    with pytest.raises(FileUnreadable):
        import_signals(ctx, tmp_path, NOW)
    assert all_rows(ctx) == before


def test_a_long_file_is_imported_in_batches(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx)
    lines = [f"{lead},visited,{START - number * HOUR:%Y-%m-%dT%H:%M},,," for number in range(2_100)]
    assert import_signals(ctx, _file(tmp_path, *lines), NOW).new == 2_100
    assert one(ctx, "SELECT count(*) FROM signal WHERE applied_at IS NULL") == 0
