"""CSV files as they come: any encoding, any delimiter, preambles, broken rows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nurture.errors import FileUnreadable
from nurture.formats.csv_cells import bared, is_guarded
from nurture.formats.encoding import MAX_LINE, Encoding, Lines, detect, opened
from nurture.formats.rejected_rows import BadRow

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_COLUMNS: Final = 2_000
_HEADER_WITHIN: Final = 20  # lines: webinar platforms write a preamble
_OPEN_QUOTE_LINES: Final = 100  # a quoted cell may span this many lines; more is an unclosed quote
_DAMAGED: Final = re.compile("[\0\ufffd\udc80-\udcff]")

Recognises = Callable[[Sequence[str]], bool]
Row = tuple[int, list[str]]


def open_rows(
    path: str | Path, recognises: Recognises | None = None, headless: Recognises | None = None
) -> CsvRows:
    """Open the CSV file at *path*; its header is the first line that *recognises*, else the first with text.

    If *headless* takes that line for a row, no other row is required: the caller reads `header` as one.

    Raises FileUnreadable for a folder, a missing or empty file, no rows, too many columns, or no text.
    """
    path = Path(path)
    encoding = detect(path)
    size = path.stat().st_size
    if size == 0:
        raise FileUnreadable(f"{path} is empty; export it again and check that it holds rows")
    return CsvRows(path, size, encoding, recognises, headless)


class CsvRows:
    """The rows under a CSV file's header, streamed: (line number, cells), or BadRow where a line is broken.

    *bytes_read* of *size* tells how far the reading is; *preamble* are the lines above the header.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        encoding: Encoding,
        recognises: Recognises | None,
        headless: Recognises | None = None,
    ) -> None:
        self.path = path
        self.size = size
        self.encoding = encoding.name
        self._clean = encoding.clean
        self._found = encoding, recognises, headless
        self._lines = Lines(opened(path), encoding)
        self.preamble: tuple[list[str], ...] = ()
        try:
            self.delimiter, self.header = self._find_header(recognises)
            self._guarded = is_guarded(self.header)
            self.header = tuple(self._bare(list(self.header)))
            self.header_line = self._lines.number
            if headless is None or not headless(self.header):
                self._require_a_row()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def again(self) -> CsvRows:
        """Open the same file once more, at its first row."""
        return CsvRows(self.path, self.size, *self._found)

    def close(self) -> None:
        """Close the file; reading to its end does so too."""
        self._lines.close()

    @property
    def bytes_read(self) -> int:
        """How many bytes of *size* have been read so far."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Row | BadRow]:
        lines, delimiter, clean = self._lines, self.delimiter, self._clean
        width, blank, guarded = len(self.header), delimiter + " \t", self._guarded
        try:
            for line in lines:
                if not line.strip(blank):
                    continue
                if '"' in line or not clean or (guarded and "'" in line) or len(line) > MAX_LINE:
                    row = self._careful(line)
                    if row is not None:
                        yield row
                    continue
                cells = line.split(delimiter)
                if len(cells) == width or self._fits(cells):
                    yield lines.number, cells
                else:
                    yield BadRow.of(lines.number, self._wrong_width(cells), cells)
        except OSError as fault:
            raise FileUnreadable(
                f"{self.path} cannot be read after line {lines.number}: {fault.strerror}; "
                "copy it to a local disk and import it again"
            ) from fault
        finally:
            self.close()

    def _careful(self, line: str) -> Row | BadRow | None:
        """Parse a record that starts with *line* and has quotes, apostrophes, damaged letters or no bound."""
        number = self._lines.number
        if len(line) > MAX_LINE:
            return BadRow.of(number, f"the line is over {MAX_LINE:,} characters; shorten it", [line])
        if not self._clean and (damage := _DAMAGED.search(line)):
            return BadRow.of(number, _damage(damage.group()), self._split(line.replace("\0", "")))
        try:
            cells, taken = self._record(line, self.delimiter)
        except csv.Error as fault:
            return BadRow.of(number, _quote_fault(str(fault)), self._split(line))
        cells = self._bare(cells)
        if not any(cells):
            return None
        if len(cells) == len(self.header) or self._fits(cells):
            return number, cells
        # The quote that joined the lines may be the fault: only the first is given up.
        self._lines.push_back(taken)
        return BadRow.of(number, self._wrong_width(cells), self._split(line) if taken else cells)

    def _split(self, line: str) -> list[str]:
        return self._bare(line.split(self.delimiter))

    def _bare(self, cells: list[str]) -> list[str]:
        return [bared(cell) for cell in cells] if self._guarded else cells

    def _record(self, line: str, delimiter: str) -> tuple[list[str], list[str]]:
        """Split the record that starts with *line*; also give the further lines that its open quote took.

        Raises csv.Error when its quotes are wrong; the further lines then come again.
        """
        taken: list[str] = []

        def feed() -> Iterator[str]:
            yield f"{line}\n"
            length = len(line)
            for further in self._lines:
                taken.append(further)
                length += len(further)
                if length > MAX_LINE or len(taken) > _OPEN_QUOTE_LINES:
                    return
                yield f"{further}\n"

        try:
            return next(csv.reader(feed(), delimiter=delimiter, strict=True), []), taken
        except csv.Error:
            self._lines.push_back(taken)
            raise

    def _fits(self, cells: list[str]) -> bool:
        """Drop empty cells after the last column; say whether the row then fits."""
        width = len(self.header)
        if len(cells) > width and not any(cells[width:]):
            del cells[width:]
        return len(cells) == width

    def _wrong_width(self, cells: Sequence[str]) -> str:
        return (
            f"{len(cells):,} cells, but the header on line {self.header_line} has {len(self.header):,}; "
            "put quotes round a cell that holds the delimiter, or add the missing cells"
        )

    def _find_header(self, recognises: Recognises | None) -> tuple[str, tuple[str, ...]]:
        sample = list(islice(self._lines, _HEADER_WITHIN))
        declared = re.fullmatch(r"sep=(.)", sample[0]) if sample else None
        start, delimiter = _choose_header(sample, declared.group(1) if declared else None, recognises)
        if start is None:
            raise FileUnreadable(
                f"{self.path} has no header in its first {_HEADER_WITHIN} lines; "
                "put the names of the columns on line 1"
            )
        self.preamble = tuple(_lenient(line, delimiter) for line in sample[:start])
        self._lines.push_back(sample[start:])
        line = next(self._lines)
        width = line.count(delimiter) + 1
        if len(line) > MAX_LINE or (width > MAX_COLUMNS and len(_lenient(line, delimiter)) > MAX_COLUMNS):
            raise FileUnreadable(
                f"{self.path} has {width:,} columns; at most {MAX_COLUMNS:,} are read: "
                "export only the columns that you need"
            )
        if damage := _DAMAGED.search(line):
            raise FileUnreadable(f"{self.path}, line {self._lines.number}: {_damage(damage.group())}")
        try:
            return delimiter, tuple(" ".join(cell.split()) for cell in self._record(line, delimiter)[0])
        except csv.Error as fault:
            where = f"{self.path}, line {self._lines.number}"
            raise FileUnreadable(f"{where}: {_quote_fault(str(fault))}") from fault

    def _require_a_row(self) -> None:
        blank = self.delimiter + ' \t"'
        skipped: list[str] = []
        for line in self._lines:
            skipped.append(line)
            if line.strip(blank):
                self._lines.push_back(skipped)
                return
            if len(skipped) == _OPEN_QUOTE_LINES:
                skipped.clear()
        raise FileUnreadable(
            f"{self.path} has a header on line {self.header_line} and no rows under it; "
            "export it again and check its filter"
        )


def _choose_header(
    sample: Sequence[str], declared: str | None, recognises: Recognises | None
) -> tuple[int | None, str]:
    first = 1 if declared else 0
    candidates = (declared,) if declared else DELIMITERS
    # A Zoom report lists hosts and panelists, each with a header, before "Attendee Details".
    sections = [at for at, line in enumerate(sample) if line.strip(' ,;\t"').casefold() == "attendee details"]
    for start in (*sections[-1:], first):
        for at in range(start, len(sample)):
            for delimiter in candidates:
                if recognises and delimiter in sample[at] and recognises(_lenient(sample[at], delimiter)):
                    return at, delimiter
    texts = [at for at in range(first, len(sample)) if sample[at].strip(',;|\t "')]
    return (texts[0] if texts else None), declared or _likeliest(sample[at] for at in texts)


def _likeliest(lines: Iterator[str]) -> str:
    """Find the delimiter that splits most lines into the same number of cells."""
    sample = list(lines)

    def steadiness(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(_lenient(line, delimiter)) for line in sample)
        steady = [(lines, width) for width, lines in widths.items() if width > 1]
        return max(steady, default=(0, 0))

    return max(DELIMITERS, key=steadiness)


def _lenient(line: str, delimiter: str) -> list[str]:
    if len(line) > MAX_LINE:
        return []
    try:
        return next(csv.reader((line,), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return line.split(delimiter)


def _quote_fault(message: str) -> str:
    if "field larger" in message:
        return "a cell is over 131,072 characters, or its quote is not closed; close or shorten it"
    if "unexpected end" in message:
        return 'a quote (") is opened and never closed; close it, or write "" for a quote inside a cell'
    return 'a quote (") stands inside a quoted cell; write it twice ("")'


def _damage(letter: str) -> str:
    if letter == "\0":
        return "a NUL byte stands in the line; export the file again as CSV (UTF-8)"
    if letter == "\ufffd":
        return "letters of this line are damaged (\ufffd); export the file again as CSV (UTF-8)"
    return f"byte 0x{ord(letter) - 0xDC00:02X} is not text here; export the file again as CSV (UTF-8)"
