from __future__ import annotations

import json
import struct
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nurture.errors import FileUnreadable
from nurture.formats.csv_reader import open_rows
from nurture.formats.rejected_rows import BadRow
from nurture.formats.table_file import ReadOptions
from tests.formats.workbooks import OLD_WORKBOOK, write_open_document, write_workbook

LEADS = (("Email", "City"), ("ana@c1.example", 'The "Hague"'), (), ("bo@c1.example", "Köln\n2"))
READ = [(2, ["ana@c1.example", 'The "Hague"']), (4, ["bo@c1.example", "Köln 2"])]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.xlsx", "a.xlsm", "renamed.csv"])
def test_a_workbook_is_read_by_its_content_and_rows_keep_their_numbers(tmp_path: Path, name: str) -> None:
    rows = open_rows(write_workbook(tmp_path / name, LEADS))
    assert (rows.header, list(rows), rows.notes) == (LEADS[0], READ, ())


def test_open_document_and_old_excel_workbooks_are_read(tmp_path: Path) -> None:
    assert list(open_rows(write_open_document(tmp_path / "a.ods", [LEADS[0], ("a@c1.example", "Köln")]))) == [
        (2, ["a@c1.example", "Köln"])
    ]
    assert list(open_rows(written(tmp_path / "a.xls", OLD_WORKBOOK))) == [(2, ["ana@c1.example", "1067"])]


def test_cells_are_written_as_people_write_them(tmp_path: Path) -> None:
    cells = (
        1067.0,
        12.5,
        1.234,
        True,
        "@date:46157",
        "@date:46157.5",
        '<c t="e"><v>#REF!</v></c>',
    )
    path = write_workbook(tmp_path / "a.xlsx", [[f"c{at}" for at in range(len(cells) + 1)], [*cells, "end"]])
    assert list(open_rows(path)) == [
        (2, ["1067", "12.5", "1.2340", "yes", "2026-05-15", "2026-05-15 12:00:00", "", "end"])
    ]


def test_the_sheet_with_addresses_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    sheets = {"Summary": [["Leads", "2"]], "Old": LEADS[:2], "People": LEADS}
    path = write_workbook(tmp_path / "a.xlsx", sheets, hidden=["Old"])
    rows = open_rows(path)
    assert list(rows) == READ
    assert rows.notes == ("read the sheet 'People', not 'Summary'; name another with --sheet",)
    assert list(open_rows(path, reading=ReadOptions(sheet="Old"))) == READ[:1]
    with pytest.raises(FileUnreadable, match="has no sheet 'Lead'; name one of: Summary, Old, People"):
        open_rows(path, reading=ReadOptions(sheet="Lead"))


def test_text_that_was_encoded_twice_is_repaired_in_a_workbook_too(tmp_path: Path) -> None:
    twice = "M\u00fcller".encode().decode("cp1252")
    rows = open_rows(write_workbook(tmp_path / "a.xlsx", [["Email", "Name"], ["a@c1.example", twice]]))
    assert (list(rows), len(rows.notes)) == ([(2, ["a@c1.example", "M\u00fcller"])], 1)
    with pytest.raises(FileUnreadable, match="is no workbook; leave out --sheet"):
        open_rows(written(tmp_path / "a.csv", "Email\na@c1.example\n"), reading=ReadOptions(sheet="A"))


def test_without_addresses_the_first_sheet_with_rows_is_read(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"Empty": [], "Accounts": [["name"], ["Contoso"]], "More": [["x"]]})
    assert list(open_rows(path)) == [(2, ["Contoso"])]


def test_a_file_can_be_read_by_two_readers_at_once(tmp_path: Path) -> None:
    rows = open_rows(write_workbook(tmp_path / "a.xlsx", LEADS))
    with rows.reopen() as again:
        assert list(zip(rows, again, strict=True)) == [(row, row) for row in READ]


def test_a_workbook_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.xlsx", "w", ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", bytes(10_000_000))
    with pytest.raises(FileUnreadable, match="unpacks to 10 MB; at most 500 MB and 100 times"):
        open_rows(tmp_path / "a.xlsx")


def test_an_archive_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", [["Email"], *([f"a{at}@c1.example"] for at in range(2_000))])
    content = path.read_bytes()
    with ZipFile(path) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    written(path, content.replace(struct.pack("<I", size), struct.pack("<I", 10)))
    with pytest.raises(FileUnreadable, match="cannot be read"):
        open_rows(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 and no more", "damaged workbook"),
        (b"\xd0\xcf\x11\xe0 and no more", "is damaged"),
        (b"\x1f\x8b gzip", "gzip archive; unpack it"),
        (b"%PDF-1.7", "a PDF"),
        (b"<html><p>Session expired", "a web page without a table"),
        (b"[1, 2]", "no objects with values"),
        (b'{"a": [{"email": 1}], "b": [{"email": 2}]}', "several lists of objects"),
        (b'{"results": [], "error": null', "not valid JSON"),
    ],
)
def test_what_cannot_be_read_is_one_error_with_a_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(FileUnreadable, match=reason):
        open_rows(written(tmp_path / "a.xlsx", content))


def test_a_zip_archive_that_is_no_workbook_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("leads.csv", "Email\na@c1.example\n")
    with pytest.raises(FileUnreadable, match="unpack it and import the file inside"):
        open_rows(tmp_path / "a.xlsx")


def test_broken_xml_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="cannot be read"):
        open_rows(write_workbook(tmp_path / "a.xlsx", [["Email"], ["<c><v>1</broken>"]]))


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8", "utf-16"])
def test_an_html_table_that_calls_itself_xls_is_read(tmp_path: Path, encoding: str) -> None:
    declared = f'<meta http-equiv="Content-Type" content="text/html; charset={encoding}">'
    cells = (
        "<tr><th>Email<th colspan=2>Name</tr><tr><td>a@c1.example</td><td>Zo&euml; M\xfcller<br>2<td>&amp; Co</table>"
    )
    path = written(tmp_path / "a.xls", f"<html><head>{declared}</head><table>{cells}".encode(encoding))
    assert list(open_rows(path)) == [(2, ["a@c1.example", "Zoë Müller 2", "& Co"])]


def test_the_xml_of_excel_2003_is_read(tmp_path: Path) -> None:
    cells = "<Row><Cell><Data>Email</Data></Cell><Cell><Data>A</Data></Cell><Cell><Data>B</Data></Cell></Row>"
    row = '<Row><Cell><Data>a@c1.example</Data></Cell><Cell ss:Index="3"><Data>x</Data></Cell></Row>'
    path = written(tmp_path / "a.xls", f'<?xml version="1.0"?><Workbook><Table>{cells}{row}</Table></Workbook>')
    assert list(open_rows(path)) == [(2, ["a@c1.example", "", "x"])]


def test_json_objects_are_rows_and_other_items_are_reported(tmp_path: Path) -> None:
    items = [
        {
            "email": "a@c1.example",
            "name": {"first": "Ana", "last": None},
            "tags": ["x", "y"],
            "ok": True,
            "n": 1067.0,
        },
        7,
        {"email": "b@c1.example", "extra": "a\tb"},
    ]
    rows = open_rows(written(tmp_path / "a.json", json.dumps(items)))
    assert rows.header == ("email", "first", "last", "tags", "ok", "n", "extra")
    first, bad, last = list(rows)
    assert first == (2, ["a@c1.example", "Ana", "", "x; y", "yes", "1067", ""])
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.cells) == (3, ("7",))
    assert last == (4, ["b@c1.example", "", "", "", "", "", "a b"])


def test_a_value_deep_inside_json_objects_is_a_column(tmp_path: Path) -> None:
    deep = {"attributes": {"subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED", "suppression": {}}}}}}
    rows = open_rows(written(tmp_path / "a.json", json.dumps([{"email": "a@c1.example"} | deep])))
    assert rows.header == ("email", "consent", "suppression")
    assert list(rows) == [(2, ["a@c1.example", "UNSUBSCRIBED", ""])]


def test_the_one_list_of_a_json_object_is_read(tmp_path: Path) -> None:
    content = json.dumps({"paging": {"next": "x"}, "results": [{"email": "a@c1.example"}]})
    assert list(open_rows(written(tmp_path / "a.json", content))) == [(2, ["a@c1.example"])]


def test_json_lines_are_read_and_a_broken_line_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"email": "a@c1.example"}\n\n{"email": "b@c1.ex\n{"email": "c@c1.example"}\n')
    first, bad, last = list(open_rows(path))
    assert (first, last) == ((2, ["a@c1.example"]), (5, ["c@c1.example"]))
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.cells) == (4, ('{"email": "b@c1.ex',))


def test_nan_is_empty_and_a_lost_letter_is_reported(tmp_path: Path) -> None:
    content = '[{"email": "a@c1.example", "n": NaN}, {"email": "b@c1.example", "n": "\\ud800"}]'
    first, bad = list(open_rows(written(tmp_path / "a.json", content)))
    assert first == (2, ["a@c1.example", ""])
    assert isinstance(bad, BadRow)


def test_objects_with_too_many_names_are_refused(tmp_path: Path) -> None:
    content = json.dumps([{f"name {at}": 1} for at in range(2_001)])
    with pytest.raises(FileUnreadable, match="2,001 different names"):
        open_rows(written(tmp_path / "a.json", content))


def test_a_cell_in_the_last_row_and_column_of_a_sheet_is_one_error(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", [["Email"], ['<c r="XFD1048576"><v>1</v></c>']])
    with pytest.raises(FileUnreadable, match="damaged, or too large"):
        open_rows(path)


cell = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn", "Co"]), max_size=8).map(str.strip)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(cell, cell), max_size=8))
def test_every_row_of_a_workbook_is_read_or_reported(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    rows = [["a@c1.example", *pair] for pair in cells if not any(text.startswith(("<", "@date:")) for text in pair)]
    path = write_workbook(tmp_path / "a.xlsx", [["Email", "A", "B"], *rows, ["end@c1.example"]])
    assert [row[0] if isinstance(row, tuple) else row.line for row in open_rows(path)] == [*range(2, len(rows) + 3)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=12), max_size=8))
def test_every_line_of_json_lines_is_read_or_reported(tmp_path: Path, lines: list[str]) -> None:
    content = "\n".join(['{"email": "a@c1.example"}', *lines, json.dumps({"email": "b@c1.example", "n": lines[:1]})])
    found = list(open_rows(written(tmp_path / "a.jsonl", content)))
    assert len(found) == 2 + sum(bool(line.strip()) for line in lines)


STARTS = (b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"<table>", b'[{"', b"\xef\xbb\xbf", b"\xff\xfe", b"Email,Name\n")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_any_bytes_are_rows_or_the_documented_error(tmp_path: Path, start: bytes, content: bytes) -> None:
    try:
        rows = list(open_rows(written(tmp_path / "any", start + content)))
    except FileUnreadable:
        return
    assert all(isinstance(row, BadRow) or len(row) == 2 for row in rows)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_workbook_is_rows_or_the_documented_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(write_workbook(tmp_path / "good.xlsx", LEADS).read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[at] ^= data.draw(st.integers(1, 255))
    try:
        list(open_rows(written(tmp_path / "bad.xlsx", bytes(content))))
    except FileUnreadable:
        return
