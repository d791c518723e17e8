"""One row's cells as a typed lead."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from nurture.formats.cells import NOTHING, read_flag, split_name
from nurture.formats.column_mapping import DATE_FIELDS
from nurture.formats.columns import CONVERTED
from nurture.formats.dates import DateReader
from nurture.formats.places import country_code, zone_for
from nurture.formats.purchase_timeframe import Timeframe, read_timeframe
from nurture.formats.rejected_rows import BadRow
from nurture.formats.row_plan import ANY_YES, LENIENT, Plan, Read
from nurture.formats.status_words import Basis, Status, status_of, strongest


@dataclass(frozen=True, slots=True)
class LeadRow:
    """One row of a file, typed. None means that the file does not say. Datetimes are UTC.

    *email* is the normalised address. *status_text* is the file's own word; *status* is None when it is
    unknown. *timeframe* is what *purchase_timeframe* promises. *zone* is given or follows from the place.
    """

    line: int
    source: str
    custom: dict[str, str]
    external_id: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    title: str | None = None
    company: str | None = None
    website: str | None = None
    industry: str | None = None
    employees: int | None = None
    phone: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    postcode: str | None = None
    zone: str | None = None
    owner: str | None = None
    status: Status | None = None
    status_text: str | None = None
    customer: bool | None = None
    created_at: datetime | None = None
    lead_source: str | None = None
    landing_page: str | None = None
    purchase_timeframe: str | None = None
    timeframe: Timeframe | None = None
    budget: str | None = None
    authority: str | None = None
    need: str | None = None
    consent_basis: Basis | None = None
    consent_source: str | None = None
    consent_at: datetime | None = None
    opted_out: bool | None = None
    deleted: bool | None = None
    registered_at: datetime | None = None
    attended: bool | None = None
    minutes_attended: int | None = None
    questions: str | None = None
    polls: str | None = None
    interest: str | None = None
    demo_requested: bool | None = None


_NAMES: Final = tuple(entry.name for entry in fields(LeadRow))
_SLOT: Final = {name: at for at, name in enumerate((*_NAMES, "full_name"))}
_LINE, _SOURCE, _CUSTOM = _SLOT["line"], _SLOT["source"], _SLOT["custom"]
_FIRST, _LAST, _FULL = _SLOT["first_name"], _SLOT["last_name"], _SLOT["full_name"]
_COUNTRY, _REGION, _CITY, _ZONE = _SLOT["country"], _SLOT["region"], _SLOT["city"], _SLOT["zone"]
_STATUS, _STATUS_TEXT = _SLOT["status"], _SLOT["status_text"]
_TIMEFRAME, _PROMISE = _SLOT["timeframe"], _SLOT["purchase_timeframe"]
_ATTENDED, _MINUTES = _SLOT["attended"], _SLOT["minutes_attended"]
_CREATED, _REGISTERED = _SLOT["created_at"], _SLOT["registered_at"]

# "None" and "-" are values here, or judged by the reader itself.
_AS_WRITTEN: Final = frozenset(
    {
        "first_name",
        "last_name",
        "full_name",
        "questions",
        "polls",
        "consent_basis",
    }
)
_LONGEST_NOTHING: Final = max(map(len, NOTHING))


@dataclass(frozen=True, slots=True)
class _Cell:
    at: int
    slot: int
    column: str
    read: Read | None
    as_written: bool
    lenient: bool


class RowBuilder:
    """Make LeadRows of the rows of one file. *dates* read the date columns, by their place."""

    def __init__(self, plan: Plan, statuses: Dict[str, Status], dates: Dict[int, DateReader]) -> None:
        self._custom = plan.custom
        self._templates = plan.templates
        self._twins = plan.twins
        self._statuses = statuses
        self._cells: list[_Cell] = []
        self._flags: list[_Cell] = []
        self._status: list[int] = []
        self._converted: list[tuple[int, str]] = []
        for step in plan.steps:
            if step.field == "status":
                self._status.append(step.index)
            elif step.field == CONVERTED:
                self._converted.append((step.index, step.column))
            else:
                read: Read | None = dates[step.index] if step.field in DATE_FIELDS else step.read
                cell = _Cell(
                    step.index,
                    _SLOT[step.field],
                    step.column,
                    read,
                    step.field in _AS_WRITTEN,
                    step.field in LENIENT,
                )
                (self._flags if step.field in ANY_YES else self._cells).append(cell)
        self._plain = [(cell.at, cell.slot, cell.as_written) for cell in self._cells if cell.read is None]
        self._typed = [cell for cell in self._cells if cell.read is not None]
        self._blank: list[Any] = [None] * len(_SLOT)
        self._blank[_SOURCE] = plan.source
        for name, value in plan.constants.items():
            self._blank[_SLOT["status_text" if name == "status" else name]] = value

    def build(self, line: int, cells: list[str]) -> LeadRow | BadRow:
        """Return the lead of *cells*, or the row with the reason why it is none."""
        values = self._blank.copy()
        values[_LINE] = line
        try:
            custom = {name: text for at, name in self._custom if (text := cells[at].strip())}
            values[_CUSTOM] = custom
            for at, slot, as_written in self._plain:
                if (text := cells[at].strip()) and (
                    as_written or len(text) > _LONGEST_NOTHING or text.casefold() not in NOTHING
                ):
                    values[slot] = text
            self._read(cells, values, custom)
            self._read_flags(cells, values)
            if self._templates:
                self._fill(cells, values)
            self._read_statuses(cells, values)
            _settle(values, custom)
            self._refuse_contradiction(cells, values)
        except ValueError as fault:
            return BadRow.of(line, str(fault), cells)
        return LeadRow(*values[:-1])

    def _read(self, cells: list[str], values: list[Any], custom: dict[str, str]) -> None:
        for cell in self._typed:
            text = cells[cell.at].strip()
            if not text or (not cell.as_written and _says_nothing(text)):
                continue
            try:
                value = cell.read(text) if cell.read is not None else text
            except ValueError as fault:
                if not cell.lenient:
                    raise ValueError(f"column {cell.column!r}: {fault}") from fault
                value = None
            values[cell.slot] = value
            if value is None and cell.lenient:
                custom[_NAMES[cell.slot]] = text

    def _read_flags(self, cells: list[str], values: list[Any]) -> None:
        for cell in self._flags:
            text = cells[cell.at].strip()
            if text and not _says_nothing(text):
                values[cell.slot] = _flag(text, cell.column) or bool(values[cell.slot])

    def _read_statuses(self, cells: list[str], values: list[Any]) -> None:
        texts = [text for at in self._status if (text := cells[at].strip()) and not _says_nothing(text)]
        if texts:
            values[_STATUS_TEXT] = texts[-1]  # the best column comes last
        elif values[_STATUS_TEXT]:
            texts = [values[_STATUS_TEXT]]
        found = [status for text in texts if (status := self._meaning(text)) is not None]
        for at, column in self._converted:
            text = cells[at].strip()
            if text and not _says_nothing(text) and _flag(text, column):
                found.append(Status.WON)
        values[_STATUS] = strongest(found)

    def _meaning(self, text: str) -> Status | None:
        return self._statuses.get(text.casefold()) or status_of(text)

    def _fill(self, cells: list[str], values: list[Any]) -> None:
        for name, parts, read in self._templates:
            texts = [(before, cells[at].strip() if at >= 0 else "") for before, at in parts]
            if not all(text for _, text in texts[:-1]):
                continue  # an empty cell leaves the field empty
            whole = "".join(before + text for before, text in texts)
            try:
                values[_SLOT[name]] = whole if read is None else read(whole)
            except ValueError as fault:
                raise ValueError(f"template {name}: {fault}") from fault

    def _refuse_contradiction(self, cells: list[str], values: list[Any]) -> None:
        for column, places in self._twins:
            texts = {text.casefold(): text for at in places if (text := cells[at].strip())}
            if len(texts) > 1:
                first, second = list(texts.values())[:2]
                raise ValueError(
                    f"the columns named {column!r} disagree ({first[:60]!r} and "
                    f"{second[:60]!r}); keep one of them"
                )
        if values[_ATTENDED] is False and values[_MINUTES]:
            raise ValueError(f"attended says no, but {values[_MINUTES]} minutes were attended; correct one")


def _settle(values: list[Any], custom: dict[str, str]) -> None:
    """Derive what follows from other fields."""
    if values[_FULL] and not (values[_FIRST] or values[_LAST]):
        first, last = split_name(values[_FULL])
        values[_FIRST], values[_LAST] = first or None, last or None
    if values[_COUNTRY]:
        code = country_code(values[_COUNTRY])
        if code is None:
            custom["country"] = values[_COUNTRY]
        values[_COUNTRY] = code
        if values[_ZONE] is None and code is not None:
            values[_ZONE] = zone_for(code, values[_REGION], values[_CITY])
    if values[_PROMISE]:
        said = values[_REGISTERED] or values[_CREATED]
        values[_TIMEFRAME] = read_timeframe(values[_PROMISE], said.date() if said is not None else None)
    if values[_ATTENDED] is None and values[_MINUTES] is not None:
        values[_ATTENDED] = values[_MINUTES] > 0


def _says_nothing(text: str) -> bool:
    return len(text) <= _LONGEST_NOTHING and text.casefold() in NOTHING


def _flag(text: str, column: str) -> bool:
    try:
        return read_flag(text)
    except ValueError as fault:
        raise ValueError(f"column {column!r}: {fault}") from fault
