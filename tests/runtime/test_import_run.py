"""Test what all imports of files have in common, with each kind of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.errors import FileUnreadable
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.consent.suppression_files import import_suppressions
from nurture.journey.engagement.signal_files import import_signals
from nurture.journey.intake.import_file import import_file
from nurture.journey.outcomes.import_file import import_outcomes
from nurture.runtime.context import AppContext
from nurture.runtime.import_run import ImportResult
from tests.journey.builders import START, add_lead, make_context
from tests.journey.observe import one, rows

FILES: dict[str, tuple[Callable[..., ImportResult], str, str, str]] = {
    "leads": (import_file, "Email,Consent", "mia@people.example,consent", "no address,consent"),
    "accounts": (import_accounts, "name,type", "Contoso,customer", "?!,partner"),
    "outcomes": (import_outcomes, "lead,outcome,reason", "c1,lost,price", "c1,maybe,"),
    "signals": (import_signals, "lead,kind,at", "c1,visited,2026-01-02", "c1,visited,soon"),
    "suppressions": (import_suppressions, "email,scope", "ana@people.example,global", "ana@people.example,all"),
}


@pytest.fixture(params=FILES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(db, tmp_path)
    add_lead(ctx, external_id="c1")
    return ctx


def _write(folder: Path, *lines: str) -> Path:
    file = folder / "some.csv"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def _counts(ctx: AppContext) -> dict[str, int]:
    return {table.name: one(ctx, f"SELECT count(*) FROM {table.name}") for table in metadata.sorted_tables}


def test_a_run_is_recorded_and_a_repeat_changes_nothing(ctx: AppContext, tmp_path: Path, kind: str) -> None:
    run, header, good, bad = FILES[kind]
    file = _write(tmp_path, header, good, bad)
    read: list[tuple[int, int]] = []
    done = run(ctx, file, START, progress=lambda *bytes_: read.append(bytes_))
    assert (done.rows, done.new, done.rejected, done.report_path) == (2, 1, 1, tmp_path / "some.bad-rows.csv")
    assert read == [(file.stat().st_size, file.stat().st_size)]
    assert rows(ctx, "SELECT kind, name, rows, created, rejected FROM import_file") == [(kind, "some.csv", 2, 1, 1)]
    before = _counts(ctx)
    again = run(ctx, file, START)
    assert (again.new, again.updated, again.unchanged, again.rejected) == (0, 0, 1, 1)
    assert _counts(ctx) == before | {"import_file": 2}


def test_a_dry_run_counts_the_same_and_writes_only_the_report(ctx: AppContext, tmp_path: Path, kind: str) -> None:
    run, header, good, bad = FILES[kind]
    before = _counts(ctx)
    done = run(ctx, _write(tmp_path, header, good, bad), START, dry_run=True)
    assert (done.rows, done.new, done.rejected) == (2, 1, 1)
    assert done.report_path is not None
    assert done.report_path.exists()
    assert _counts(ctx) == before


def test_a_corrected_report_is_imported_without_its_own_columns(ctx: AppContext, tmp_path: Path, kind: str) -> None:
    run, header, _, bad = FILES[kind]
    done = run(ctx, _write(tmp_path, header, bad), START)
    assert done.report_path is not None
    fixes = {"no address": "bo@people.example", "?!": "Fabrikam", "soon": "2026-01-03", ",all": ",global"}
    text = done.report_path.read_text("utf-8-sig")
    for wrong, right in fixes.items():
        text = text.replace(f"{wrong},", f"{right},").replace(f"{wrong}\n", f"{right}\n")
    done.report_path.write_text(text.replace("c1,maybe,\n", "c1,lost,budget\n"), "utf-8")
    assert run(ctx, done.report_path, START).new == 1
    if kind == "outcomes":
        assert rows(ctx, "SELECT reason FROM outcome") == [("budget",)]


def test_an_error_says_that_the_import_can_be_repeated(ctx: AppContext, tmp_path: Path, kind: str) -> None:
    run, header, good, bad = FILES[kind]
    with pytest.raises(
        FileUnreadable, match=r"folder that you may write to\. [01] rows? (was|were) imported\. Correct"
    ):
        run(ctx, _write(tmp_path, header, bad, good), START, report=tmp_path)
