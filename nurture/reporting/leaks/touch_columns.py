"""Read from an export of leads whether somebody in sales touched a lead, when, and whether its owner still works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from nurture.domain.fields import FieldDefinition, Fields
from nurture.domain.lead import FieldValues
from nurture.formats.columns import normalize_name, words_by_name
from nurture.formats.csv_reader import CsvRows
from nurture.formats.dates import DateOrderEvidence, DateReader, choose_orders, is_no_date
from nurture.formats.numbers import read_count
from nurture.formats.tables import read_words

_FIRST, _LAST, _COUNT, _OWNER_ACTIVE = "first_touch", "last_touch", "touches", "owner_active"
_NO_TOUCH: Final = "no_touch"
_RECORDED: Final = frozenset({_FIRST, _LAST, _COUNT})
_NO_VALUES: Final = frozenset({"never", "no activity", "no activities", "nie", "jamais", "nunca", "mai"})
_MIN_DIGITS: Final = 4
_CLOCK_TOLERANCE: Final = timedelta(days=1)


class TouchReading(NamedTuple):
    """What the touch columns of a row say; times are UTC.

    *touched*: None if a cell cannot be read, and no other says that it was. *planned*: it has only a touch to come.
    *owner_active*: None if no column says.
    """

    touched: bool | None
    first_at: datetime | None = None
    planned: bool = False
    owner_active: bool | None = None


class TouchColumns:
    """The touch columns of one file. Their cells are read as declared fields, so that none of them is left out.

    *names* are the columns, by what they say. *unread* counts cells that cannot be read, by column.
    """

    def __init__(self, rows: CsvRows, now: datetime, dated: Sequence[int] = ()) -> None:
        """Look through *rows* for the order of day and month, also in the columns at the indexes *dated*."""
        meanings = words_by_name("touch_column")
        found = {index: meanings.get(normalize_name(name), "") for index, name in enumerate(rows.header)}
        self._columns = {index: meaning for index, meaning in found.items() if meaning and meaning != _NO_TOUCH}
        self._header, self._latest = rows.header, now + _CLOCK_TOLERANCE
        self.not_counted = tuple(rows.header[index] for index, meaning in found.items() if meaning == _NO_TOUCH)
        self.unread: Counter[str] = Counter()
        times = [index for index, meaning in self._columns.items() if meaning in (_FIRST, _LAST)]
        evidence = {index: DateOrderEvidence() for index in (*times, *dated)} if times else {}
        rows.collect(evidence)
        self._dates = {
            index: DateReader(day_first=order, month_words=evidence[index].month_words)
            for index, order in choose_orders(evidence).items()
        }

    @property
    def declared(self) -> Fields:
        """Return the fields as which a reader of leads keeps the cells."""
        return {
            _field(index): FieldDefinition(_field(index), columns=(self._header[index],)) for index in self._columns
        }

    @property
    def has_touches(self) -> bool:
        """Return whether a column says that a lead was touched."""
        return not _RECORDED.isdisjoint(self._columns.values())

    @property
    def has_first(self) -> bool:
        """Return whether a column says when a lead was first touched."""
        return _FIRST in self._columns.values()

    @property
    def names(self) -> Mapping[str, str]:
        """Return what each column says, by its name."""
        return {self._header[index]: meaning for index, meaning in self._columns.items()}

    def read(self, custom: FieldValues) -> TouchReading:
        """Return what a row says; *custom* are its custom fields."""
        cells = [
            (index, meaning, str(text).strip())
            for index, meaning in self._columns.items()
            if (text := custom.get(_field(index))) is not None
        ]
        first: list[datetime] = []
        touched, is_clear, planned = False, True, False
        active: bool | None = None
        for index, meaning, text in cells:
            if meaning == _OWNER_ACTIVE:
                active = {"yes": True, "no": False}.get(read_words("flag").get(text.casefold(), ""))
            elif not text or text.casefold() in _NO_VALUES or is_no_date(text):
                continue
            elif meaning == _COUNT:
                count = self._read_count(index, text)
                touched, is_clear = touched or bool(count), is_clear and count is not None
            elif (at := self._read_time(index, text)) is None:
                is_dated = sum(map(str.isdigit, text)) >= _MIN_DIGITS  # some day, whichever comes first in 03/04/2026
                touched, is_clear = touched or is_dated, is_clear and is_dated
            elif at > self._latest:
                planned = True
            else:
                touched = True
                first += [at] if meaning == _FIRST else []
        return TouchReading(touched or (False if is_clear else None), min(first, default=None), planned, active)

    def _read_time(self, index: int, text: str) -> datetime | None:
        try:
            return self._dates[index](text)
        except ValueError:
            self.unread[self._header[index]] += 1
            return None

    def _read_count(self, index: int, text: str) -> int | None:
        try:
            found = read_count(text)
        except ValueError:
            found = None
        if found is None:
            self.unread[self._header[index]] += 1
        return found


def _field(index: int) -> str:
    return f"touch_column_{index}"
