"""Rejected rows, and the CSV report in which a marketer corrects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from nurture.errors import FileUnreadable, InvalidState
from nurture.files import make_folder, open_private, require_own_file
from nurture.formats.csv_writer import CsvWriter

_MAX_CELLS = 2_000
_MAX_CELL_LENGTH = 2_000


class InvalidCell(ValueError):
    """A cell or a row that cannot be read. *reason* and *remedy* are clauses, without a full stop."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy

    @classmethod
    def at(cls, place: str, error: ValueError) -> InvalidCell:
        """Return *error* with the place where it occurred."""
        if isinstance(error, cls):
            return cls(f"{place}: {error.reason}", error.remedy)
        return cls(f"{place}: {error}", "correct it or empty the cell")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A rejected row. *reason* ends with a remedy. *opt_outs* are LeadRows with the opt-outs in it: they count."""

    line: int
    reason: str
    cells: tuple[str, ...]
    opt_outs: tuple[Any, ...] = ()

    @classmethod
    def trimmed(cls, line: int, reason: str, cells: Sequence[str], opt_outs: tuple[Any, ...] = ()) -> BadRow:
        """Return a BadRow with *cells* cut to a size that fits into a report."""
        return cls(line, reason, tuple(cell[:_MAX_CELL_LENGTH] for cell in cells[:_MAX_CELLS]), opt_outs)


def choose_report_path(file: Path, wanted: Path | None) -> Path:
    """Return the path of the report on *file*, by default beside it. Raises InvalidState for *file* itself."""
    path = wanted or file.absolute().with_name(f"{file.stem}.bad-rows.csv")
    if path.resolve() == file.resolve():
        raise InvalidState(f"The report of bad rows would overwrite {file}. Name another file for the report.")
    return path


class BadRowReport:
    """Writes bad rows to a CSV file: line, reason, then the original cells. Without bad rows no file is created.

    A corrected report can be imported: the importer skips the first two columns.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self.count = 0
        self._header = tuple(header)
        self._file: IO[str] | None = None
        self._writer: CsvWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, row: BadRow) -> None:
        """Append *row*. Raises FileUnreadable when the report cannot be written."""
        try:
            self._append(row)
        except OSError as error:
            raise FileUnreadable(
                f"the report of bad rows {self.path} cannot be written: {error.strerror}; "
                "name a file in a folder that you may write to"
            ) from error
        self.count += 1

    def _append(self, row: BadRow) -> None:
        if self._writer is None:
            make_folder(self.path.parent, owned=False)
            require_own_file(self.path, "line,reason")
            # The byte order mark makes spreadsheets read UTF-8; undecodable bytes are escaped, not dropped.
            self._file = open_private(self.path, encoding="utf-8-sig", errors="backslashreplace", newline="")
            self._writer = CsvWriter(self._file)
            self._writer.write_row(("line", "reason", *self._header))
        self._writer.write_row((row.line, row.reason, *row.cells))
