"""Read a CSV file as typed leads, row by row, and reject unreadable rows with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Self
from zoneinfo import ZoneInfo

from nurture.formats.column_mapping import ColumnMapping, load_mapping
from nurture.formats.columns import looks_like_header, normalize_name
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.dates import DateOrderEvidence, DateReader
from nurture.formats.lead_row import DATE_FIELDS, LeadRow
from nurture.formats.rejected_rows import BadRow, BadRowReport
from nurture.formats.row_builder import RowBuilder
from nurture.formats.row_plan import ColumnBinding, RowPlan, make_plan
from nurture.formats.webinar_preamble import find_webinar_time

__all__ = ["BadRow", "BadRowReport", "ColumnMapping", "LeadFile", "LeadRow", "load_mapping", "open_leads"]

_EVIDENCE_ROWS: Final = 500


def open_leads(path: str | Path, mapping: ColumnMapping | None = None) -> LeadFile:
    """Open the CSV file at *path* as leads. Raises FileUnreadable."""
    mapping = mapping or ColumnMapping()
    wanted = {normalize_name(column) for column in mapping.columns}

    def is_header(line: Sequence[str]) -> bool:
        named = wanted and sum(normalize_name(cell) in wanted for cell in line) >= min(2, len(wanted))
        return bool(named) or looks_like_header(line)

    rows = open_rows(path, is_header)
    try:
        return LeadFile(rows, make_plan(rows.header, mapping, str(path)), mapping)
    except BaseException:
        rows.close()
        raise


class LeadFile:
    """A CSV file whose columns are mapped: iterate once for its LeadRows and BadRows.

    *source* names the system; *notes* are remarks for the marketer; *webinar_at* is when the webinar was held
    (UTC), if the file says so; *bytes_read* of *size* is the progress.
    """

    def __init__(self, rows: CsvRows, plan: RowPlan, mapping: ColumnMapping) -> None:
        self.path = rows.path
        self.header = rows.header
        self.size = rows.size
        self.source = plan.source
        self.notes = list(plan.notes)
        self.webinar_at = find_webinar_time(rows.preamble)
        self._rows = rows
        self._builder = RowBuilder(plan, mapping.statuses, self._date_readers(plan, mapping))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._rows.close()

    @property
    def bytes_read(self) -> int:
        """The number of bytes of *size* that have been read."""
        return self._rows.bytes_read

    def __iter__(self) -> Iterator[LeadRow | BadRow]:
        build = self._builder.build
        for row in self._rows:
            yield row if isinstance(row, BadRow) else build(*row)

    def _date_readers(self, plan: RowPlan, mapping: ColumnMapping) -> dict[int, DateReader]:
        columns = {column.index: column for column in plan.columns if column.field in DATE_FIELDS}
        evidence = self._collect_evidence(columns)
        day_first_by_column = {index: found.is_day_first() for index, found in evidence.items()}
        known_orders = {day_first for day_first in day_first_by_column.values() if day_first is not None}
        readers = {}
        for index, column in columns.items():
            day_first = day_first_by_column[index]
            if day_first is None and not evidence[index].month_first and len(known_orders) == 1:
                day_first = next(iter(known_orders))  # use the order of the file's other dates
            formats = mapping.formats.get(column.field, ())
            if day_first is None and evidence[index].ambiguous and not formats:
                self.notes.append(
                    f"column {column.column!r}: is 03/04/2026 in March or in April? No date of the column decides it; "
                    f'add `formats: {{{column.field}: "%d/%m/%Y"}}` or "%m/%d/%Y"'
                )
            readers[index] = DateReader(ZoneInfo(mapping.time_zone), day_first=day_first, formats=formats)
        return readers

    def _collect_evidence(self, columns: dict[int, ColumnBinding]) -> dict[int, DateOrderEvidence]:
        """Read the first rows, and more of the file only while the date order of a column is undecided."""
        evidence = {index: DateOrderEvidence() for index in columns}
        if not columns:
            return evidence
        with self._rows.reopen() as reopened:
            rows = iter(reopened)
            while batch := list(islice(rows, _EVIDENCE_ROWS)):
                for row in batch:
                    if not isinstance(row, BadRow):
                        for index, found in evidence.items():
                            found.add(row[1][index])
                if not any(it.ambiguous and not it.day_first + it.month_first for it in evidence.values()):
                    break
        return evidence
