"""Decide once per file which cell becomes which field, so that each row costs little."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from nurture.domain.plain_text import index_key
from nurture.errors import FileUnreadable
from nurture.formats.column_mapping import PLACEHOLDER, ColumnMapping, did_you_mean
from nurture.formats.columns import (
    CUSTOM,
    SKIP,
    custom_field_name,
    detect_system,
    match_field,
    normalize_name,
)
from nurture.formats.dates import DateReader
from nurture.formats.lead_row import FIELDS, CellReader

MAX_CUSTOM: Final = 200
_MAX_SHOWN: Final = 12
_ANY_TRUE: Final = frozenset(name for name, one in FIELDS.items() if one.any_true)


@dataclass(frozen=True, slots=True)
class ColumnBinding:
    """The field that a column fills."""

    index: int
    field: str
    column: str


@dataclass(slots=True)
class RowPlan:
    """What to do with each row of one file."""

    source: str
    columns: list[ColumnBinding] = dataclasses.field(default_factory=list)
    custom: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    constants: dict[str, Any] = dataclasses.field(default_factory=dict)
    templates: list[tuple[str, list[tuple[str, int]], CellReader | None]] = dataclasses.field(default_factory=list)
    duplicate_columns: list[tuple[str, tuple[int, ...]]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def make_plan(header: Sequence[str], mapping: ColumnMapping, where: str) -> RowPlan:
    """Map each column of *header*. Raises FileUnreadable when the mapping does not fit the file."""
    system = detect_system(header)
    plan = RowPlan(index_key(mapping.source or system or "csv"))
    targets = _map_columns(header, mapping, system, where)
    ranked = sorted(
        ((name, rank, index) for index, (name, rank) in targets.items() if name not in {CUSTOM, SKIP}),
        key=lambda entry: (entry[0], -entry[1], -entry[2]),
    )  # the best column comes last and overwrites the others
    plan.columns = [ColumnBinding(index, name, header[index]) for name, _, index in ranked]
    plan.duplicate_columns = _find_duplicate_columns(header, ranked)
    _add_custom_columns(plan, header, targets, {name: index for name, _, index in ranked})
    plan.constants = {name: _read_constant(name, text, mapping.name) for name, text in mapping.constants.items()}
    plan.templates = [_split_template(name, text, header, mapping.name) for name, text in mapping.templates.items()]
    _require_identity(plan, header, where)
    return plan


def _map_columns(
    header: Sequence[str], mapping: ColumnMapping, system: str | None, where: str
) -> dict[int, tuple[str, int]]:
    positions: dict[str, list[int]] = defaultdict(list)
    for index, column in enumerate(header):
        positions[normalize_name(column)].append(index)
    targets = {index: match_field(column, system) or (CUSTOM, 0) for index, column in enumerate(header)}
    if [column.casefold() for column in header[:2]] == ["line", "reason"]:  # a corrected report of bad rows
        targets |= {0: (SKIP, 0), 1: (SKIP, 0)}
    explicit = set(mapping.columns.values()) | mapping.templates.keys()
    for index, (name, _) in list(targets.items()):
        if name in explicit and name in FIELDS:  # the mapping file names the column of this field
            targets[index] = (CUSTOM, 0)
    for rank, (column, target) in enumerate(mapping.columns.items()):
        exact = [index for index, name in enumerate(header) if name == column]
        found = exact or positions.get(normalize_name(column), [])
        if not found:
            raise FileUnreadable(
                f"{where} has no column {column!r}, which {mapping.name} maps to {target}"
                f"{did_you_mean(column, tuple(header))}"
            )
        targets |= dict.fromkeys(found, (target, rank))
    return targets


def _find_duplicate_columns(
    header: Sequence[str], ranked: list[tuple[str, int, int]]
) -> list[tuple[str, tuple[int, ...]]]:
    """Find address or id columns with the same name, whose values must agree."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name, _, index in ranked:
        if name in {"email", "external_id"}:
            groups[name, normalize_name(header[index])].append(index)
    return [(header[found[0]], tuple(found)) for found in groups.values() if len(found) > 1]


def _add_custom_columns(
    plan: RowPlan, header: Sequence[str], targets: dict[int, tuple[str, int]], best: dict[str, int]
) -> None:
    names = set(FIELDS)  # a second title column must not be named title
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
    if field_names & {"email", "external_id"}:
        return
    shown = ", ".join(column[:40] for column in header[:_MAX_SHOWN]) + (", ..." if len(header) > _MAX_SHOWN else "")
    raise FileUnreadable(
        f"{where} has no column of email addresses or ids (columns: {shown}); rename one to Email, "
        "or map one to `email` or `external_id` in a mapping file"
    )
