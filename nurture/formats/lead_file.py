"""A CSV file as typed leads, row by row; what cannot be read stays out with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zoneinfo import ZoneInfo

from nurture.formats.column_mapping import DATE_FIELDS, Mapping, load_mapping
from nurture.formats.columns import recognises_header, squash
from nurture.formats.csv_reader import CsvRows, open_rows
from nurture.formats.dates import DateReader, Evidence
from nurture.formats.lead_row import LeadRow, RowBuilder
from nurture.formats.rejected_rows import BadRow, BadRowReport
from nurture.formats.row_plan import Plan, Step, make_plan
from nurture.formats.webinar_header import held_at

__all__ = [
    "BadRow",
    "BadRowReport",
    "LeadFile",
    "LeadRow",
    "Mapping",
    "load_mapping",
    "open_leads",
    "read_leads",
]

_EVIDENCE_ROWS: Final = 500


def read_leads(path: str | Path, mapping: Mapping | None = None) -> Iterator[LeadRow | BadRow]:
    """Read the leads of the CSV file at *path*. Raises FileUnreadable before the first row."""
    return iter(open_leads(path, mapping))


def open_leads(path: str | Path, mapping: Mapping | None = None) -> LeadFile:
    """Open the CSV file at *path* as leads. Raises FileUnreadable."""
    mapping = mapping or Mapping()
    wanted = {squash(column) for column in mapping.columns}

    def recognises(line: Sequence[str]) -> bool:
        named = wanted and sum(squash(cell) in wanted for cell in line) >= min(2, len(wanted))
        return bool(named) or recognises_header(line)

    rows = open_rows(path, recognises)
    try:
        return LeadFile(rows, make_plan(rows.header, mapping, str(path)), mapping)
    except BaseException:
        rows.close()
        raise


class LeadFile:
    """A CSV file that has been understood: iterate once for its LeadRows and BadRows.

    *source* names the system; *notes* are remarks for the marketer; *held_at* is when the webinar was held
    (UTC), if the file says so; *bytes_read* of *size* is the progress.
    """

    def __init__(self, rows: CsvRows, plan: Plan, mapping: Mapping) -> None:
        self.path = rows.path
        self.header = rows.header
        self.size = rows.size
        self.source = plan.source
        self.notes = list(plan.notes)
        self.held_at = held_at(rows.preamble)
        self._rows = rows
        self._builder = RowBuilder(plan, mapping.statuses, self._date_readers(plan, mapping))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    @property
    def bytes_read(self) -> int:
        """How many bytes of *size* have been read so far."""
        return self._rows.bytes_read

    def __iter__(self) -> Iterator[LeadRow | BadRow]:
        build = self._builder.build
        for row in self._rows:
            yield row if isinstance(row, BadRow) else build(*row)

    def _date_readers(self, plan: Plan, mapping: Mapping) -> dict[int, DateReader]:
        columns = {step.index: step for step in plan.steps if step.field in DATE_FIELDS}
        evidence = self._weigh(columns)
        verdicts = {index: found.verdict() for index, found in evidence.items()}
        sure = {verdict for verdict in verdicts.values() if verdict is not None}
        readers = {}
        for index, step in columns.items():
            verdict = verdicts[index]
            if verdict is None and not evidence[index].month_first and len(sure) == 1:
                verdict = next(iter(sure))  # the file's other dates tell
            formats = mapping.formats.get(step.field, ())
            if verdict is None and evidence[index].open and not formats:
                self.notes.append(
                    f"column {step.column!r}: is 03/04/2026 in March or April? No date tells; "
                    f'add `formats: {{{step.field}: "%d/%m/%Y"}}` or "%m/%d/%Y"'
                )
            readers[index] = DateReader(ZoneInfo(mapping.times_in), day_first=verdict, formats=formats)
        return readers

    def _weigh(self, columns: dict[int, Step]) -> dict[int, Evidence]:
        """Look at the first rows; go on through the file only while a column leaves the question open."""
        evidence = {index: Evidence() for index in columns}
        if not columns:
            return evidence
        with self._rows.again() as again:
            rows = iter(again)
            while batch := list(islice(rows, _EVIDENCE_ROWS)):
                for row in batch:
                    if not isinstance(row, BadRow):
                        for index, found in evidence.items():
                            found.add(row[1][index])
                if not any(it.open and not it.day_first + it.month_first for it in evidence.values()):
                    break
        return evidence
