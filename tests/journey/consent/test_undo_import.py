"""Tests of taking back an import of opt-outs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from nurture.journey.consent import statements
from nurture.journey.consent.suppression import suppress
from nurture.journey.consent.suppression_files import import_suppressions, list_current
from nurture.journey.consent.undo_import import undo_import
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import custody, rows

DAY = timedelta(days=1)
NOW = START + DAY


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _import(ctx: AppContext, tmp_path: Path, name: str, *emails: str, now: datetime = NOW) -> int:
    path = tmp_path / name
    path.write_text("email\n" + "".join(f"{email}\n" for email in emails), encoding="utf-8")
    return import_suppressions(ctx, path, now).import_id


def _suppressed(ctx: AppContext) -> list[str]:
    return [one.email for one in list_current(ctx)]


def test_an_undo_takes_back_what_the_import_added_and_nothing_else(ctx: AppContext, tmp_path: Path) -> None:
    lead = add_lead(ctx, title="Head", email="ana@people.example")
    run_at(ctx, START)
    suppress(ctx, ["bo@people.example"], START)
    import_id = _import(ctx, tmp_path, "all.csv", "ana@people.example", "bo@people.example", "cy@people.example")
    run_at(ctx, NOW)
    assert custody(ctx, lead) == ("queue", "suppressed")
    logged = rows(ctx, "SELECT count(*) FROM suppression")[0][0]
    done = undo_import(ctx, "all.csv", NOW + DAY)
    assert (done.import_id, done.retracted, done.still_suppressed) == (import_id, 2, 0)
    assert _suppressed(ctx) == ["bo@people.example"]
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(logged + 2,)]
    assert custody(ctx, lead)[0] == "intake"


def test_an_undone_list_can_be_imported_again_and_undone_again(ctx: AppContext, tmp_path: Path) -> None:
    for now in (NOW, NOW + DAY):
        import_id = _import(ctx, tmp_path, "all.csv", "ana@people.example", now=now)
        assert _suppressed(ctx) == ["ana@people.example"]
        undo_import(ctx, str(import_id), now)
        assert _suppressed(ctx) == []
    with pytest.raises(InvalidState, match="Nothing changed"):
        undo_import(ctx, "all.csv", NOW + 2 * DAY)


def test_an_undo_takes_back_the_withdrawals_of_the_import_and_no_others(ctx: AppContext, tmp_path: Path) -> None:
    lead, other = (add_lead(ctx, title="Head", email=f"{name}@people.example") for name in ("ana", "bo"))
    run_at(ctx, START)
    statements.withdraw_consent(ctx, other, START)
    path = tmp_path / "records.csv"
    path.write_text(
        "email,scope,ref,source,date,kind\n"
        + "".join(f"{name}@people.example,global,,crm,2026-01-01,withdrawal\n" for name in ("ana", "bo")),
        encoding="utf-8",
    )
    for now in (NOW, NOW + 2 * DAY):
        assert import_suppressions(ctx, path, now).new == 2
        run_at(ctx, now)
        assert custody(ctx, lead) == ("queue", "suppressed")
        done = undo_import(ctx, "records.csv", now + DAY)
        assert (done.retracted, done.still_suppressed) == (2, 1)
        assert custody(ctx, lead)[0] == "intake"
        assert statements.load_history(ctx, lead, now + DAY).permission.allowed
        assert [(one.email, one.source) for one in list_current(ctx)] == [("bo@people.example", "admin")]
    assert rows(ctx, "SELECT consent_basis FROM lead ORDER BY id") == [("consent",), (None,)]
    with pytest.raises(InvalidState, match="Nothing changed"):
        undo_import(ctx, "records.csv", NOW + 4 * DAY)


def test_an_undo_names_the_files_whose_opt_outs_were_known_already(ctx: AppContext, tmp_path: Path) -> None:
    _import(ctx, tmp_path, "all.csv", "ana@people.example")
    _import(ctx, tmp_path, "true.csv", "ana@people.example")
    assert undo_import(ctx, "all.csv", NOW + DAY).later == ["true.csv"]


def test_an_unknown_import_is_refused_with_the_known_ones(ctx: AppContext, tmp_path: Path) -> None:
    import_id = _import(ctx, tmp_path, "all.csv", "ana@people.example")
    with pytest.raises(NotFound, match=rf"Newest: {import_id} \(all.csv\)"):
        undo_import(ctx, "other.csv", NOW)
