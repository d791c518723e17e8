"""Parse a lead of the API into the same typed lead as a row of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from nurture.domain.plain_text import replace_control_characters
from nurture.formats.cells import EMPTY_VALUES
from nurture.formats.column_mapping import did_you_mean
from nurture.formats.columns import custom_field_name
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import DATE_FIELDS, FIELDS, LeadRow
from nurture.formats.rejected_rows import BadRow
from nurture.formats.row_builder import RowBuilder
from nurture.formats.row_plan import MAX_CUSTOM, ColumnBinding, RowPlan

FIELD_NAMES: Final = tuple(name for name in FIELDS if name != "source")
"""The lead fields of the API."""

CUSTOM: Final = "custom"
MAX_VALUE_LENGTH: Final = 2_000
"""Maximum characters of a value."""

_MAX_NAME: Final = 64
_POSITIONS: Final = {name: position for position, name in enumerate(FIELD_NAMES)}
_DATE_HINT: Final = "Write it as 2027-03-31T09:00:00Z or 2027-03-31."


class InvalidItem(Exception):
    """An invalid *field* of an item. *reason* and *remedy* are a sentence each."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason} {remedy}")
        self.field, self.reason, self.remedy = field, reason, remedy


class ItemReader:
    """Parses leads of one *source*, the system that their ids come from."""

    def __init__(self, source: str) -> None:
        bindings = [ColumnBinding(position, name, name) for name, position in _POSITIONS.items()]
        self._dates = DateReader()
        dates = {_POSITIONS[name]: self._dates for name in DATE_FIELDS}
        self._builder = RowBuilder(RowPlan(source, bindings), {}, dates)

    def read(self, number: int, item: object) -> LeadRow:
        """Return the lead of *item*; *number* is its line in the journal. Raises InvalidItem."""
        if not isinstance(item, Mapping):
            raise InvalidItem("", "A lead must be an object.", 'Write it as {"email": "name@example.com"}.')
        cells = [""] * len(FIELD_NAMES)
        for name, value in item.items():
            if name == CUSTOM:
                continue
            position = _POSITIONS.get(name)
            if position is None:
                raise InvalidItem(name[:80], "A lead has no such field.", _unknown_field_hint(name))
            cells[position] = self._check_value(name, _cell_text(name, value))
        custom = _parse_custom(item.get(CUSTOM))
        row = self._builder.build(number, cells)
        if isinstance(row, BadRow):
            raise InvalidItem("", *_split_remedy(row.reason))
        if row.email is None and row.external_id is None:
            raise InvalidItem("email", "The lead has no email and no external_id.", "Give one of them.")
        return replace(row, custom={**custom, **row.custom})

    def _check_value(self, name: str, text: str) -> str:
        """Return *text* if the parser of the field accepts it. Raises InvalidItem."""
        if FIELDS[name].is_lenient or (text.casefold() in EMPTY_VALUES and name != "consent_basis"):
            return text
        if name in DATE_FIELDS:
            try:
                datetime.fromisoformat(text)
            except ValueError:
                raise InvalidItem(name, f"{text[:60]!r} is not a date.", _DATE_HINT) from None
        read = self._dates if name in DATE_FIELDS else FIELDS[name].read
        try:
            if read is not None:
                read(text)
        except ValueError as error:
            raise InvalidItem(name, *_split_remedy(str(error))) from error
        return text


def _unknown_field_hint(name: str) -> str:
    suggestion = did_you_mean(name[:80], FIELD_NAMES).removeprefix("; did you mean ")
    return f"Did you mean {suggestion} Custom fields go under custom." if suggestion else "Put it under custom."


def _cell_text(name: str, value: object) -> str:
    """Return a JSON value as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str | int | float):
        raise InvalidItem(name[:80], "The value is an object or a list.", "Write text, a number, true, false or null.")
    text = replace_control_characters(str(value)).strip()
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidItem(name[:80], f"The value is over {MAX_VALUE_LENGTH:,} characters long.", "Shorten it.")
    return text


def _parse_custom(custom_fields: object) -> dict[str, str]:
    if custom_fields is None:
        return {}
    if not isinstance(custom_fields, Mapping):
        raise InvalidItem(CUSTOM, "custom must be an object.", 'Write them as {"plan": "trial"}.')
    if len(custom_fields) > MAX_CUSTOM:
        raise InvalidItem(CUSTOM, f"There are {len(custom_fields):,} custom fields.", f"Send {MAX_CUSTOM} at most.")
    found: dict[str, str] = {}
    for raw_name, value in custom_fields.items():
        name = custom_field_name(raw_name)
        where = f"{CUSTOM}.{raw_name[:_MAX_NAME]}"
        if not name:
            raise InvalidItem(where, "The name has no letters or digits.", "Use a name such as plan or seats_used.")
        if name in _POSITIONS:
            raise InvalidItem(where, f"{name} is a standard field.", f"Move {name} out of custom.")
        if text := _cell_text(where, value):
            found[name] = text
    return found


def _split_remedy(message: str) -> tuple[str, str]:
    """Split an error of a cell parser into reason and remedy."""
    reason, _, remedy = message.rpartition("; ")
    if not reason:
        reason, remedy = message, "correct it or leave the field out"
    remedy = remedy.replace("empty the cell", "leave the field out")
    return f"{reason[:1].upper()}{reason[1:]}.", f"{remedy[:1].upper()}{remedy[1:]}."
