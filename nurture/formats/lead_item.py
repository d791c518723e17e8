"""Parse a lead of the API into the same typed lead as a row of a file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, create_model

from nurture.domain.fields import Fields
from nurture.domain.lead import FieldValue
from nurture.domain.plain_text import replace_control_characters
from nurture.formats.cells import EMPTY_VALUES, find_addresses, strip_invisible
from nurture.formats.columns import custom_field_name, is_address_column
from nurture.formats.dates import DateReader
from nurture.formats.items import MAX_SHOWN, InvalidItem, Item, read_item
from nurture.formats.lead_row import DATE_FIELDS, FIELDS, LeadRow, make_reader
from nurture.formats.opt_outs import (
    REFUSALS,
    UnclearName,
    find_meaning,
    find_unclear_name,
    is_note_refusal,
    read_status,
)
from nurture.formats.permission_cells import describe_noted
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.row_builder import RowBuilder
from nurture.formats.row_plan import MAX_CUSTOM, ColumnBinding, RowPlan

FIELD_NAMES: Final = tuple(name for name in FIELDS if name != "source")
"""The lead fields of the API."""

_REFUSING: Final = (*REFUSALS, "consent_basis", "status")
CUSTOM: Final = "custom"
MAX_VALUE_LENGTH: Final = 2_000
"""Maximum characters of a value."""

_DATE_HINT: Final = "Write it as 2027-03-31T09:00:00Z or 2027-03-31."
_DESCRIPTIONS: Final = {
    "external_id": "The lead's id in the system that `source` names.",
    "consent_basis": "Why the lead may be mailed: consent, contract, legitimate interest, ...",
    "consent_at": "When consent was given.",
    "opted_out": "The lead must not be mailed: yes, or when it opted out.",
    "undeliverable": "The address bounced or is invalid: yes, when, or why.",
    "complained": "The lead reported spam: yes, or when.",
    "demo_requested": "The lead asked for a demo.",
    "attended_at": "When the lead attended: when it joined, or when its badge was scanned.",
    "event_at": "When the webinar or trade fair takes place.",
    "registered_at": "When the lead registered for a webinar or a trade fair.",
    "purchase_timeframe": "When the lead wants to buy, as text: within 3 months, Q3, 2027-03-31.",
    "language": "The language of the lead's email, such as de, or its name.",
    "owner": "The rep who owns the lead.",
    "zone": "The lead's time zone, such as Europe/Berlin.",
}
_EXAMPLES: Final[Mapping[str, Any]] = {
    "external_id": "c1",
    "email": "ana@example.com",
    "first_name": "Ana",
    "company": "Souza Foods",
    "country": "BR",
    "consent_basis": "consent",
}
_SCALAR: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"], "maxLength": MAX_VALUE_LENGTH}
_SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "email": {"type": "string", "maxLength": MAX_VALUE_LENGTH},
    **{name: {"type": "string", "format": "date-time"} for name in DATE_FIELDS},
}
_CUSTOM_SCHEMA: Final = {
    "type": "object",
    "maxProperties": MAX_CUSTOM,
    "additionalProperties": {**_SCALAR, "type": [*_SCALAR["type"], "null"]},
}


def _read_value(name: str, value: object) -> str:
    """Return the text of a field if its parser accepts it. Raises InvalidItem."""
    text = _cell_text("", value)
    if FIELDS[name].is_lenient or name == "consent_basis" or text.casefold() in EMPTY_VALUES:
        return text
    read = FIELDS[name].read
    if name in DATE_FIELDS:
        read = DateReader()
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise InvalidItem("", f"{text[:MAX_SHOWN]!r} is not a date.", _DATE_HINT) from None
    try:
        if read is not None:
            read(text)
    except ValueError as error:
        raise _invalid_item(error) from error
    return text


def _cell_text(name: str, value: object) -> str:
    """Return a JSON value as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str | int | float):
        raise InvalidItem(name, "The value is an object or a list.", "Write text, a number, true, false or null.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a postcode is 1067, not 1067.0
    text = replace_control_characters(strip_invisible(str(value))).strip()
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidItem(name, f"The value is over {MAX_VALUE_LENGTH:,} characters long.", "Shorten it.")
    return text


def _read_custom(custom_fields: object) -> dict[str, str]:
    if not isinstance(custom_fields, Mapping):
        raise InvalidItem("", "custom must be an object.", 'Write them as {"plan": "trial"}.')
    if len(custom_fields) > MAX_CUSTOM:
        raise InvalidItem("", f"There are {len(custom_fields):,} custom fields.", f"Send {MAX_CUSTOM} at most.")
    found: dict[str, str] = {}
    for raw_name, value in custom_fields.items():
        name, where = custom_field_name(raw_name), raw_name[:MAX_SHOWN]
        if not name:
            raise InvalidItem(where, "The name has no letters or digits.", "Use a name such as plan or seats_used.")
        if name in FIELD_NAMES:
            raise InvalidItem(where, f"{name} is a standard field.", f"Move {name} out of custom.")
        if text := _cell_text(where, value):
            found[name] = text
    return found


class _Lead(Item):
    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["email"]}, {"required": ["external_id"]}]})
    subject = "A lead"
    remedy = 'Write it as {"email": "name@example.com"}, and your own fields under custom.'
    custom: Annotated[dict[str, str], PlainValidator(_read_custom), WithJsonSchema(_CUSTOM_SCHEMA)] = Field(
        {}, description="Custom fields; rules and emails can use them.", examples=[{"plan": "trial"}]
    )


_FIELDS: Final[dict[str, Any]] = {
    name: (
        Annotated[str, PlainValidator(partial(_read_value, name)), WithJsonSchema(_SCHEMAS.get(name, _SCALAR))],
        Field("", description=_DESCRIPTIONS.get(name), examples=[_EXAMPLES[name]] if name in _EXAMPLES else None),
    )
    for name in FIELD_NAMES
}
LeadItem: Final = create_model("LeadItem", __base__=_Lead, **_FIELDS)


class ItemReader:
    """Parses leads of one *source*, the system that their ids come from. Custom fields may be *declared*.

    A custom field that is known as an opt-out counts as one. One that only may be an opt-out, or has a status word such
    as "unsubscribed" in it, is named in `unclear_opt_out`: nobody attends the import who could be asked.
    """

    def __init__(self, source: str, declared: Fields) -> None:
        self._source = source
        self._readers = {name: make_reader(field, DateReader()) for name, field in declared.items()}
        self._builders: dict[tuple[str, ...], RowBuilder] = {}

    def read(self, number: int, item: object) -> LeadRow:
        """Return the lead of *item*; *number* is its line in the journal. Raises InvalidItem."""
        lead = read_item(LeadItem, item)
        names = tuple(name for name in lead.custom if _is_about_permission(name))
        cells = [getattr(lead, name) for name in FIELD_NAMES] + [lead.custom[name] for name in names]
        try:
            row = self._builder(names).read(number, cells)
        except ValueError as error:
            raise _invalid_item(error) from error
        if row.email is None and row.external_id is None:
            raise InvalidItem("email", "The lead has no email and no external_id.", "Give one of them.")
        unclear = row.unclear_opt_out or next(
            (name for name, text in lead.custom.items() if _refuses(name, text)), None
        )
        custom = {name: self._read_declared(name, text) for name, text in lead.custom.items()}
        others = tuple(one for one in _find_addresses(lead.custom) if one != row.email)
        return replace(row, custom={**custom, **row.custom}, unclear_opt_out=unclear, other_addresses=others)

    def describe_noted(self) -> list[str]:
        """Return one remark for each kind of value that was not understood, such as an unknown basis of consent."""
        return describe_noted(sum((builder.noted for builder in self._builders.values()), Counter()))

    def rescue(self, number: int, item: object) -> LeadRow | None:
        """Return what an item that cannot be read refuses, None if it has no address or refuses nothing."""
        if not isinstance(item, Mapping) or not (addresses := find_addresses(str(item.get("email") or ""))):
            return None
        custom = item.get("custom")
        addresses += _find_addresses(custom) if isinstance(custom, Mapping) else ()
        said = {name: str(item.get(name) or "")[:MAX_VALUE_LENGTH] for name in _REFUSING} | {"email": addresses[0]}
        row = self._builder(()).read(number, [said.get(name, "") for name in FIELD_NAMES])
        refuses = row.opted_out or row.undeliverable or row.complained or row.consent_withdrawn
        return replace(row, consent_basis=None, other_addresses=tuple(addresses[1:])) if refuses else None

    def _read_declared(self, name: str, text: str) -> FieldValue:
        try:
            return self._readers[name](text) if name in self._readers else text
        except ValueError as error:
            raise _invalid_item(error, name) from error

    def _builder(self, names: tuple[str, ...]) -> RowBuilder:
        """Return the builder for items with these custom fields about permission."""
        if names not in self._builders:
            columns = [ColumnBinding(index, name, name) for index, name in enumerate(FIELD_NAMES)]
            dated = {*DATE_FIELDS, *REFUSALS}
            dates = {index: DateReader() for index, name in enumerate(FIELD_NAMES) if name in dated}
            unclear = []
            for index, name in enumerate(names, len(FIELD_NAMES)):
                meaning = find_meaning(name)
                if meaning is not None and meaning.field in REFUSALS:
                    columns.append(ColumnBinding(index, meaning.field, name, meaning.topic))
                    dates[index] = DateReader()
                else:
                    unclear.append((index, name, find_unclear_name(name) or UnclearName(positive=True)))
            self._builders[names] = RowBuilder(RowPlan(self._source, columns=columns, unclear=unclear), {}, dates)
        return self._builders[names]


def _find_addresses(custom: Mapping[str, object]) -> Iterable[str]:
    """Return the addresses in custom fields such as "secondary_email", once."""
    texts = [str(text) for name, text in custom.items() if "@" in str(text) and is_address_column(str(name))]
    return dict.fromkeys(address for text in texts for address in find_addresses(text))


def _is_about_permission(name: str) -> bool:
    meaning = find_meaning(name)
    return meaning.field != CUSTOM if meaning is not None else find_unclear_name(name) is not None


def _refuses(name: str, text: str) -> bool:
    """Return whether the text of a custom field is a refusal, whatever the name of the field."""
    is_status = find_meaning(name) is None and read_status(text, weak=False) is not None
    return is_status or is_note_refusal(text)


def _invalid_item(error: ValueError, name: str = "") -> InvalidItem:
    """Return the error of a cell parser as that of an item."""
    reason, remedy = str(error), "correct it or leave the field out"
    if isinstance(error, InvalidCell):
        reason, remedy = error.reason, error.remedy.replace("empty the cell", "leave the field out")
    return InvalidItem(name, f"{reason[:1].upper()}{reason[1:]}.", f"{remedy[:1].upper()}{remedy[1:]}.")
