"""Define the fields of a lead in files and in the API. Add a field here, and its column names to `data/columns.csv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, NamedTuple

from nurture.formats import cells
from nurture.formats.purchase_timeframe import Timeframe
from nurture.formats.status_mapping import ConsentBasis, LeadStatus, map_consent_basis

CellReader = Callable[[str], Any]


class LeadField(NamedTuple):
    """How a field is read and used.

    *read* parses a cell; None keeps its text. *is_date*: it is parsed by the dates of its column. *is_lenient*: an
    unreadable value becomes a custom field and does not reject the row. *is_raw*: "None" and "-" are values, or the
    parser handles them. *any_true*: of several columns, any yes counts. *is_stored*: it is one of the lead's `fields`.
    *in_emails*: an email may show it.
    """

    read: CellReader | None = None
    is_date: bool = False
    is_lenient: bool = False
    is_raw: bool = False
    any_true: bool = False
    is_stored: bool = True
    in_emails: bool = False


def _field(read: CellReader | None = None, **traits: bool) -> Any:
    return field(default=None, metadata={"lead": LeadField(read, **traits)})


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A typed row of a file. None means that the file has no value. Datetimes are UTC.

    *email* is the normalized address. *status_text* is as in the file; *status* is None when it is unknown.
    *timeframe* is parsed from *purchase_timeframe*. *zone* is given or derived from the place.
    """

    line: int
    source: str = field(metadata={"lead": LeadField(is_stored=False)})
    custom: dict[str, str]
    external_id: str | None = _field(is_stored=False)
    email: str | None = _field(cells.read_address, is_stored=False)
    first_name: str | None = _field(is_raw=True, in_emails=True)
    last_name: str | None = _field(is_raw=True, in_emails=True)
    full_name: str | None = _field(is_raw=True, in_emails=True, is_stored=False)
    title: str | None = _field(in_emails=True)
    company: str | None = _field(in_emails=True)
    website: str | None = _field(in_emails=True)
    industry: str | None = _field(in_emails=True)
    employees: int | None = _field(cells.read_count, is_lenient=True, in_emails=True)
    phone: str | None = _field()
    country: str | None = _field(in_emails=True)
    region: str | None = _field(in_emails=True)
    city: str | None = _field(in_emails=True)
    postcode: str | None = _field()
    zone: str | None = _field(cells.read_zone, is_lenient=True, is_stored=False)
    owner: str | None = _field()
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
    consent_source: str | None = _field(is_stored=False)
    consent_at: datetime | None = _field(is_date=True, is_stored=False)
    opted_out: bool | None = _field(cells.read_flag, any_true=True, is_stored=False)
    deleted: bool | None = _field(cells.read_flag, any_true=True, is_stored=False)
    registered_at: datetime | None = _field(is_date=True, is_stored=False)
    attended: bool | None = _field(cells.read_flag)
    minutes_attended: int | None = _field(cells.read_minutes, is_lenient=True)
    questions: str | None = _field(cells.read_response, is_raw=True)
    polls: str | None = _field(cells.read_response, is_raw=True)
    interest: str | None = _field()
    demo_requested: bool | None = _field(cells.read_flag, is_lenient=True)


FIELDS: Final[Mapping[str, LeadField]] = {
    one.name: one.metadata["lead"] for one in fields(LeadRow) if "lead" in one.metadata
}
"""The fields that a mapping may name."""

DATE_FIELDS: Final = tuple(name for name, one in FIELDS.items() if one.is_date)
STORED_FIELDS: Final = tuple(name for name, one in FIELDS.items() if one.is_stored)
"""The fields that are copied to the lead's `fields`."""

EMAIL_FIELDS: Final = tuple(name for name, one in FIELDS.items() if one.in_emails)
"""The fields that an email may show; a missing field is empty."""
