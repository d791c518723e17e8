"""Decide once per file which cell becomes which field, so that each row costs little."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nurture.domain.fields import Fields, FieldType
from nurture.domain.plain_text import index_key
from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import PLACEHOLDER, ColumnMapping, did_you_mean
from nurture.formats.columns import (
    CUSTOM,
    SKIP,
    custom_field_name,
    detect_system,
    has_own_ids,
    match_field,
    normalize_name,
)
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import FIELDS, CellReader
from nurture.formats.opt_outs import OPTED_OUT, REFUSALS, SUBSCRIBED, UnclearName, find_meaning, find_unclear_name

IDENTITY: Final = frozenset({"email", "external_id"})
"""The fields by which rows of one person are found."""

MAX_CUSTOM: Final = 200
_MAX_SHOWN: Final = 12
_ANY_TRUE: Final = frozenset(name for name, one in FIELDS.items() if one.any_true) | {SUBSCRIBED}
_ADDITIVE: Final = frozenset({*REFUSALS, SUBSCRIBED, "consent_basis", "status", "deleted"})
"""Fields about permission: a mapping adds columns to them, and takes none away."""


@dataclass(frozen=True, slots=True)
class ColumnBinding:
    """The field that a column fills.

    *topic*: the one that an opt-out column names. *values* is the table of a mapping: whether a text means yes.
    """

    index: int
    field: str
    column: str
    topic: str = ""
    values: Mapping[str, bool] | None = None


@dataclass(slots=True)
class RowPlan:
    """What to do with each row of one file, which has *width* cells.

    *unclear* are columns that may be opt-outs: (index, name, kind). *refusal* is what all rows say, because the sheet
    that lists them is named after it, "" for nothing. *remarks* are columns of free text in which a cell refuses email.
    """

    source: str
    system: str | None = None
    width: int = 0
    columns: list[ColumnBinding] = dataclasses.field(default_factory=list)
    custom: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    constants: dict[str, Any] = dataclasses.field(default_factory=dict)
    templates: list[tuple[str, list[tuple[str, int]], CellReader | None]] = dataclasses.field(default_factory=list)
    duplicate_columns: list[tuple[str, tuple[int, ...]]] = dataclasses.field(default_factory=list)
    unclear: list[tuple[int, str, UnclearName]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    declared: Fields = dataclasses.field(default_factory=dict)
    decimal_marks: dict[int, str | None] = dataclasses.field(default_factory=dict)
    refusal: str = ""
    remarks: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def is_of_type(self, column: ColumnBinding, type_: FieldType) -> bool:
        """Return whether *column* fills a declared field of this type."""
        return column.field in self.declared and self.declared[column.field].type is type_


def fill(parts: Sequence[tuple[str, int]], cells: Sequence[str]) -> str:
    """Return the text of a template for a row; "" if a cell that it names is empty."""
    texts = [(before, cells[index].strip() if index >= 0 else "") for before, index in parts]
    return "".join(before + text for before, text in texts) if all(text for _, text in texts[:-1]) else ""


def make_plan(header: Sequence[str], mapping: ColumnMapping, where: str) -> RowPlan:
    """Map each column of *header*. Raises FileUnreadable when the mapping does not fit the file."""
    system = detect_system(header)
    plan = RowPlan(index_key(mapping.source or system or "csv"), system, len(header), declared=mapping.declared)
    targets, recognized = _map_columns(header, mapping, system, where)
    if mapping.source is None:
        _ignore_unnamed_ids(plan, header, targets, system)
    ranked = sorted(
        ((name, rank, index) for index, (name, rank) in targets.items() if name not in {CUSTOM, SKIP}),
        key=lambda entry: (entry[0], -entry[1], -entry[2]),
    )  # the best column comes last and overwrites the others
    plan.columns = _bind_columns(header, mapping, ranked, targets, recognized)
    plan.unclear = _find_unclear_names(header, targets, system)
    plan.duplicate_columns = _find_duplicate_columns(header, ranked)
    _add_custom_columns(plan, header, targets, {name: index for name, _, index in ranked})
    plan.constants = {name: _read_constant(name, text, mapping.name) for name, text in mapping.constants.items()}
    plan.templates = [_split_template(name, text, header, mapping.name) for name, text in mapping.templates.items()]
    _require_identity(plan, header, where)
    return plan


def _map_columns(
    header: Sequence[str], mapping: ColumnMapping, system: str | None, where: str
) -> tuple[dict[int, tuple[str, int]], dict[int, str]]:
    """Return the field and rank of each column, and what each is recognized as, whatever the mapping says."""
    positions: dict[str, list[int]] = defaultdict(list)
    for index, column in enumerate(header):
        positions[normalize_name(column)].append(index)
    targets = {index: match_field(column, system) or (CUSTOM, 0) for index, column in enumerate(header)}
    declared = _names_of_declared(mapping.declared)
    for index, column in enumerate(header):
        if targets[index][0] not in _ADDITIVE:
            targets[index] = declared.get(normalize_name(column), targets[index])
    if [column.casefold() for column in header[:2]] == ["line", "reason"]:  # a corrected report of bad rows
        targets |= {0: (SKIP, 0), 1: (SKIP, 0)}
    recognized = {index: field for index, (field, _) in targets.items() if field in _ADDITIVE}
    explicit = set(mapping.columns.values()) | mapping.templates.keys()
    for index, (name, _) in list(targets.items()):
        if name in explicit and (name in FIELDS or name in mapping.declared) and name not in _ADDITIVE:
            targets[index] = (CUSTOM, 0)  # the mapping file names the column of this field
    for rank, (column, target) in enumerate(mapping.columns.items()):
        exact = [index for index, name in enumerate(header) if name == column]
        plain = normalize_name(column)
        found = exact or positions.get(plain, [])
        if not found:
            raise FileUnreadable(
                f"{where} has no column {column!r}, which {mapping.name} maps to {target}"
                f"{did_you_mean(column, tuple(header))}"
            )
        name = declared[plain][0] if target == CUSTOM and plain in declared else target
        targets |= dict.fromkeys(found, (name, rank - len(mapping.columns)))
    return targets, {index: field for index, field in recognized.items() if targets[index][0] != SKIP}


def _names_of_declared(fields: Fields) -> dict[str, tuple[str, int]]:
    """Return field and rank by the normalized name of each column that holds a declared field."""
    return {
        normalize_name(column): (field.name, rank)
        for field in fields.values()
        for rank, column in reversed(list(enumerate((*field.columns, field.name, field.label))))
    }


def _bind_columns(
    header: Sequence[str],
    mapping: ColumnMapping,
    ranked: list[tuple[str, int, int]],
    targets: dict[int, tuple[str, int]],
    recognized: dict[int, str],
) -> list[ColumnBinding]:
    values = {normalize_name(column): table for column, table in mapping.values.items() if table}

    def bind(index: int, field: str, *, is_mapped: bool) -> ColumnBinding:
        meaning = find_meaning(header[index]) if field == OPTED_OUT else None
        table = values.get(normalize_name(header[index])) if is_mapped else None
        return ColumnBinding(index, field, header[index], meaning.topic if meaning else "", table)

    bindings = [bind(index, field, is_mapped=True) for field, _, index in ranked]
    # A mapping adds to what is recognized: it never removes a refusal.
    added = [
        bind(index, field, is_mapped=False)
        for index, field in sorted(recognized.items())
        if targets[index][0] != field or normalize_name(header[index]) in values
    ]
    return [*added, *bindings]


def _find_unclear_names(
    header: Sequence[str], targets: dict[int, tuple[str, int]], system: str | None
) -> list[tuple[int, str, UnclearName]]:
    """Return the columns that may be opt-outs: neither known nor mapped to a field that is about permission."""
    unclear = []
    for index, (field, _) in targets.items():
        if field == SKIP or field in _ADDITIVE or match_field(header[index], system) is not None:
            continue
        if (kind := find_unclear_name(header[index])) is not None:
            unclear.append((index, header[index], kind))
    return unclear


def _ignore_unnamed_ids(
    plan: RowPlan, header: Sequence[str], targets: dict[int, tuple[str, int]], system: str | None
) -> None:
    """Keep ids of an unknown system as custom fields: two lists that number their rows from 1 name other people."""
    unnamed = [
        index
        for index, (name, _) in targets.items()
        if name == "external_id" and not has_own_ids(header[index], system)
    ]
    if unnamed:
        targets |= dict.fromkeys(unnamed, (CUSTOM, 0))
        plan.notes.append(
            f"Which system made the ids in {', '.join(repr(header[index]) for index in unnamed)} is unknown, so leads "
            "are recognized by address only; name it with --source, or `source:` in a mapping file, to use the ids."
        )


def _find_duplicate_columns(
    header: Sequence[str], ranked: list[tuple[str, int, int]]
) -> list[tuple[str, tuple[int, ...]]]:
    """Find address or id columns with the same name, whose values must agree."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name, _, index in ranked:
        if name in IDENTITY:
            groups[name, normalize_name(header[index])].append(index)
    return [(header[found[0]], tuple(found)) for found in groups.values() if len(found) > 1]


def _add_custom_columns(
    plan: RowPlan, header: Sequence[str], targets: dict[int, tuple[str, int]], best: dict[str, int]
) -> None:
    names = {*FIELDS, *plan.declared}  # a second title column must not be named title
    dropped = 0
    for index, column in enumerate(header):
        target = targets.get(index, (CUSTOM, 0))[0]
        # Keep a second phone or city as a custom field.
        if target == SKIP or (target != CUSTOM and (best[target] == index or target in _ANY_TRUE)):
            continue
        if len(plan.custom) == MAX_CUSTOM:
            dropped += 1
            continue
        name = base = custom_field_name(column) or f"column_{index + 1}"
        suffix = 1
        while name in names:
            suffix += 1
            name = f"{base}_{suffix}"
        names.add(name)
        plan.custom.append((index, name))
    if dropped:
        plan.notes.append(
            f"{dropped} columns are left out: at most {MAX_CUSTOM} unmapped columns are kept; "
            "map the ones that you need in a mapping file"
        )


def _read_constant(name: str, text: str, where: str) -> Any:
    read = DateReader() if FIELDS[name].is_date else FIELDS[name].read
    try:
        return text if read is None else read(text)
    except ValueError as error:
        raise FileUnreadable(f"{where}: constant {name}: {error}") from error


def _split_template(
    name: str, text: str, header: Sequence[str], where: str
) -> tuple[str, list[tuple[str, int]], CellReader | None]:
    """Split a template into (text before, index of the cell after it); -1 ends it."""
    parts: list[tuple[str, int]] = []
    end = 0
    by_name = {normalize_name(column): index for index, column in reversed(list(enumerate(header)))}
    for found in PLACEHOLDER.finditer(text):
        index = by_name.get(normalize_name(found[1]))
        if index is None:
            raise FileUnreadable(
                f"{where}: template {name} names {{{found[1]}}}, which is not a column"
                f"{did_you_mean(found[1], tuple(header))}"
            )
        parts.append((text[end : found.start()], index))
        end = found.end()
    parts.append((text[end:], -1))
    return name, parts, FIELDS[name].read


def _require_identity(plan: RowPlan, header: Sequence[str], where: str) -> None:
    field_names = {column.field for column in plan.columns} | {name for name, _, _ in plan.templates}
    if field_names & IDENTITY:
        return
    shown = ", ".join(column[:40] for column in header[:_MAX_SHOWN]) + (", ..." if len(header) > _MAX_SHOWN else "")
    raise FileUnreadable(
        f"{where} has no column of email addresses or ids (columns: {shown}); rename one to Email, "
        "or map one to `email` or `external_id` in a mapping file"
    )
