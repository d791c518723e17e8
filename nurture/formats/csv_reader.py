"""Read the rows of CSV files of any encoding and delimiter, workbooks, JSON and HTML tables."""

from __future__ import annotations

import csv
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol, Self, TypeVar

from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.formats.csv_writer import is_escaped_file, unescape_formula
from nurture.formats.encoding import MAX_LINE, Encoding, LineReader, detect_encoding, find_encoding, open_binary
from nurture.formats.event_report import PEOPLE, part_meaning, people_rows
from nurture.formats.rejected_rows import BadRow
from nurture.formats.table_file import BAD_ROW, ReadOptions, convert, detect_format

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_COLUMNS: Final = 2_000
_HEADER_SEARCH_LINES: Final = 60  # lines: webinar platforms write a preamble, with a list of panelists
_MAX_QUOTED_LINES: Final = 100  # a quoted cell that spans more lines is an unclosed quote
_START: Final = 256 * 1024  # bytes
_DAMAGED: Final = re.compile("[\0\ufffd\udc80-\udcff]")

HeaderTest = Callable[[Sequence[str]], bool]
Row = tuple[int, list[str]]
T = TypeVar("T")


class Evidence(Protocol):
    """What the texts of a column have in common."""

    def add(self, text: str, /) -> None:
        """Add the text of a cell."""


class FileRow(NamedTuple):
    """A row and its values by field, stripped."""

    line: int
    cells: Sequence[str]
    values: Mapping[str, str]

    def reject(self, reason: str) -> BadRow:
        """Return the row as rejected for *reason*."""
        return BadRow.trimmed(self.line, reason, self.cells)


def parse_rows(
    rows: Iterable[Row | BadRow], columns: Mapping[str, int], parse: Callable[[FileRow], T]
) -> Iterator[T | BadRow]:
    """Yield what *parse* returns for each row; a row for which it raises an error is a BadRow.

    *columns* are the indexes of the fields.
    """
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        line, cells = row
        found = FileRow(line, cells, {name: cells[index].strip() for name, index in columns.items()})
        try:
            yield parse(found)
        except (ValueError, InvalidState, NotFound) as error:
            yield found.reject(str(error))


def open_rows(
    path: str | Path,
    is_header: HeaderTest | None = None,
    is_data: HeaderTest | None = None,
    reading: ReadOptions | None = None,
) -> CsvRows:
    """Open the file at *path*; its header is the first line that *is_header* accepts, else the first text.

    If *is_data* accepts that line as a row, no other row is required: the caller reads `header` as a row.

    Raises FileUnreadable for a folder, a missing or empty file, no rows, too many columns, or no table.
    """
    path = Path(path)
    reading = reading or ReadOptions()
    with open_binary(path) as file:
        start = file.read(_START)
    if not start:
        raise FileUnreadable(f"{path} is empty; export it again and check that it holds rows")
    kind = detect_format(path, start)
    named = find_encoding(reading.encoding) if reading.encoding else None
    if reading.sheet and kind != "workbook":
        raise FileUnreadable(f"{path} is no workbook; leave out --sheet")
    if kind is None:
        encoding = named or detect_encoding(path)
        if start.removeprefix(BOM_UTF8).startswith(b"line,reason,"):  # we wrote it: its text is as meant
            encoding = replace(encoding, is_twice=False, notes=())
        source = _Source(path, path.stat().st_size, encoding, partial(open_binary, path), encoding.notes)
    else:
        converted = convert(path, kind, reading)
        encoding = Encoding("utf-8", is_clean=kind != "json")
        sheets = (converted.sheet, converted.refusing)
        source = _Source(path, converted.size, encoding, converted.open, converted.notes, "\t", *sheets)
    return CsvRows(source, is_header, is_data)


class _Source(NamedTuple):
    """The text of a file. *delimiter* is None if it is to be found out; *sheet* and *refusing_sheets*: see CsvRows."""

    path: Path
    size: int
    encoding: Encoding
    open: Callable[[], BinaryIO]
    notes: tuple[str, ...] = ()
    delimiter: str | None = None
    sheet: str = ""
    refusing_sheets: tuple[str, ...] = ()


class CsvRows:
    """The rows below a file's header, streamed: (line number, cells), or BadRow for a broken line.

    *bytes_read* of *size* is the progress; *preamble* are the lines above the header; *notes* are for the marketer.
    *passed_over* counts the rows of the other parts of a report, by title, while it is read. *sheet* is the one of a
    workbook that is read, *refusing_sheets* are those of its others that are named after opt-outs.
    """

    def __init__(self, source: _Source, is_header: HeaderTest | None, is_data: HeaderTest | None = None) -> None:
        self.path = source.path
        self.size = source.size
        self.encoding = source.encoding.name
        self.notes = source.notes
        self.sheet, self.refusing_sheets = source.sheet, source.refusing_sheets
        self._is_clean = source.encoding.is_clean
        self._reopen_args = source, is_header, is_data
        self._lines = LineReader(source.open(), source.encoding)
        self.preamble: tuple[list[str], ...] = ()
        self.passed_over: Counter[str] = Counter()
        try:
            self.delimiter, self.header = self._find_header(is_header, source.delimiter)
            self._is_escaped = is_escaped_file(self.header)
            self.header = tuple(self._unescape(list(self.header)))
            self.header_line = self._lines.number
            if is_data is None or not is_data(self.header):
                self._require_a_row()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def reopen(self) -> CsvRows:
        """Open the same file again, at its first row."""
        return CsvRows(*self._reopen_args)

    def collect(self, evidence: Mapping[int, Evidence]) -> None:
        """Add the cells of columns, by index, to the *evidence* of each, apart from the iteration."""
        with self.reopen() as reopened:
            for row in reopened if evidence else ():
                if not isinstance(row, BadRow):
                    for index, found in evidence.items():
                        found.add(row[1][index])

    def close(self) -> None:
        """Close the file. Reading to its end closes it too."""
        self._lines.close()

    @property
    def bytes_read(self) -> int:
        """The number of bytes of *size* that have been read."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Row | BadRow]:
        rows = self._records()
        return people_rows(rows, self.header, self.passed_over) if self.preamble else rows

    def _records(self) -> Iterator[Row | BadRow]:
        lines, delimiter, is_clean = self._lines, self.delimiter, self._is_clean
        width, blank, is_escaped = len(self.header), delimiter + " \t", self._is_escaped
        try:
            for line in lines:
                if not line.strip(blank):
                    continue
                if '"' in line or not is_clean or (is_escaped and "'" in line) or len(line) > MAX_LINE:
                    row = self._parse_quoted(line)
                    if row is not None:
                        yield row
                    continue
                cells = line.split(delimiter)
                if len(cells) == width or self._trim_to_width(cells):
                    yield lines.number, cells
                else:
                    yield BadRow.trimmed(lines.number, self._width_problem(cells), cells)
        except OSError as error:
            raise FileUnreadable(
                f"{self.path} cannot be read after line {lines.number}: {error.strerror}; "
                "copy it to a local disk and import it again"
            ) from error
        finally:
            self.close()

    def _parse_quoted(self, line: str) -> Row | BadRow | None:
        """Parse a record that starts with *line* and has quotes, apostrophes, undecodable bytes or excess length."""
        number = self._lines.number
        if len(line) > MAX_LINE:
            return BadRow.trimmed(number, f"the line is over {MAX_LINE:,} characters; shorten it", [line])
        if line.startswith(BAD_ROW) and self._reopen_args[0].delimiter:
            reason, _, rest = line[1:].partition("\t")
            return BadRow.trimmed(number, reason, [rest])
        if not self._is_clean and (damage := _DAMAGED.search(line)):
            return BadRow.trimmed(number, _damage_problem(damage.group()), self._split(line.replace("\0", "")))
        try:
            cells, extra_lines = self._parse_record(line, self.delimiter)
        except csv.Error as error:
            return BadRow.trimmed(number, _quote_problem(str(error)), self._split(line))
        cells = self._unescape(cells)
        if not any(cells):
            return None
        if len(cells) == len(self.header) or self._trim_to_width(cells):
            return number, cells
        # The quote that joined the lines may be the problem: reject only the first line.
        self._lines.push_back(extra_lines)
        return BadRow.trimmed(number, self._width_problem(cells), self._split(line) if extra_lines else cells)

    def _split(self, line: str) -> list[str]:
        return self._unescape(line.split(self.delimiter))

    def _unescape(self, cells: list[str]) -> list[str]:
        return [unescape_formula(cell) for cell in cells] if self._is_escaped else cells

    def _parse_record(self, line: str, delimiter: str) -> tuple[list[str], list[str]]:
        """Split the record that starts with *line*; also return the further lines that its open quote spans.

        Raises csv.Error when the quotes are wrong, and pushes the further lines back.
        """
        extra_lines: list[str] = []

        def feed() -> Iterator[str]:
            yield f"{line}\n"
            length = len(line)
            for extra in self._lines:
                extra_lines.append(extra)
                length += len(extra)
                if length > MAX_LINE or len(extra_lines) > _MAX_QUOTED_LINES:
                    return
                yield f"{extra}\n"

        try:
            return next(csv.reader(feed(), delimiter=delimiter, strict=True), []), extra_lines
        except csv.Error:
            self._lines.push_back(extra_lines)
            raise

    def _trim_to_width(self, cells: list[str]) -> bool:
        """Drop empty cells after the last column; return whether the row then fits the header."""
        width = len(self.header)
        if len(cells) > width and not any(cells[width:]):
            del cells[width:]
        return len(cells) == width

    def _width_problem(self, cells: Sequence[str]) -> str:
        return (
            f"{len(cells):,} cells, but the header on line {self.header_line} has {len(self.header):,}; "
            "put quotes around a cell that contains the delimiter, or add the missing cells"
        )

    def _find_header(self, is_header: HeaderTest | None, delimiter: str | None) -> tuple[str, tuple[str, ...]]:
        sample = list(islice(self._lines, _HEADER_SEARCH_LINES))
        declared = re.fullmatch(r"sep=(.)", sample[0]) if sample and not delimiter else None
        first = 1 if declared else 0
        start, delimiter = _choose_header(sample, first, declared.group(1) if declared else delimiter, is_header)
        if start is None:
            raise FileUnreadable(
                f"{self.path} has no header in its first {_HEADER_SEARCH_LINES} lines; "
                "put the names of the columns on line 1"
            )
        self.preamble = tuple(_split_leniently(line, delimiter) for line in sample[:start])
        self._lines.push_back(sample[start:])
        line = next(self._lines)
        width = line.count(delimiter) + 1
        if len(line) > MAX_LINE or (width > MAX_COLUMNS and len(_split_leniently(line, delimiter)) > MAX_COLUMNS):
            raise FileUnreadable(
                f"{self.path} has {width:,} columns; at most {MAX_COLUMNS:,} are read: "
                "export only the columns that you need"
            )
        if damage := _DAMAGED.search(line):
            raise FileUnreadable(f"{self.path}, line {self._lines.number}: {_damage_problem(damage.group())}")
        try:
            return delimiter, tuple(" ".join(cell.split()) for cell in self._parse_record(line, delimiter)[0])
        except csv.Error as error:
            where = f"{self.path}, line {self._lines.number}"
            raise FileUnreadable(f"{where}: {_quote_problem(str(error))}") from error

    def _require_a_row(self) -> None:
        blank = self.delimiter + ' \t"'
        skipped: list[str] = []
        for line in self._lines:
            skipped.append(line)
            if line.strip(blank):
                self._lines.push_back(skipped)
                return
            if len(skipped) == _MAX_QUOTED_LINES:
                skipped.clear()
        raise FileUnreadable(
            f"{self.path} has a header on line {self.header_line} and no rows under it; "
            "export it again and check its filter"
        )


def _choose_header(
    sample: Sequence[str], first: int, declared: str | None, is_header: HeaderTest | None
) -> tuple[int | None, str]:
    candidates = (declared,) if declared else DELIMITERS
    # A Zoom report lists hosts and panelists, each with a header, before "Attendee Details".
    sections = [at for at, line in enumerate(sample) if part_meaning(line) == PEOPLE]
    for start in (*sections[-1:], first):
        found = [
            (at, delimiter)
            for at in range(start, len(sample))
            for delimiter in candidates
            if is_header and delimiter in sample[at] and is_header(_split_leniently(sample[at], delimiter))
        ]
        # One row and a blank line, and then another header: a summary of the meeting, before its people.
        while len(found) > 1 and _is_summary(sample, found[0][0], found[1][0]):
            del found[0]
        if found:
            return found[0]
    texts = [at for at in range(first, len(sample)) if sample[at].strip(',;|\t "')]
    return (texts[0] if texts else None), declared or _guess_delimiter(sample[at] for at in texts)


def _is_summary(sample: Sequence[str], header: int, next_header: int) -> bool:
    blank = [not line.strip(',;|\t "') for line in sample[header + 1 : next_header]]
    return len(blank) > 1 and not blank[0] and all(blank[1:])


def _guess_delimiter(lines: Iterator[str]) -> str:
    """Find the delimiter that splits most lines into the same number of cells."""
    sample = list(lines)

    def consistency(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(_split_leniently(line, delimiter)) for line in sample)
        candidates = [(lines, width) for width, lines in widths.items() if width > 1]
        return max(candidates, default=(0, 0))

    return max(DELIMITERS, key=consistency)


def _split_leniently(line: str, delimiter: str) -> list[str]:
    if len(line) > MAX_LINE:
        return []
    try:
        return next(csv.reader((line,), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return line.split(delimiter)


def _quote_problem(message: str) -> str:
    if "field larger" in message:
        return "a cell is over 131,072 characters, or its quote is not closed; close or shorten it"
    if "unexpected end" in message:
        return 'a quote (") is opened and never closed; close it, or write "" for a quote inside a cell'
    return 'a quoted cell contains a quote ("); write it twice ("")'


def _damage_problem(letter: str) -> str:
    if letter == "\0":
        return "the line contains a NUL byte; export the file again as CSV (UTF-8)"
    if letter == "\ufffd":
        return "the line contains damaged characters (\ufffd); export the file again as CSV (UTF-8)"
    return f"byte 0x{ord(letter) - 0xDC00:02X} is not valid in this encoding; export the file again as CSV (UTF-8)"
