"""Define the fields of a lead in files and in the API. Add a field here, and its column names to `data/columns.csv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, NamedTuple

from nurture.domain.fields import FieldDefinition, FieldType
from nurture.domain.lead import FieldValue
from nurture.formats import cells
from nurture.formats.dates import DateReader
from nurture.formats.numbers import read_count, read_number
from nurture.formats.opt_outs import read_opt_out_flag
from nurture.formats.purchase_timeframe import Timeframe
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.status_mapping import ConsentBasis, LeadStatus, map_consent_basis

CellReader = Callable[[str], Any]
_MAX_NUMBER: Final = 2**53  # what JSON keeps exactly


class LeadField(NamedTuple):
    """How a field is read and used.

    *read* parses a cell; None keeps its text. *is_date*: it is parsed by the dates of its column. *is_lenient*: an
    unreadable value becomes a custom field and does not reject the row. *is_raw*: "None" and "-" are values, or the
    parser handles them. *any_true*: of several columns, any yes counts. *is_stored*: it is one of the lead's `fields`.
    *is_personal*: it names the person or is in the person's own words.
    """

    read: CellReader | None = None
    is_date: bool = False
    is_lenient: bool = False
    is_raw: bool = False
    any_true: bool = False
    is_stored: bool = True
    is_personal: bool = False


def _field(read: CellReader | None = None, **traits: bool) -> Any:
    return field(default=None, metadata={"lead": LeadField(read, **traits)})


@dataclass(slots=True)  # not frozen: with this many fields that costs a quarter of the time to read a row
class LeadRow:
    """A typed row of a file. None means that the file has no value. Datetimes are UTC.

    *email* is the normalized address. *status_text* is as in the file; *status* is None when it is unknown.
    *timeframe* is parsed from *purchase_timeframe*. *zone* is given or derived from the place.

    *consent_basis* is a plain yes to email. *consent_withdrawn*: a consent cell says no to email, which wins over a
    yes in the row. *consent_wording* is the cell's own text, when it is a sentence. *opted_out* refuses all mail;
    *opted_out_topics* are refused alone. *opted_out_at* is when, if the cell is a date. *undeliverable*: the address
    bounced or is invalid. *complained*: the person reported spam. *unclear_opt_out* is a column that looks like an
    opt-out and is not mapped: the lead is not mailed. *other_addresses* are those of the same person that the row has
    beside *email*: what it refuses counts for them, too. *parts* are the rows of the file that an import folded into
    this one, because they stand for the same person. *shares_id*: the file has the id with another address before.
    """

    line: int
    source: str = field(metadata={"lead": LeadField(is_stored=False)})
    custom: dict[str, FieldValue]
    external_id: str | None = _field(is_stored=False)
    email: str | None = _field(cells.read_address, is_stored=False)
    first_name: str | None = _field(cells.read_name, is_raw=True, is_personal=True)
    last_name: str | None = _field(cells.read_name, is_raw=True, is_personal=True)
    full_name: str | None = _field(cells.read_name, is_raw=True, is_personal=True, is_stored=False)
    title: str | None = _field()
    company: str | None = _field()
    website: str | None = _field()
    industry: str | None = _field()
    employees: int | None = _field(read_count, is_lenient=True)
    phone: str | None = _field(cells.read_phone, is_personal=True)
    country: str | None = _field(cells.read_country, is_raw=True)
    language: str | None = _field()
    region: str | None = _field()
    city: str | None = _field()
    postcode: str | None = _field()
    zone: str | None = _field(cells.read_zone, is_lenient=True, is_stored=False)
    owner: str | None = _field(is_personal=True)
    status: LeadStatus | None = _field()
    status_text: str | None = None
    customer: bool | None = _field(cells.read_flag, any_true=True)
    created_at: datetime | None = _field(is_date=True, is_stored=False)
    lead_source: str | None = _field()
    landing_page: str | None = _field()
    purchase_timeframe: str | None = _field()
    timeframe: Timeframe | None = None
    budget: str | None = _field()
    authority: str | None = _field()
    need: str | None = _field()
    consent_basis: ConsentBasis | None = _field(map_consent_basis, is_raw=True, is_stored=False)
    consent_withdrawn: bool | None = None
    consent_wording: str | None = None
    consent_source: str | None = _field(is_stored=False)
    consent_at: datetime | None = _field(is_date=True, is_stored=False)
    opted_out: bool | None = _field(read_opt_out_flag, any_true=True, is_stored=False)
    opted_out_at: datetime | None = None
    opted_out_topics: tuple[str, ...] = ()
    undeliverable: bool | None = _field(read_opt_out_flag, any_true=True, is_stored=False)
    complained: bool | None = _field(read_opt_out_flag, any_true=True, is_stored=False)
    unclear_opt_out: str | None = None
    deleted: bool | None = _field(cells.read_flag, any_true=True, is_stored=False)
    registered_at: datetime | None = _field(is_date=True, is_stored=False)
    attended: bool | None = _field(cells.read_attendance)
    attended_at: datetime | None = _field(is_date=True, is_stored=False)
    event_at: datetime | None = _field(is_date=True, is_stored=False)
    minutes_attended: int | None = _field(cells.read_minutes, is_lenient=True)
    questions: str | None = _field(cells.read_response, is_raw=True, is_personal=True)
    polls: str | None = _field(cells.read_response, is_raw=True, is_personal=True)
    interest: str | None = _field()
    demo_requested: bool | None = _field(cells.read_flag, is_lenient=True)
    other_addresses: tuple[str, ...] = ()
    parts: tuple[LeadRow, ...] | None = None
    shares_id: bool | None = None


FIELDS: Final[Mapping[str, LeadField]] = {
    one.name: one.metadata["lead"] for one in fields(LeadRow) if "lead" in one.metadata
}
"""The fields that a mapping may name."""

DATE_FIELDS: Final = tuple(name for name, one in FIELDS.items() if one.is_date)
STORED_FIELDS: Final = tuple(name for name, one in FIELDS.items() if one.is_stored)
"""The fields that are copied to the lead's `fields`."""

UNCLEAR_CONSENT: Final = "consent_text"
"""The custom field of a consent that is no clear yes to email."""

PERSONAL_FIELDS: Final = frozenset(name for name, one in FIELDS.items() if one.is_personal)


def make_reader(
    declared: FieldDefinition, dates: DateReader, decimal_mark: str | None = None
) -> Callable[[str], FieldValue]:
    """Return the reader of cells of a *declared* field; it raises ValueError. Dates are days in the zone of *dates*."""

    def read_day(text: str) -> str:
        return dates(text).astimezone(dates.zone).date().isoformat()

    def read_declared_number(text: str) -> float:
        number = read_number(text, decimal_mark)
        if abs(number) > _MAX_NUMBER:
            raise InvalidCell(f"{text[:60]!r} is too large a number", "correct it, or empty the cell")
        return int(number) if number.is_integer() else number

    def read_choice(text: str) -> str:
        found = next((choice for choice in declared.choices if choice.casefold() == text.casefold()), None)
        if found is None:
            raise InvalidCell(f"{text[:60]!r} is not one of {', '.join(declared.choices)}", "write one of them")
        return found

    readers: dict[FieldType, Callable[[str], FieldValue]] = {
        FieldType.NUMBER: read_declared_number,
        FieldType.DATE: read_day,
        FieldType.YES_NO: cells.read_flag,
        FieldType.CHOICE: read_choice,
    }
    return readers.get(declared.type, str)
