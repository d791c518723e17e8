"""Test that nobody is mailed who is in a sheet named after opt-outs, or about whom a remark says only "no mail"."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import FileUnreadable
from nurture.formats.table_file import ReadOptions
from nurture.journey.intake.import_file import import_file
from tests.formats.workbooks import write_workbook
from tests.journey.builders import START, make_context, run_at
from tests.journey.intake.lead_files import rows_of

_LEADS = [["Email", "First Name", "Consent"], ["ana@c1.example", "Ana", "Yes"], ["bo@c1.example", "Bo", "Yes"]]
_GONE = [["Email", "Consent"], ["bo@c1.example", "Yes"], ["cy@c1.example", "Yes"]]
_PLACES = "SELECT normalized, kind, ref FROM lead JOIN address a ON a.id = address_id JOIN custody ON lead_id = lead.id"


def places(db: Database) -> dict[str, str]:
    """Return where each address is: the queue, or the track."""
    return {address[:2]: ref for address, _, ref in rows_of(db, _PLACES)}


def test_a_sheet_of_opt_outs_is_asked_about_and_its_rows_come_in_as_opted_out(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    path = write_workbook(tmp_path / "a.xlsx", {"Leads": _LEADS, "Unsubscribed": _GONE})
    with pytest.raises(FileUnreadable, match=r"'Unsubscribed' looks like a list of opt-outs.* `--sheet Unsubscribed`"):
        import_file(ctx, path, START)
    assert places(db) == {}
    gone = import_file(ctx, path, START, reading=ReadOptions(sheet="Unsubscribed"))
    assert "nobody in this file is mailed: its sheet is named 'Unsubscribed'" in gone.notes
    import_file(ctx, path, START, reading=ReadOptions(sheet="Leads"))
    run_at(ctx, START)
    assert places(db) == {"an": "keep", "bo": "suppressed", "cy": "suppressed"}


@pytest.mark.parametrize("sheet", ["Abmeldungen", "Désinscrits", "Bounced", "退订"])
def test_the_only_sheet_of_a_workbook_may_be_one_of_opt_outs(sqlite_db: Database, tmp_path: Path, sheet: str) -> None:
    ctx = make_context(sqlite_db, tmp_path)
    import_file(ctx, write_workbook(tmp_path / "a.xlsx", {sheet: _LEADS}), START)
    run_at(ctx, START)
    assert set(places(sqlite_db).values()) == {"suppressed"}


def test_an_empty_sheet_of_opt_outs_stops_nothing(sqlite_db: Database, tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"Leads": _LEADS, "Unsubscribed": [["Email"]]})
    assert import_file(make_context(sqlite_db, tmp_path), path, START).new == 2


@pytest.mark.parametrize("column", ["Notes", "Remarks from the fair"])
@pytest.mark.parametrize("remark", ["STOP", "do not email", "Bitte keine Mails!"])
def test_one_of_many_remarks_that_says_no_keeps_its_lead_from_being_mailed(
    db: Database, tmp_path: Path, column: str, remark: str
) -> None:
    words = ("rope", "glass", "paper", "steel", "wood", "tea", "salt", "cloth", "wire", "stone", "wax", "clay", "oil")
    remarks = [f"asks about {first} and {second}" for first in words for second in words[:3]]
    lines = [f"p{number}@c1.example,Yes,{text}" for number, text in enumerate(remarks, 10)]
    path = tmp_path / "leads.csv"
    path.write_text("\n".join([f"Email,Consent,{column}", f"no@c1.example,Yes,{remark}", *lines]), "utf-8")
    ctx = make_context(db, tmp_path)
    assert import_file(ctx, path, START).new == len(lines) + 1
    run_at(ctx, START)
    found = places(db)
    assert found.pop("no") == "suppressed"
    assert set(found.values()) == {"keep"}
    said = "SELECT evidence FROM consent_statement WHERE NOT granted"
    assert rows_of(db, said) == [(f"line 2 of leads.csv, column {column} looks like an opt-out: map it",)]


def test_one_of_few_remarks_may_say_no(sqlite_db: Database, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("Email,Consent,Booth\na@c1.example,Yes,tea\nb@c1.example,Yes,STOP\n", "utf-8")
    ctx = make_context(sqlite_db, tmp_path)
    import_file(ctx, path, START)
    run_at(ctx, START)
    assert places(sqlite_db) == {"a@": "keep", "b@": "suppressed"}


def _write(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "people.csv"
    path.write_text("\n".join(",".join(cells) for cells in (rows[0], *(row.values() for row in rows))), "utf-8")
    return path


@pytest.mark.parametrize("no", [{"Opted Out": "yes"}, {"Status": "Spam complaint"}, {"Notes": "STOP"}])
def test_an_opt_out_stops_every_address_of_its_row(db: Database, tmp_path: Path, no: dict[str, str]) -> None:
    ctx = make_context(db, tmp_path)
    leads = [{"Email": f"{name}@c1.example", "Consent": "yes"} for name in ("a1", "a2", "b1", "m1")]
    import_file(ctx, _write(tmp_path, leads), START)
    row = {"Email": "a1@c1.example", "Consent": "yes", "Email 2": "A2@c1.example", "Manager Email": "m1@c1.example"}
    for _ in range(2):
        import_file(ctx, _write(tmp_path, [row | no]), START, attended=False)
    run_at(ctx, START)
    assert places(db) == {"a1": "suppressed", "a2": "suppressed", "b1": "keep", "m1": "keep"}


@pytest.mark.parametrize(("column", "place"), [("Opted Out", "suppressed"), ("Hard Bounced", "import")])
def test_an_opt_out_stops_an_address_that_comes_in_later_and_a_bounce_only_its_own(
    db: Database, tmp_path: Path, column: str, place: str
) -> None:
    ctx = make_context(db, tmp_path)
    first = {"Email": "a1@c1.example", column: "yes", "Private Email": "a2@c1.example"}
    import_file(ctx, _write(tmp_path, [first]), START)
    import_file(ctx, _write(tmp_path, [{"Email": "a2@c1.example", "Consent": "yes"}]), START)
    assert places(db) == {"a1": "suppressed", "a2": place}
