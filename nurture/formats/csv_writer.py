"""Escape formulas in written CSV files, and unescape them when such a file is read back."""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import IO, Final

HANDOFF_KEY: Final = "nurture_key"
"""The column of a hand-off's key in files for sales."""

OPT_OUT_COLUMNS: Final = ("email", "scope", "ref", "source", "date", "kind")
"""The columns of a suppression list."""

_IGNORED_PREFIX: Final = r"""[\s\x00-\x20'"`\u2018-\u201f\u200b-\u200f\u2060\ufeff]*"""
"""Characters that spreadsheets and importers strip from the start of a cell."""
_FORMULA: Final = re.compile(rf"{_IGNORED_PREFIX}[=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b]")
"""The last eight are = + - @ in East Asian widths, which Excel accepts too."""
_HARMLESS: Final = re.compile(r"[+-]\d+(?:[ .,]\d+)*|\+\d[\d ()./-]{5,}|-+")
"""A signed number, a phone number, or a dash for "none": harmless as a formula."""
_CELL_BREAKS: Final = re.compile(r"([;\t\r\n])")
"""Where a cell begins for a program with another delimiter, such as Excel in much of Europe."""
_LEADING_BREAK: Final = re.compile(r"'*[\t\r\n]")


class CsvWriter:
    """Writes rows to *file* with formulas escaped. Numbers stay numbers."""

    def __init__(self, file: IO[str], *, lineterminator: str = "\r\n") -> None:
        self._rows = csv.writer(file, lineterminator=lineterminator)

    def write_row(self, cells: Iterable[object]) -> None:
        """Write one row."""
        self._rows.writerow([escape_formula(cell) if isinstance(cell, str) else cell for cell in cells])

    def write_rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write each of *rows*."""
        for row in rows:
            self.write_row(row)


def escape_formula(cell: str) -> str:
    """Return *cell* with an apostrophe wherever a spreadsheet could start a formula."""
    parts = _CELL_BREAKS.split(cell)
    parts[::2] = [f"'{part}" if _needs_escape(part) else part for part in parts[::2]]
    escaped = "".join(parts)
    return f"'{escaped}" if _LEADING_BREAK.match(escaped) else escaped


def is_escaped_file(header: Sequence[str]) -> bool:
    """Return whether a header is of a file that we wrote: rejected rows, opt-outs, or a file for sales."""
    names = [name.casefold() for name in header]
    return names[:2] == ["line", "reason"] or names == list(OPT_OUT_COLUMNS) or HANDOFF_KEY in names


def unescape_formula(cell: str) -> str:
    """Return *cell* as it was before `escape_formula`; other texts are returned unchanged."""
    if "'" not in cell:
        return cell
    unescaped = cell[1:] if cell[0] == "'" and _LEADING_BREAK.match(cell) else cell
    parts = _CELL_BREAKS.split(unescaped)
    parts[::2] = [part[1:] if part[:1] == "'" and _FORMULA.match(part, 1) else part for part in parts[::2]]
    return "".join(parts)


def _needs_escape(part: str) -> bool:
    """Return whether *part* looks like a formula, or like an escaped one."""
    return _FORMULA.match(part) is not None and _HARMLESS.fullmatch(part) is None
