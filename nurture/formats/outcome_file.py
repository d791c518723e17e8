"""Read the files in which sales reports outcome, owner and follow-up of leads, a row per lead."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final

from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import BoundColumns, ColumnMapping, bind_columns, header_test
from nurture.formats.columns import find_columns
from nurture.formats.csv_reader import Evidence, FileRow, open_rows, parse_rows
from nurture.formats.dates import DateOrderEvidence, DateReader, choose_orders, is_no_date
from nurture.formats.numbers import DecimalEvidence, read_amount
from nurture.formats.rejected_rows import BadRow
from nurture.formats.status_mapping import LeadStatus, map_status
from nurture.formats.table_file import ReadOptions
from nurture.formats.tables import read_words

_KIND: Final = "outcome_column"
_DEALS: Final = "deal_column"
_ADDRESS: Final = re.compile(r"[^\s<>(),;:\"]+@[^\s<>(),;:\"]+\.\w+")
_DATES: Final = ("closed_at", "lost_at", "touched_at", "changed_at")
_FLAGS: Final = ("is_won", "is_lost", "is_closed")
_MAX_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """One row. *lead* is an id, address, external id or hand-off key; other values are "" or None if absent.

    *is_stage*: the outcome is the stage of a deal, which most often is still open. *other_leads* are the addresses of
    further people whom a deal names. *faults* are what is wrong with its cells, each with the remedy; a row with any
    must not be used. *amount_fault* is why an amount is missing that the file has; the row counts without it.
    """

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
    is_stage: bool = False
    other_leads: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    amount_fault: str = ""


OUTCOME_FIELDS: Final = [
    field.name
    for field in fields(OutcomeRow)
    if field.name not in ("line", "is_stage", "other_leads", "faults", "amount_fault")
]
"""The fields that a mapping may name."""


class OutcomeRows:
    """The rows of *file*, each with its cells; a BadRow for a row that cannot be read. The caller closes *file*."""

    def __init__(
        self,
        path: Path,
        required: Sequence[str],
        reading: ReadOptions | None = None,
        mapping: ColumnMapping | None = None,
        *,
        deals: bool = False,
    ) -> None:
        """Open *path*, which must have the *required* fields; with *deals* also an export of deals of a CRM."""
        mapping = mapping or ColumnMapping()
        kinds = (_DEALS, _KIND) if deals else (_KIND,)
        self.file = open_rows(path, header_test("lead", kinds, mapping), reading=reading)
        try:
            self.columns = self._bind(path, kinds, required, mapping)
        except BaseException:
            self.file.close()
            raise
        self._columns = self.columns.indexes
        dates = {name: DateOrderEvidence() for name in _DATES if name in self._columns}
        amounts = DecimalEvidence()
        evidence: list[tuple[str, Evidence]] = [*dates.items(), ("amount", amounts)]
        self.file.collect({self._columns[name]: found for name, found in evidence if name in self._columns})
        self._readers = {
            name: DateReader(day_first=order, month_words=dates[name].month_words)
            for name, order in choose_orders(dates).items()
        }
        self._decimal_mark = amounts.decimal_mark()

    def _bind(self, path: Path, kinds: Sequence[str], required: Sequence[str], mapping: ColumnMapping) -> BoundColumns:
        # Our own names of an outcome come before the stages of a deal.
        own = find_columns(self.file.header, _KIND)
        found = bind_columns(self.file.header, kinds, mapping)
        indexes = dict(found.indexes)
        self._is_stage = "outcome" in indexes and indexes["outcome"] != own.get("outcome")
        if "outcome" in own and self._is_stage and "outcome" not in mapping.columns.values():
            indexes["outcome"], self._is_stage = own["outcome"], False
        if "outcome" not in indexes and "deal" in indexes and "deal_status" in indexes:
            indexes["outcome"], self._is_stage = indexes["deal_status"], True
        if "outcome" not in indexes and "is_won" in indexes:
            indexes["outcome"], self._is_stage = indexes["is_won"], True
        missing = [name for name in required if name not in indexes]
        if missing:
            optional = ", ".join(name for name in OUTCOME_FIELDS if name not in required)
            raise FileUnreadable(
                f"{path} has no column {missing[0]!r}. Its header must contain {', '.join(required)}, and may contain "
                f"{optional}. A mapping file can name the columns: `columns: {{Deal Phase: outcome}}`."
            )
        mapped = {self.file.header[index]: name for name, index in indexes.items()}
        mapped |= {self.file.header[indexes[name]]: name for name in required}
        return found._replace(indexes=indexes, mapped=mapped)

    def __iter__(self) -> Iterator[tuple[OutcomeRow, FileRow] | BadRow]:
        return parse_rows(self.file, self._columns, lambda row: (self._parse_row(row.line, row.values), row))

    def _parse_row(self, line: int, values: Mapping[str, str]) -> OutcomeRow:
        faults = []
        lead = values.get("lead", "")
        if not lead and "lead" in self._columns:
            faults.append("the row names no lead; write its id, email address or external id")
        found = list(dict.fromkeys(address.lower() for address in _ADDRESS.findall(lead)))
        dates: dict[str, datetime | None] = {}
        for name, read in self._readers.items():
            try:
                dates[name] = read(text) if (text := values[name]) and not is_no_date(text) else None
            except ValueError as error:
                faults.append(str(error))
        amount, amount_fault = None, ""
        try:
            amount = read_amount(values["amount"], self._decimal_mark) if values.get("amount") else None
        except ValueError as error:
            amount_fault = str(error)
        return OutcomeRow(
            line,
            found[0] if found else lead,
            self._outcome(values)[:_MAX_LENGTH],
            amount,
            dates.get("closed_at") or dates.get("lost_at"),
            values.get("reason", "")[:_MAX_LENGTH],
            values.get("status", "")[:_MAX_LENGTH],
            values.get("owner", "")[:_MAX_LENGTH],
            dates.get("touched_at"),
            dates.get("changed_at"),
            self._is_stage,
            tuple(found[1:]),
            tuple(faults),
            amount_fault,
        )

    def _outcome(self, values: Mapping[str, str]) -> str:
        flags = {name: read_words("flag").get(values.get(name, "").casefold()) for name in _FLAGS}
        if flags["is_won"] == "yes":
            return "won"
        if flags["is_lost"] == "yes" or (flags["is_closed"] == "yes" and flags["is_won"] == "no"):
            return "lost"
        if map_status(values.get("deal_status", "")) in (LeadStatus.WON, LeadStatus.LOST):
            return values["deal_status"]  # Pipedrive has a stage as well, which a closed deal keeps
        is_flag = "is_won" in values and self._columns["is_won"] == self._columns.get("outcome")
        return "open" if is_flag else values.get("outcome", "")
