"""Read CSV files of any encoding and delimiter, with preambles and broken rows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from nurture.errors import FileUnreadable, InvalidState, NotFound
from nurture.formats.csv_writer import is_escaped_file, unescape_formula
from nurture.formats.encoding import MAX_LINE, Encoding, LineReader, detect_encoding, open_binary
from nurture.formats.rejected_rows import BadRow

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_COLUMNS: Final = 2_000
_HEADER_SEARCH_LINES: Final = 20  # lines: webinar platforms write a preamble
_MAX_QUOTED_LINES: Final = 100  # a quoted cell that spans more lines is an unclosed quote
_DAMAGED: Final = re.compile("[\0\ufffd\udc80-\udcff]")

HeaderTest = Callable[[Sequence[str]], bool]
Row = tuple[int, list[str]]
T = TypeVar("T")


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


def open_rows(path: str | Path, is_header: HeaderTest | None = None, is_data: HeaderTest | None = None) -> CsvRows:
    """Open the CSV file at *path*; its header is the first line that *is_header* accepts, else the first text.

    If *is_data* accepts that line as a row, no other row is required: the caller reads `header` as a row.

    Raises FileUnreadable for a folder, a missing or empty file, no rows, too many columns, or no text.
    """
    path = Path(path)
    encoding = detect_encoding(path)
    size = path.stat().st_size
    if size == 0:
        raise FileUnreadable(f"{path} is empty; export it again and check that it holds rows")
    return CsvRows(path, size, encoding, is_header, is_data)


class CsvRows:
    """The rows below a CSV file's header, streamed: (line number, cells), or BadRow for a broken line.

    *bytes_read* of *size* is the progress; *preamble* are the lines above the header.
    """

    def __init__(
        self, path: Path, size: int, encoding: Encoding, is_header: HeaderTest | None, is_data: HeaderTest | None = None
    ) -> None:
        self.path = path
        self.size = size
        self.encoding = encoding.name
        self._is_clean = encoding.is_clean
        self._reopen_args = encoding, is_header, is_data
        self._lines = LineReader(open_binary(path), encoding)
        self.preamble: tuple[list[str], ...] = ()
        try:
            self.delimiter, self.header = self._find_header(is_header)
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
        return CsvRows(self.path, self.size, *self._reopen_args)

    def close(self) -> None:
        """Close the file. Reading to its end closes it too."""
        self._lines.close()

    @property
    def bytes_read(self) -> int:
        """The number of bytes of *size* that have been read."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Row | BadRow]:
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

    def _find_header(self, is_header: HeaderTest | None) -> tuple[str, tuple[str, ...]]:
        sample = list(islice(self._lines, _HEADER_SEARCH_LINES))
        declared = re.fullmatch(r"sep=(.)", sample[0]) if sample else None
        start, delimiter = _choose_header(sample, declared.group(1) if declared else None, is_header)
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


def _choose_header(sample: Sequence[str], declared: str | None, is_header: HeaderTest | None) -> tuple[int | None, str]:
    first = 1 if declared else 0
    candidates = (declared,) if declared else DELIMITERS
    # A Zoom report lists hosts and panelists, each with a header, before "Attendee Details".
    sections = [at for at, line in enumerate(sample) if line.strip(' ,;\t"').casefold() == "attendee details"]
    for start in (*sections[-1:], first):
        for at in range(start, len(sample)):
            for delimiter in candidates:
                if is_header and delimiter in sample[at] and is_header(_split_leniently(sample[at], delimiter)):
                    return at, delimiter
    texts = [at for at in range(first, len(sample)) if sample[at].strip(',;|\t "')]
    return (texts[0] if texts else None), declared or _guess_delimiter(sample[at] for at in texts)


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
