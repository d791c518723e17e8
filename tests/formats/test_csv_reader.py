from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.errors import FileUnreadable
from nurture.formats.csv_reader import MAX_COLUMNS, open_rows
from nurture.formats.encoding import MAX_LINE
from nurture.formats.encoding_guess import is_encoded_twice
from nurture.formats.rejected_rows import BadRow
from nurture.formats.table_file import ReadOptions

pytestmark = pytest.mark.quick

ROWS = [["name", "city"], ["Zoë", "Köln"], ["O'Neil", "Łódź"], ["Ann", "Paris; Lyon, the\tother|one"]]


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_csv(rows: Iterable[list[str]], delimiter: str = ",", end: str = "\r\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    return text.getvalue()


def read(path: Path) -> list[list[str]]:
    rows = []
    for row in open_rows(path):
        assert not isinstance(row, BadRow), row
        rows.append(row[1])
    return rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encoding_and_delimiter_are_detected(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = written(tmp_path / "a.csv", as_csv(ROWS, delimiter).encode(encoding))
    rows = open_rows(path)
    assert (list(rows.header), rows.delimiter) == (ROWS[0], delimiter)
    assert [row[1] for row in rows if not isinstance(row, BadRow)] == ROWS[1:]


def test_other_encodings_are_read_as_windows_1252(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "name,city\nZoë,“Köln” 5€\n".encode("cp1252"))) == [["Zoë", "“Köln” 5€"]]


def test_one_invalid_byte_in_a_utf_8_file_rejects_one_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "name,city\nZoë,Köln\nJörg,".encode() + b"\xe9\n" + "André,Orléans\n".encode())
    rows = list(open_rows(path))
    assert [row.line for row in rows if isinstance(row, BadRow)] == [3]
    assert [row[1] for row in rows if not isinstance(row, BadRow)] == [["Zoë", "Köln"], ["André", "Orléans"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_line_endings_are_read_and_counted(tmp_path: Path, end: str) -> None:
    rows = list(open_rows(written(tmp_path / "a.csv", f"a,b{end}1,2{end}{end}3,4")))
    assert rows == [(2, ["1", "2"]), (4, ["3", "4"])]


@pytest.mark.parametrize("count", [1, 18, 19, 20, 21, 22, 500])
def test_no_row_is_lost_and_lines_are_numbered(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "a.csv", as_csv([["a", "b"], *([str(i), "x"] for i in range(count))]))
    assert list(open_rows(path)) == [(i + 2, [str(i), "x"]) for i in range(count)]


cell = st.text(st.characters(exclude_characters="\0\r\ufffd", exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: not is_encoded_twice(text)
)


@given(
    st.lists(st.lists(cell, min_size=3, max_size=3), min_size=1, max_size=30),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=80, deadline=None)
def test_a_written_csv_file_is_read_back_unchanged(
    tmp_path: Path, table: list[list[str]], delimiter: str, encoding: str
) -> None:
    rows = [["id", "header", "other"], *([f"r{i}", *row[1:]] for i, row in enumerate(table))]
    path = written(tmp_path / "a.csv", as_csv(rows, delimiter, "\n").encode(encoding))
    assert read(path) == rows[1:]


@given(st.one_of(st.binary(max_size=400), st.text(alphabet='a",;\n\r\t|\0é@.', max_size=300).map(str.encode)))
@settings(max_examples=200, deadline=None)
def test_random_bytes_return_rows_or_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "a.csv", content)
    try:
        lines = [row.line if isinstance(row, BadRow) else row[0] for row in open_rows(path)]
    except FileUnreadable as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert lines == sorted(set(lines))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "no header"),
        (b"\n\n\n", "no header"),
        (b"email,name\n", "no rows"),
        (b"email,name\n,\n\n", "no rows"),
        (b"em\0ail,name\na@example.com,b\n", "NUL"),
        (b"PK\x03\x04" + b"\0" * 50, "damaged workbook"),
        (b"%PDF-1.7", "a PDF"),
        (",".join(f"c{i}" for i in range(10_000)).encode() + b"\n1\n", "10,000 columns"),
        (b'email,"name\na,b\n', "quote"),
    ],
)
def test_an_unusable_file_raises_one_error_with_a_remedy(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(FileUnreadable, match=says) as caught:
        list(open_rows(written(tmp_path / "leads.csv", content)))
    assert "leads.csv" in str(caught.value)


def test_a_folder_and_a_missing_file_are_distinguished(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="is a folder"):
        open_rows(tmp_path)
    with pytest.raises(FileUnreadable, match="does not exist"):
        open_rows(tmp_path / "none.csv")


def bad(path: Path) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in open_rows(path) if isinstance(row, BadRow)]


def good(path: Path) -> list[int]:
    return [row[0] for row in open_rows(path) if not isinstance(row, BadRow)]


@pytest.mark.parametrize("row", ["1", "1,2,3", '1,"2', '"1"x,2', "1,\0", ",".join("x" * 10_000)])
def test_a_broken_row_is_one_bad_row_and_the_others_are_read(tmp_path: Path, row: str) -> None:
    path = written(tmp_path / "a.csv", f"a,b\n1,2\n{row}\n" + "3,4\n" * 300)
    assert [line for line, _ in bad(path)] == [3]
    assert good(path) == [2, *range(4, 304)]


def test_an_unclosed_quote_rejects_no_other_row(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'a,b\n"1","2\n"3","4"\n"5","6"\n')
    assert [line for line, _ in bad(path)] == [2]
    assert good(path) == [3, 4]


def test_cells_may_span_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'a,b\n1,"two\nlines ""quoted"""\n3,4\n')
    assert list(open_rows(path)) == [(2, ["1", 'two\nlines "quoted"']), (4, ["3", "4"])]


def test_empty_cells_after_the_last_column_are_ignored(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "a,b\n1,2,,\n")) == [["1", "2"]]


def test_a_line_of_50_mb_is_one_bad_row_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n1,2\n")
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\n3,4\n")
    tracemalloc.start()
    rows = list(open_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.line if isinstance(row, BadRow) else row[0] for row in rows] == [2, 3, 4]
    assert f"{MAX_LINE:,}" in next(row.reason for row in rows if isinstance(row, BadRow))
    assert peak < 16_000_000


def test_the_header_is_found_below_a_preamble(tmp_path: Path) -> None:
    text = 'Webinar Name,"Care, for leads"\nGenerated,2026-08-05\n\nEmail;First Name\na@example.com;Ann\n'
    rows = open_rows(written(tmp_path / "a.csv", text), lambda cells: "Email" in cells)
    assert (rows.header, rows.header_line, list(rows)) == (("Email", "First Name"), 4, [(5, ["a@example.com", "Ann"])])


def test_a_declared_delimiter_is_used(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "sep=;\na,x;b\n1,5;2\n")) == [["1,5", "2"]]


def test_progress_counts_bytes(tmp_path: Path) -> None:
    rows = open_rows(written(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 100_000))
    seen = {rows.bytes_read for _ in rows}
    assert len(seen) > 1
    assert max(seen) == rows.size == 400_004


def test_many_unclosed_quotes_are_read_quickly(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b\n" + 'a","\n' * 2_000)
    assert len(list(open_rows(path))) > 0


def test_the_maximum_number_of_columns_is_accepted(tmp_path: Path) -> None:
    header = ",".join(f"c{i}" for i in range(MAX_COLUMNS))
    row = ",".join("1" * MAX_COLUMNS)
    assert len(read(written(tmp_path / "a.csv", f"{header}\n{row}\n"))[0]) == MAX_COLUMNS


@pytest.mark.parametrize(
    ("encoding", "label", "names"),
    [
        ("cp1252", "Windows-1252", "Müller,Köln\nÆsop,“Ümit” 5 €\nSão Paulo,João\n"),
        ("mac_roman", "Mac Roman", "Müller,Köln\nJosé,Nuñez\n"),
        ("mac_roman", "Mac Roman", "Müller,x\n"),
        ("cp1250", "Windows-1250", "Łukasz,x\n"),
        ("cp1250", "Windows-1250", "Dvořák,Nováček\nJiří,Šárka\n"),
        ("cp1250", "Windows-1250", "Győr,Szűcs\n"),
        ("cp1251", "Windows-1251", "Иван Петров,Москва\n"),
        ("shift_jis", "Shift-JIS", "山田太郎,株式会社サンプル\n"),
        ("shift_jis", "Shift-JIS", "山田,x\n"),
        ("gbk", "gb18030", "王小明,有限公司\n"),
        ("iso2022_jp", "iso2022_jp", "山田太郎,東京都\n"),
    ],
)
def test_an_older_encoding_is_guessed_by_its_words_and_said(
    tmp_path: Path, encoding: str, label: str, names: str
) -> None:
    path = written(tmp_path / "a.csv", f"name,city\n{names}".encode(encoding))
    rows = open_rows(path)
    assert [row[1] for row in rows if not isinstance(row, BadRow)] == [line.split(",") for line in names.splitlines()]
    guess = (f"read as {label} (guessed); name another with --encoding",)
    assert rows.notes == (() if encoding == "iso2022_jp" else guess)


def test_a_person_can_name_the_encoding(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "name,city\nŠárka,Żary\n".encode("iso8859_2"))
    rows = open_rows(path, reading=ReadOptions(encoding="ISO-8859-2"))
    assert (list(rows), rows.notes) == ([(2, ["Šárka", "Żary"])], ())
    for name in ("klingon", "base64", "", "a\0b"):
        if name:
            with pytest.raises(FileUnreadable, match="is not an encoding; write for example"):
                open_rows(path, reading=ReadOptions(encoding=name))


def test_text_that_was_encoded_twice_is_repaired_and_said(tmp_path: Path) -> None:
    lines = "Müller,KÖLN\nЖизнь,don\u2019t"
    twice = lines.encode().decode("cp1252")
    path = written(tmp_path / "a.csv", f"name,city\n{twice}\nZoë,Nestlé® „MENÜ“ CAFÉ»\n")
    rows = open_rows(path)
    assert [row[1] for row in rows if not isinstance(row, BadRow)] == [
        *(line.split(",") for line in lines.split("\n")),
        ["Zoë", "Nestlé® „MENÜ“ CAFÉ»"],
    ]
    assert rows.notes == ("some text was encoded twice (MÃ¼ller for Müller) and is repaired; check a few names",)


def test_letters_that_were_lost_before_the_export_are_said(tmp_path: Path) -> None:
    rows = open_rows(written(tmp_path / "a.csv", "name,city\nM\ufffdller,K\xf6ln\n"))
    assert list(rows) == [(2, ["M\ufffdller", "K\xf6ln"])]
    assert any("letters were lost" in note for note in rows.notes)
