"""Parse the cells of a row into a typed lead."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, fields
from typing import Any, Final

from nurture.formats.cells import EMPTY_VALUES, read_flag, split_name
from nurture.formats.columns import CONVERTED
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import FIELDS, CellReader, LeadRow
from nurture.formats.places import country_code, zone_for
from nurture.formats.purchase_timeframe import read_timeframe
from nurture.formats.rejected_rows import BadRow, InvalidCell
from nurture.formats.row_plan import RowPlan
from nurture.formats.status_mapping import LeadStatus, map_status, most_restrictive

_NAMES: Final = tuple(entry.name for entry in fields(LeadRow))
_SLOT: Final = {name: slot for slot, name in enumerate(_NAMES)}
_LINE, _SOURCE, _CUSTOM = _SLOT["line"], _SLOT["source"], _SLOT["custom"]
_FIRST, _LAST, _FULL = _SLOT["first_name"], _SLOT["last_name"], _SLOT["full_name"]
_COUNTRY, _REGION, _CITY, _ZONE = _SLOT["country"], _SLOT["region"], _SLOT["city"], _SLOT["zone"]
_STATUS, _STATUS_TEXT = _SLOT["status"], _SLOT["status_text"]
_TIMEFRAME, _PURCHASE_TIMEFRAME = _SLOT["timeframe"], _SLOT["purchase_timeframe"]
_ATTENDED, _MINUTES = _SLOT["attended"], _SLOT["minutes_attended"]
_CREATED, _REGISTERED = _SLOT["created_at"], _SLOT["registered_at"]
_MAX_EMPTY_LENGTH: Final = max(map(len, EMPTY_VALUES))


@dataclass(frozen=True, slots=True)
class _CellBinding:
    index: int
    slot: int
    column: str
    read: CellReader | None
    is_raw: bool
    is_lenient: bool


class RowBuilder:
    """Parses the rows of one file into LeadRows. *dates* are the parsers of the date columns, by position."""

    def __init__(self, plan: RowPlan, statuses: Dict[str, LeadStatus], dates: Dict[int, DateReader]) -> None:
        self._custom = plan.custom
        self._templates = plan.templates
        self._duplicate_columns = plan.duplicate_columns
        self._statuses = statuses
        self._cells: list[_CellBinding] = []
        self._flags: list[_CellBinding] = []
        self._status_columns: list[int] = []
        self._converted_columns: list[tuple[int, str]] = []
        for binding in plan.columns:
            if binding.field == "status":
                self._status_columns.append(binding.index)
            elif binding.field == CONVERTED:
                self._converted_columns.append((binding.index, binding.column))
            else:
                lead_field = FIELDS[binding.field]
                read: CellReader | None = dates[binding.index] if lead_field.is_date else lead_field.read
                cell = _CellBinding(
                    binding.index,
                    _SLOT[binding.field],
                    binding.column,
                    read,
                    lead_field.is_raw,
                    lead_field.is_lenient,
                )
                (self._flags if lead_field.any_true else self._cells).append(cell)
        self._text_cells = [(cell.index, cell.slot, cell.is_raw) for cell in self._cells if cell.read is None]
        self._typed_cells = [cell for cell in self._cells if cell.read is not None]
        self._defaults: list[Any] = [None] * len(_SLOT)
        self._defaults[_SOURCE] = plan.source
        for name, value in plan.constants.items():
            self._defaults[_SLOT["status_text" if name == "status" else name]] = value

    def build(self, line: int, cells: list[str]) -> LeadRow | BadRow:
        """Return the lead of *cells*, or a BadRow with the reason."""
        try:
            return self.read(line, cells)
        except ValueError as error:
            return BadRow.trimmed(line, str(error), cells)

    def read(self, line: int, cells: list[str]) -> LeadRow:
        """Return the lead of *cells*. Raises ValueError, mostly InvalidCell."""
        values = self._defaults.copy()
        values[_LINE] = line
        custom = {name: text for index, name in self._custom if (text := cells[index].strip())}
        values[_CUSTOM] = custom
        for index, slot, is_raw in self._text_cells:
            if (text := cells[index].strip()) and (
                is_raw or len(text) > _MAX_EMPTY_LENGTH or text.casefold() not in EMPTY_VALUES
            ):
                values[slot] = text
        self._read_typed(cells, values, custom)
        self._read_flags(cells, values)
        if self._templates:
            self._fill_templates(cells, values)
        self._read_statuses(cells, values)
        _derive_fields(values, custom)
        self._reject_contradictions(cells, values)
        return LeadRow(*values)

    def _read_typed(self, cells: list[str], values: list[Any], custom: dict[str, str]) -> None:
        for cell in self._typed_cells:
            text = cells[cell.index].strip()
            if not text or (not cell.is_raw and _is_empty(text)):
                continue
            try:
                value = cell.read(text) if cell.read is not None else text
            except ValueError as error:
                if not cell.is_lenient:
                    raise InvalidCell.at(f"column {cell.column!r}", error) from error
                value = None
            values[cell.slot] = value
            if value is None and cell.is_lenient:
                custom[_NAMES[cell.slot]] = text

    def _read_flags(self, cells: list[str], values: list[Any]) -> None:
        for cell in self._flags:
            text = cells[cell.index].strip()
            if text and not _is_empty(text):
                values[cell.slot] = _read_flag_cell(text, cell.column) or bool(values[cell.slot])

    def _read_statuses(self, cells: list[str], values: list[Any]) -> None:
        texts = [text for index in self._status_columns if (text := cells[index].strip()) and not _is_empty(text)]
        if texts:
            values[_STATUS_TEXT] = texts[-1]  # the preferred column is last
        elif values[_STATUS_TEXT]:
            texts = [values[_STATUS_TEXT]]
        found = [status for text in texts if (status := self._map_status(text)) is not None]
        for index, column in self._converted_columns:
            text = cells[index].strip()
            if text and not _is_empty(text) and _read_flag_cell(text, column):
                found.append(LeadStatus.WON)
        values[_STATUS] = most_restrictive(found)

    def _map_status(self, text: str) -> LeadStatus | None:
        return self._statuses.get(text.casefold()) or map_status(text)

    def _fill_templates(self, cells: list[str], values: list[Any]) -> None:
        for name, parts, read in self._templates:
            texts = [(before, cells[index].strip() if index >= 0 else "") for before, index in parts]
            if not all(text for _, text in texts[:-1]):
                continue  # an empty cell leaves the field empty
            filled = "".join(before + text for before, text in texts)
            try:
                values[_SLOT[name]] = filled if read is None else read(filled)
            except ValueError as error:
                raise InvalidCell.at(f"template {name}", error) from error

    def _reject_contradictions(self, cells: list[str], values: list[Any]) -> None:
        for column, indexes in self._duplicate_columns:
            texts = {text.casefold(): text for index in indexes if (text := cells[index].strip())}
            if len(texts) > 1:
                first, second = list(texts.values())[:2]
                what = f"the columns named {column!r} disagree ({first[:60]!r} and {second[:60]!r})"
                raise InvalidCell(what, "keep one of them")
        if values[_ATTENDED] is False and values[_MINUTES]:
            raise InvalidCell(f"attended says no, but {values[_MINUTES]} minutes were attended", "correct one")


def _derive_fields(values: list[Any], custom: dict[str, str]) -> None:
    """Derive fields from other fields."""
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
    if values[_PURCHASE_TIMEFRAME]:
        stated_at = values[_REGISTERED] or values[_CREATED]
        values[_TIMEFRAME] = read_timeframe(
            values[_PURCHASE_TIMEFRAME], stated_at.date() if stated_at is not None else None
        )
    if values[_ATTENDED] is None and values[_MINUTES] is not None:
        values[_ATTENDED] = values[_MINUTES] > 0


def _is_empty(text: str) -> bool:
    return len(text) <= _MAX_EMPTY_LENGTH and text.casefold() in EMPTY_VALUES


def _read_flag_cell(text: str, column: str) -> bool:
    try:
        return read_flag(text)
    except ValueError as error:
        raise InvalidCell.at(f"column {column!r}", error) from error
