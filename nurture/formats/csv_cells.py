"""Guard the CSV files that we write against formulas, and undo that in those that we read again."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import IO, Final

KEY: Final = "nurture_key"
"""The column by which sales' files name a hand-off."""

OPT_OUTS: Final = ("email", "scope", "ref", "source", "date")
"""The columns of a list of opt-outs."""

_BEFORE: Final = r"""[\s\x00-\x20'"`\u2018-\u201f\u200b-\u200f\u2060\ufeff]*"""
"""What spreadsheets and importers strip before they look at a cell."""
_FORMULA: Final = re.compile(rf"{_BEFORE}[=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b]")
"""The last eight are = + - @ in the widths of East Asian scripts, which Excel takes as well."""
_PLAIN: Final = re.compile(r"[+-]\d+(?:[ .,]\d+)*|\+\d[\d ()./-]{5,}|-+")
"""A signed number, a phone number, a dash for nothing: with digits alone no formula does anything."""
_BREAKS: Final = re.compile(r"([;\t\r\n])")
"""Where another cell begins for a program that takes another delimiter, as Excel does in half of Europe."""
_INDENTED: Final = re.compile(r"'*[\t\r\n]")


class CsvWriter:
    """Write rows to *file*, none of whose texts is a formula. Numbers stay numbers."""

    def __init__(self, file: IO[str], *, lineterminator: str = "\r\n") -> None:
        self._rows = csv.writer(file, lineterminator=lineterminator)

    def row(self, cells: Iterable[object]) -> None:
        """Write one row."""
        self._rows.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in cells])

    def rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write each of *rows*."""
        for row in rows:
            self.row(row)


def guarded(cell: str) -> str:
    """Return *cell* with an apostrophe wherever a spreadsheet could begin to read a formula."""
    parts = _BREAKS.split(cell)
    parts[::2] = [f"'{part}" if _needs_guard(part) else part for part in parts[::2]]
    found = "".join(parts)
    return f"'{found}" if _INDENTED.match(found) else found


def is_guarded(header: Sequence[str]) -> bool:
    """Tell by its header whether a file is one of ours: bad rows, a list of opt-outs, or a file for sales."""
    names = [name.casefold() for name in header]
    return names[:2] == ["line", "reason"] or names == list(OPT_OUTS) or KEY in names


def bared(cell: str) -> str:
    """Return what *cell* was before `guarded`; other texts stay as they are."""
    if "'" not in cell:
        return cell
    found = cell[1:] if cell[0] == "'" and _INDENTED.match(cell) else cell
    parts = _BREAKS.split(found)
    parts[::2] = [part[1:] if part[:1] == "'" and _FORMULA.match(part, 1) else part for part in parts[::2]]
    return "".join(parts)


def _needs_guard(part: str) -> bool:
    """Whether *part* reads as a formula, or as if it had been guarded already."""
    return _FORMULA.match(part) is not None and _PLAIN.fullmatch(part) is None
