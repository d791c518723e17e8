"""A lead as a program tells of it, field by field, read into the same typed lead as a row of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from nurture.domain.plain_text import plain
from nurture.formats.cells import NOTHING
from nurture.formats.column_mapping import DATE_FIELDS, nearest
from nurture.formats.columns import FIELDS, fact_name
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import LeadRow, RowBuilder
from nurture.formats.rejected_rows import BadRow
from nurture.formats.row_plan import LENIENT, MAX_CUSTOM, Plan, Step, reader_of

NAMES: Final = tuple(name for name in FIELDS if name != "source")
"""What a program may tell of a lead."""

CUSTOM: Final = "custom"
LONGEST: Final = 2_000
"""Characters of one value."""

_LONGEST_NAME: Final = 64
_PLACES: Final = {name: place for place, name in enumerate(NAMES)}
_MOMENT: Final = "Write it as 2027-03-31T09:00:00Z or 2027-03-31."


class WrongItem(Exception):
    """Something that cannot be taken, by its *field*: *reason* and *remedy* are two sentences."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        super().__init__(f"{field}: {reason} {remedy}")
        self.field, self.reason, self.remedy = field, reason, remedy


class ItemReader:
    """Reads leads of one *source*, the system whose ids they carry."""

    def __init__(self, source: str) -> None:
        steps = [Step(place, name, name, reader_of(name)) for name, place in _PLACES.items()]
        self._dates = DateReader()
        dates = {_PLACES[name]: self._dates for name in DATE_FIELDS}
        self._builder = RowBuilder(Plan(source, steps), {}, dates)

    def read(self, number: int, item: object) -> LeadRow:
        """Return the lead of *item*; *number* is its line in the journal. Raises WrongItem."""
        if not isinstance(item, Mapping):
            raise WrongItem("", "A lead is an object.", 'Write it as {"email": "name@example.com"}.')
        cells = [""] * len(NAMES)
        for name, value in item.items():
            if name == CUSTOM:
                continue
            place = _PLACES.get(name)
            if place is None:
                raise WrongItem(name[:80], "A lead has no such field.", _unknown(name))
            cells[place] = self._checked(name, _text(name, value))
        custom = _custom(item.get(CUSTOM))
        row = self._builder.build(number, cells)
        if isinstance(row, BadRow):
            raise WrongItem("", *_two_sentences(row.reason))
        if row.email is None and row.external_id is None:
            raise WrongItem("email", "Nothing says who the lead is.", "Give an email or an external_id.")
        return replace(row, custom={**custom, **row.custom})

    def _checked(self, name: str, text: str) -> str:
        """Return *text*, or say what is wrong with it, as the file's reader would."""
        if name in LENIENT or (text.casefold() in NOTHING and name != "consent_basis"):
            return text
        if name in DATE_FIELDS:
            try:
                datetime.fromisoformat(text)
            except ValueError:
                raise WrongItem(name, f"{text[:60]!r} is not a date.", _MOMENT) from None
        read = self._dates if name in DATE_FIELDS else reader_of(name)
        try:
            if read is not None:
                read(text)
        except ValueError as fault:
            raise WrongItem(name, *_two_sentences(str(fault))) from fault
        return text


def _unknown(name: str) -> str:
    near = nearest(name[:80], NAMES).removeprefix("; did you mean ")
    return f"Did you mean {near} Facts of your own go under custom." if near else "Put it under custom."


def _text(name: str, value: object) -> str:
    """Return a JSON value as a file's cell would have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str | int | float):
        raise WrongItem(
            name[:80], "The value is not a plain one.", "Write text, a number, true, false or null."
        )
    text = plain(str(value)).strip()
    if len(text) > LONGEST:
        raise WrongItem(name[:80], f"The value is over {LONGEST:,} characters long.", "Shorten it.")
    return text


def _custom(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise WrongItem(CUSTOM, "Facts of your own are an object.", 'Write them as {"plan": "trial"}.')
    if len(given) > MAX_CUSTOM:
        raise WrongItem(CUSTOM, f"These are {len(given):,} facts.", f"Send {MAX_CUSTOM} at most.")
    found: dict[str, str] = {}
    for told, value in given.items():
        name = fact_name(told)
        where = f"{CUSTOM}.{told[:_LONGEST_NAME]}"
        if not name:
            raise WrongItem(where, "A fact needs a name of letters.", "Name it as plan or seats_used.")
        if name in _PLACES:
            raise WrongItem(
                where, f"{name} is a field of its own.", f"Write {name} beside custom, not in it."
            )
        if text := _text(where, value):
            found[name] = text
    return found


def _two_sentences(fault: str) -> tuple[str, str]:
    """Return what is wrong and what to do, of a fault that a file's reader found."""
    reason, _, remedy = fault.rpartition("; ")
    if not reason:
        reason, remedy = fault, "correct it or leave the field out"
    remedy = remedy.replace("empty the cell", "leave the field out")
    return f"{reason[:1].upper()}{reason[1:]}.", f"{remedy[:1].upper()}{remedy[1:]}."
