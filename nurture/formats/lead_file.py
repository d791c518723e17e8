"""Read a file as typed leads, row by row, and reject unreadable rows with a reason."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self
from zoneinfo import ZoneInfo

from nurture.domain.fields import FieldType
from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import ColumnMapping, load_mapping
from nurture.formats.column_report import describe_unclear, find_unclear, survey
from nurture.formats.columns import EVENT, detect_system, looks_like_header, normalize_name
from nurture.formats.csv_reader import CsvRows, Row, open_rows
from nurture.formats.dates import DateOrderEvidence, DateReader, choose_orders
from nurture.formats.event_report import find_event_time
from nurture.formats.lead_row import DATE_FIELDS, LeadRow
from nurture.formats.numbers import DecimalEvidence
from nurture.formats.opt_outs import REFUSALS, find_list_refusal
from nurture.formats.permission_cells import describe_noted
from nurture.formats.rejected_rows import BadRow, BadRowReport
from nurture.formats.row_builder import RowBuilder
from nurture.formats.row_plan import RowPlan, make_plan
from nurture.formats.table_file import ReadOptions

__all__ = ["BadRow", "BadRowReport", "ColumnMapping", "LeadFile", "LeadRow", "load_mapping", "open_leads"]

_ATTENDANCE: Final = frozenset({"attended", "attended_at", "minutes_attended", "registered_at"})
_GUEST: Final = "the guest has no email address; add it, or leave the row out"
_DATED_FIELDS: Final = frozenset({*DATE_FIELDS, *REFUSALS})


def open_leads(
    path: str | Path,
    mapping: ColumnMapping | None = None,
    reading: ReadOptions | None = None,
    *,
    attended: bool = True,
) -> LeadFile:
    """Open the file at *path* as leads.

    Raises FileUnreadable, also for a column that may be an opt-out and is not mapped; if nobody attends the import,
    such rows come in, and say so in `unclear_opt_out`.
    """
    mapping = mapping or ColumnMapping()
    wanted = {normalize_name(column) for column in mapping.columns}

    def is_header(line: Sequence[str]) -> bool:
        named = wanted and sum(normalize_name(cell) in wanted for cell in line) >= min(2, len(wanted))
        return bool(named) or looks_like_header(line)

    rows = open_rows(path, is_header, reading=reading)
    try:
        plan = make_plan(rows.header, mapping, str(path))
        file = LeadFile(rows, plan, mapping)
    except BaseException:
        rows.close()
        raise
    if attended and rows.refusing_sheets and not (reading and reading.sheet):
        rows.close()
        raise FileUnreadable(f"{path}: {_describe_sheets(rows)}")
    if attended and plan.unclear:
        rows.close()
        raise FileUnreadable(f"{path}: {describe_unclear(plan.unclear, file.profiles)}")
    return file


def _describe_sheets(rows: CsvRows) -> str:
    """Return the question about sheets that look like opt-outs and would not be read, with what to type."""
    (first, *others), shown = rows.refusing_sheets, ", ".join(map(repr, rows.refusing_sheets))
    look = "look like lists of opt-outs" if others else "looks like a list of opt-outs"
    return (
        f"the sheet{'s' if others else ''} {shown} {look}: import {'each' if others else 'it'} first, with `--sheet "
        f"{shlex.quote(first)}`, so that nobody on it is mailed; then the others with `--sheet "
        f"{shlex.quote(rows.sheet)}`. Nothing was imported"
    )


class LeadFile:
    """A file whose columns are mapped: iterate once for its LeadRows and BadRows.

    *source* names the system; *notes* are remarks for the marketer; *webinar_at* is when the webinar was held
    (UTC), if the file says so; *bytes_read* of *size* is the progress.
    """

    def __init__(self, rows: CsvRows, plan: RowPlan, mapping: ColumnMapping) -> None:
        self.path = rows.path
        self.header = rows.header
        self.size = rows.size
        self.source = plan.source
        self.plan = plan
        self.notes = [*rows.notes, *plan.notes]
        self._rows = rows
        is_attendance = any(column.field in _ATTENDANCE for column in plan.columns)
        self._is_event = detect_system(rows.header) == EVENT or bool(rows.preamble and is_attendance)
        dates = {
            one.index: DateOrderEvidence()
            for one in plan.columns
            if one.field in _DATED_FIELDS or plan.is_of_type(one, FieldType.DATE)
        }
        numbers = {one.index: DecimalEvidence() for one in plan.columns if plan.is_of_type(one, FieldType.NUMBER)}
        self.profiles, self._repeated, refusing = survey(rows, plan, {**dates, **numbers})
        plan.unclear = find_unclear(plan, self.profiles)
        asked = {index for index, _, _ in plan.unclear}
        plan.remarks = [(index, rows.header[index]) for index in sorted(refusing - asked)]
        plan.refusal = find_list_refusal(rows.sheet) or ""
        if plan.refusal:
            self.notes.append(f"nobody in this file is mailed: its sheet is named {rows.sheet!r}")
        plan.decimal_marks = {index: found.decimal_mark() for index, found in numbers.items()}
        readers = self._date_readers(dates, mapping)
        orders = {reader.day_first for reader in readers.values() if reader.day_first is not None}
        day_first = orders.pop() if len(orders) == 1 else None
        self.webinar_at = find_event_time(rows.preamble, DateReader(ZoneInfo(mapping.time_zone), day_first=day_first))
        self._make_builder = partial(RowBuilder, statuses=mapping.statuses, dates=readers)
        self._builder = self._make_builder(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._rows.close()

    @property
    def bytes_read(self) -> int:
        """The number of bytes of *size* that have been read."""
        return self._rows.bytes_read

    def __iter__(self) -> Iterator[LeadRow | BadRow]:
        return self._build(self._rows, self._builder)

    def _build(self, rows: Iterable[Row | BadRow], builder: RowBuilder) -> Iterator[LeadRow | BadRow]:
        build, rescue, is_event = builder.build, builder.rescue, self._is_event
        for row in rows:
            found = rescue(row) if isinstance(row, BadRow) else build(*row)
            if is_event and isinstance(found, LeadRow) and found.email is None and found.external_id is None:
                found = BadRow.trimmed(found.line, _GUEST, row.cells if isinstance(row, BadRow) else row[1])
            yield found

    def read_repeated(self) -> list[LeadRow]:
        """Return the rows that may be of the same person as others, apart from the iteration, without remarks."""
        if not (lines := self._repeated):
            return []
        with self._rows.reopen() as rows:
            chosen = (row for row in rows if not isinstance(row, BadRow) and row[0] in lines)
            return [row for row in self._build(chosen, self._make_builder(self.plan)) if isinstance(row, LeadRow)]

    @property
    def unknown_statuses(self) -> Mapping[str, int]:
        """The status words of the rows that were read which are not known, with their counts."""
        return self._builder.unknown_statuses

    def describe_noted(self) -> list[str]:
        """Return remarks on the texts of the rows that were read: what was not understood, and how often."""
        parts = [f"{title!r} ({count:,} rows)" for title, count in self._rows.passed_over.items() if count]
        notes = [f"Parts of the report that do not list people are passed over: {', '.join(parts)}."] if parts else []
        return [*notes, *describe_noted(self._builder.noted)]

    def _date_readers(self, evidence: Mapping[int, DateOrderEvidence], mapping: ColumnMapping) -> dict[int, DateReader]:
        fields = {one.index: one for one in self.plan.columns if one.index in evidence}
        readers = {}
        for index, day_first in choose_orders(evidence).items():
            column, field = fields[index].column, fields[index].field
            formats = mapping.formats.get(field, ())
            if field not in REFUSALS and day_first is None and evidence[index].ambiguous and not formats:
                self.notes.append(
                    f"column {column!r}: is 03/04/2026 in March or in April? No date of the column decides it; "
                    f'add `formats: {{{field}: "%d/%m/%Y"}}` or "%m/%d/%Y"'
                )
            readers[index] = DateReader(
                ZoneInfo(mapping.time_zone),
                day_first=day_first,
                formats=formats,
                month_words=evidence[index].month_words,
            )
        return readers
