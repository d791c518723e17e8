"""Parse the cells of a row into a typed lead."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping as Dict
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from nurture.domain.lead import FieldValue
from nurture.formats.cells import (
    clean_cells,
    find_addresses,
    is_placeholder,
    is_plain_address,
    is_registration,
    other_name,
    read_flag,
    read_name,
    split_name,
)
from nurture.formats.columns import CONVERTED, custom_field_name, is_address_column
from nurture.formats.dates import AmbiguousZone, DateReader, is_no_date
from nurture.formats.lead_row import FIELDS, UNCLEAR_CONSENT, CellReader, LeadField, LeadRow, make_reader
from nurture.formats.opt_outs import REFUSALS, SUBSCRIBED, read_status
from nurture.formats.permission_cells import Note, PermissionReader
from nurture.formats.places import country_code, zone_for
from nurture.formats.purchase_timeframe import read_timeframe
from nurture.formats.rejected_rows import BadRow, InvalidCell
from nurture.formats.row_plan import ColumnBinding, RowPlan, fill
from nurture.formats.status_mapping import LeadStatus, map_status, most_restrictive, read_customer
from nurture.formats.tables import read_words

_NOBODY: Final = frozenset(read_words("nobody"))
_CONTACT_TYPES: Final = frozenset(read_words("type_of_contact"))
_SURNAMES: Final = ("Null", "None")
_PERMISSIONS: Final = frozenset({*REFUSALS, SUBSCRIBED, "consent_basis"})
_MAX_NOTED: Final = 1_000
_MAX_KNOWN: Final = 4_096  # values of a column
_MAX_LOST_ZEROS: Final = 2


class _BoundCell(NamedTuple):
    """A cell of the field *name*. *known* are values of texts that were read before: most columns repeat a few."""

    place: int
    name: str
    known: dict[str, Any]
    column: str
    field: LeadField
    read: CellReader | None


class _StatusReading(NamedTuple):
    """The preferred status *text* of a row, the *status* that restricts mail most, and the texts that are unknown."""

    text: str | None
    status: LeadStatus | None
    unknown: tuple[str, ...]


class RowBuilder:
    """Parses the rows of one file into LeadRows. *dates* are the parsers of the date columns, by position."""

    def __init__(self, plan: RowPlan, statuses: Dict[str, LeadStatus], dates: Dict[int, DateReader]) -> None:
        self._plan = plan
        self._statuses = statuses
        self._cells: list[_BoundCell] = []
        self._permissions = PermissionReader(plan, statuses, dates)
        self.unknown_statuses: Counter[str] = Counter()
        self._status_cache: dict[tuple[str, ...], _StatusReading] = {}
        self._declared: list[tuple[ColumnBinding, Callable[[str], FieldValue]]] = []
        self._status_columns = [one.index for one in plan.columns if one.field == "status"]
        self._converted_columns = [one for one in plan.columns if one.field == CONVERTED]
        for one in plan.columns:
            if one.field in plan.declared:
                date_reader = dates.get(one.index) or DateReader()
                reader = make_reader(plan.declared[one.field], date_reader, plan.decimal_marks.get(one.index))
                self._declared.append((one, reader))
            elif one.field in FIELDS and one.field != "status" and one.field not in _PERMISSIONS:
                field = FIELDS[one.field]
                read = dates[one.index] if field.is_date else read_customer if one.field == "customer" else field.read
                self._cells.append(_BoundCell(one.index, one.field, {}, one.column, field, read))
        self._places = [(one.place, one.name, one.known, one) for one in self._cells]
        addresses = [one.index for one in plan.columns if one.field == "email"]
        addresses += [one.index for one, _ in self._declared if is_address_column(one.column)]
        addresses += [index for index, name in plan.custom if is_address_column(name)]
        self._addresses = addresses if len(addresses) > 1 else []
        self._constants = {"status_text" if name == "status" else name: it for name, it in plan.constants.items()}
        self._has_statuses = bool(self._status_columns or self._converted_columns or "status" in plan.constants)

    def build(self, line: int, cells: list[str]) -> LeadRow | BadRow:
        """Return the lead of *cells*, or a BadRow with the reason."""
        try:
            return self.read(line, cells)
        except ValueError as error:
            return BadRow.trimmed(line, str(error), cells, self._find_opt_outs(line, cells))

    @property
    def noted(self) -> Counter[Note]:
        """The texts to report, with their counts."""
        return self._permissions.noted

    def _note(self, kind: str, column: str, text: str) -> None:
        note = (kind, column, text)
        self.noted[note if note in self.noted or len(self.noted) < _MAX_NOTED else (kind, column, "")] += 1

    def rescue(self, row: BadRow) -> BadRow:
        """Return a row whose cells do not fit the header, with the opt-outs that it certainly says."""
        cells = [*row.cells, *[""] * (self._plan.width - len(row.cells))]
        permission = self._permissions.read(cells)
        opt_outs = () if permission.notes else self._find_opt_outs(row.line, cells)
        opt_outs = tuple(one for one in opt_outs if one.email)  # another cell may stand in the place of the id
        return replace(row, opt_outs=opt_outs) if opt_outs else row

    def _find_opt_outs(self, line: int, cells: list[str]) -> tuple[LeadRow, ...]:
        """Return the opt-outs of a row that cannot be read otherwise: one row for each address in it, or by its id."""
        permission = self._permissions.read(cells)
        if not permission.refuses and not permission.consent_withdrawn:
            return ()
        found = self._find_addresses(cells)
        said = {**self._constants, **dict(permission.said), "consent_basis": None, "unclear_opt_out": None}
        if not found:  # a bounce is about the address that cannot be read
            ids = [text for cell in self._cells if cell.name == "external_id" and (text := cells[cell.place].strip())]
            named = {**said, "external_id": ids[-1], "undeliverable": None} if ids else None
            return (LeadRow(line, self._plan.source, {}, **named),) if named is not None else ()
        return tuple(LeadRow(line, self._plan.source, {}, **{**said, "email": address}) for address in found)

    def read(self, line: int, cells: list[str]) -> LeadRow:
        """Return the lead of *cells*. Raises ValueError, mostly InvalidCell."""
        cells = clean_cells(cells)
        custom: dict[str, FieldValue] = {
            name: text for index, name in self._plan.custom if (text := cells[index].strip())
        }
        row = LeadRow(line, self._plan.source, custom, **self._constants)
        if self._declared:
            self._read_declared(cells, custom)
        self._read_cells(cells, row)
        permission = self._permissions.read(cells)
        for name, value in permission.said:
            setattr(row, name, value)
        if permission.unclear_consent:
            custom[UNCLEAR_CONSENT] = permission.unclear_consent
        self._fill_templates(cells, row)
        if self._has_statuses:
            self._read_statuses(cells, row)
        _derive_fields(row)
        if row.postcode and row.country:
            self._check_postcode(row)
        self._reject_contradictions(cells, row)
        if self._addresses:
            row.other_addresses = tuple(one for one in self._find_addresses(cells) if one != row.email)
        return row

    def _find_addresses(self, cells: list[str]) -> Dict[str, None]:
        """Return every address of the person of a row, once."""
        texts = [cells[index] for index in self._addresses]
        texts = texts or [cells[cell.place] for cell in self._cells if cell.name == "email"]
        return dict.fromkeys(address for text in texts if "@" in text for address in find_addresses(text))

    def _read_declared(self, cells: list[str], custom: dict[str, FieldValue]) -> None:
        """Read the declared fields; a bad value costs only its cell."""
        for column, read in self._declared:
            text = cells[column.index].strip()
            if not text or is_placeholder(text):
                continue
            try:
                custom[column.field] = read(text)
            except ValueError:
                self._note("declared", column.column, text)

    def _read_cells(self, cells: list[str], row: LeadRow) -> None:
        for place, name, known, cell in self._places:
            if text := cells[place]:
                value = known.get(text)
                if value is None:
                    value = self._read_cell(cell, text, row)
                if value is not None:
                    setattr(row, name, value)

    def _read_cell(self, cell: _BoundCell, raw: str, row: LeadRow) -> Any:
        """Return the value of a cell, None for no value. An unreadable date or lenient value becomes a custom field."""
        if cell.name == "email" and is_plain_address(raw):
            return raw.lower()
        text, field = raw.strip(), cell.field
        if not text or (not field.is_raw and is_placeholder(text)) or (field.is_date and is_no_date(text)):
            return None
        try:
            value = text if cell.read is None else cell.read(text)
        except ValueError as error:
            if field.is_date:
                self._note("zone" if isinstance(error, AmbiguousZone) else "date", cell.column, text)
                name = custom_field_name(cell.column)
                row.custom[f"{name}_text" if name in FIELDS else name] = text
                return None
            if not field.is_lenient:
                raise InvalidCell.at(f"column {cell.column!r}", error) from error
            value = None
        if value is None and (field.is_lenient or cell.name == "attended"):
            row.custom[cell.name] = text
        elif field.any_true:
            return value or bool(getattr(row, cell.name))
        elif len(cell.known) < _MAX_KNOWN:
            cell.known[raw] = value
        return value

    def _read_statuses(self, cells: list[str], row: LeadRow) -> None:
        key = tuple([cells[index] for index in self._status_columns])
        read = self._status_cache.get(key)
        if read is None:
            if len(self._status_cache) >= _MAX_NOTED:
                self._status_cache.clear()
            read = self._status_cache[key] = self._read_status_texts(key)
        row.status_text, row.status, unknown = read
        for text in unknown:
            if len(self.unknown_statuses) < _MAX_NOTED or text in self.unknown_statuses:
                self.unknown_statuses[text] += 1
        for one in self._converted_columns:
            text = cells[one.index].strip()
            if text and not is_placeholder(text) and _read_flag_cell(text, one.column):
                row.status = most_restrictive([row.status or LeadStatus.WON, LeadStatus.WON])
        if row.status_text and row.status is None:
            row.custom["status_text"] = row.status_text

    def _read_status_texts(self, cells: tuple[str, ...]) -> _StatusReading:
        default = self._constants.get("status_text")
        texts = [text for cell in cells if (text := cell.strip()) and not is_placeholder(text)]
        texts = texts or ([default] if default else [])
        found = {text: self._statuses.get(text.casefold()) or map_status(text) for text in texts}
        status = most_restrictive(status for status in found.values() if status is not None)
        unknown = tuple(text for text, status in found.items() if status is None and read_status(text) is None)
        return _StatusReading(texts[-1] if texts else None, status, unknown)  # the preferred column is last

    def _fill_templates(self, cells: list[str], row: LeadRow) -> None:
        for name, parts, read in self._plan.templates:
            if not (filled := fill(parts, cells)):
                continue  # an empty cell leaves the field empty
            try:
                value = filled if read is None else read(filled)
            except ValueError as error:
                raise InvalidCell.at(f"template {name}", error) from error
            setattr(row, name, value or getattr(row, name) if FIELDS[name].any_true else value)

    def _check_postcode(self, row: LeadRow) -> None:
        """Restore the zeros that a spreadsheet took from the front of a postcode."""
        text = row.postcode or ""
        length = int(read_words("postcode_digits").get((row.country or "").lower(), 0))
        if len(text) >= length or not text.isdecimal():
            return
        column = next((cell.column for cell in self._cells if cell.name == "postcode"), "postcode")
        if length - len(text) > _MAX_LOST_ZEROS:
            self._note("short_postcode", column, text)
        else:
            row.postcode = text.zfill(length)
            self._note("postcode", column, text)

    def _reject_contradictions(self, cells: list[str], row: LeadRow) -> None:
        for column, indexes in self._plan.duplicate_columns:
            texts = {text.casefold(): text for index in indexes if (text := cells[index].strip())}
            if len(texts) > 1:
                first, second = list(texts.values())[:2]
                what = f"the columns named {column!r} disagree ({first[:60]!r} and {second[:60]!r})"
                raise InvalidCell(what, "keep one of them")
        if row.attended is False and row.minutes_attended:
            raise InvalidCell(f"attended says no, but {row.minutes_attended} minutes were attended", "correct one")


def _derive_fields(row: LeadRow) -> None:
    """Derive fields from other fields."""
    custom = row.custom
    if row.owner and row.owner.casefold() in _NOBODY:
        row.owner = None
    if row.full_name and not (row.first_name or row.last_name):
        first, last = split_name(row.full_name)
        row.first_name, row.last_name = (read_name(name) if name else None for name in (first, last))
        if not (row.first_name or row.last_name):
            row.full_name = None
    elif row.full_name and row.first_name and not row.last_name:
        row.last_name = read_name(other_name(row.full_name, row.first_name)) or None
    elif row.full_name and row.last_name and not row.first_name:
        row.first_name = read_name(other_name(row.full_name, row.last_name)) or None
    if row.first_name in _SURNAMES:
        row.first_name = None
    if row.last_name in _SURNAMES and not row.first_name:
        row.last_name = None
    if row.title and _is_salutation(row.title):
        row.title, custom["salutation"] = None, row.title
    if row.country:
        code = country_code(row.country)
        if code is None:
            custom["country"] = row.country
        row.country = code
        if row.zone is None and code is not None:
            row.zone = zone_for(code, row.region, row.city)
    if row.purchase_timeframe:
        stated_at = row.registered_at or row.created_at
        row.timeframe = read_timeframe(row.purchase_timeframe, stated_at.date() if stated_at is not None else None)
    if row.attended is None and row.registered_at is None and is_registration(str(custom.get("attended", ""))):
        row.registered_at = row.created_at  # the date of the order
    if row.attended is None and (row.minutes_attended is not None or row.attended_at is not None):
        row.attended = row.minutes_attended is None or row.minutes_attended > 0
    if custom and not _CONTACT_TYPES.isdisjoint(custom):
        types = (str(custom[name]) for name in _CONTACT_TYPES & custom.keys())
        if any(map_status(text) is LeadStatus.CUSTOMER for text in types):
            row.customer = True


@lru_cache(maxsize=4096)
def _is_salutation(title: str) -> bool:
    return all(word in read_words("salutation") for word in title.casefold().replace(".", " ").split())


def _read_flag_cell(text: str, column: str) -> bool:
    try:
        return read_flag(text)
    except ValueError as error:
        raise InvalidCell.at(f"column {column!r}", error) from error
