"""Read the files in which sales reports outcome, owner and follow-up of leads, a row per lead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final

from nurture.errors import FileUnreadable
from nurture.formats.columns import find_columns
from nurture.formats.csv_reader import FileRow, open_rows, parse_rows
from nurture.formats.dates import DateOrderEvidence, DateReader
from nurture.formats.rejected_rows import BadRow, InvalidCell

_KIND: Final = "outcome_column"
_DATES: Final = ("closed_at", "touched_at", "changed_at")
_CURRENCY_MARKS: Final = re.compile(r"[^\d.,'\s-]+|\s|'")
_PLAIN: Final = re.compile(r"-?\d+(\.\d{1,2}|,\d{1,2})?")
_GROUPED: Final = re.compile(r"-?\d{1,3}(?:(,)\d{3}(?:,\d{3})*(?:\.\d{1,2})?|(\.)\d{3}(?:\.\d{3})*,\d{1,2})")
_MANY_GROUPS: Final = re.compile(r"-?\d{1,3}(?:(?:,\d{3}){2,}|(?:\.\d{3}){2,})")
_MAX_AMOUNT: Final = 1e12
_SAMPLE_ROWS: Final = 5_000
_MAX_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One row. *lead* is an id, address, external id or hand-off key; other values are "" or None if absent."""

    line: int
    lead: str
    outcome: str = ""
    amount: float | None = None
    closed_at: datetime | None = None
    reason: str = ""
    status: str = ""
    owner: str = ""
    touched_at: datetime | None = None
    changed_at: datetime | None = None


_FIELDS: Final = [field.name for field in fields(OutcomeRow) if field.name != "line"]


class OutcomeRows:
    """The rows of *file*, each with its cells; a BadRow for a row that cannot be read. The caller closes *file*."""

    def __init__(self, path: Path, required: Sequence[str]) -> None:
        self.file = open_rows(path, lambda cells: "lead" in find_columns(cells, _KIND))
        self._columns = find_columns(self.file.header, _KIND)
        missing = [name for name in ("lead", *required) if name not in self._columns]
        if missing:
            self.file.close()
            required_names = ("lead", *required)
            optional_names = ", ".join(name for name in _FIELDS if name not in required_names)
            raise FileUnreadable(
                f"{path} has no column {missing[0]!r}. Its header must contain {', '.join(required_names)}, "
                f"and may contain {optional_names}."
            )
        self._readers = {
            name: DateReader(day_first=self._date_evidence(position).is_day_first())
            for name, position in self._columns.items()
            if name in _DATES
        }

    def _date_evidence(self, position: int) -> DateOrderEvidence:
        """Collect the day-month order of one column from its first rows."""
        found = DateOrderEvidence()
        with self.file.reopen() as sample:
            for number, row in enumerate(sample):
                if number > _SAMPLE_ROWS:
                    break
                if not isinstance(row, BadRow):
                    found.add(row[1][position])
        return found

    def __iter__(self) -> Iterator[tuple[OutcomeRow, FileRow] | BadRow]:
        return parse_rows(self.file, self._columns, lambda row: (self._parse_row(row.line, row.values), row))

    def _parse_row(self, line: int, values: Mapping[str, str]) -> OutcomeRow:
        if not values["lead"]:
            raise InvalidCell("the row names no lead", "write its id, email address or external id")
        dates = {name: read(values[name]) if values[name] else None for name, read in self._readers.items()}
        amount = read_amount(values["amount"]) if values.get("amount") else None
        return OutcomeRow(
            line,
            values["lead"],
            values.get("outcome", "")[:_MAX_LENGTH],
            amount,
            dates.get("closed_at"),
            values.get("reason", "")[:_MAX_LENGTH],
            values.get("status", "")[:_MAX_LENGTH],
            values.get("owner", "")[:_MAX_LENGTH],
            dates.get("touched_at"),
            dates.get("changed_at"),
        )


def read_amount(text: str) -> float:
    """Parse "1,234.50", "1.234,50 €" or "1234". Raises ValueError for an ambiguous amount."""
    plain = _CURRENCY_MARKS.sub("", text)
    found = _GROUPED.fullmatch(plain) or _MANY_GROUPS.fullmatch(plain)
    if found is None and _PLAIN.fullmatch(plain):
        number = float(plain.replace(",", "."))
    elif found is not None and (found.re is _MANY_GROUPS or found[2] or "." in plain or plain.count(",") > 1):
        decimal = "," if found.re is _GROUPED and found[2] else "."
        grouping = "." if decimal == "," else ","
        if found.re is _MANY_GROUPS:
            plain = plain.replace(".", "").replace(",", "")
        number = float(plain.replace(grouping, "").replace(decimal, "."))
    else:
        raise InvalidCell(f"{text[:60]!r} is not a clear amount", "write it as 1234.50")
    if not 0 <= number <= _MAX_AMOUNT:
        raise InvalidCell(f"{text[:60]!r} is out of range for a deal", f"write a number from 0 to {_MAX_AMOUNT:,.0f}")
    return number
