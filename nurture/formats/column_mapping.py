"""Read mapping files, in which a marketer maps columns that are not recognized: of leads, of outcomes, of accounts."""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nurture.domain.fields import Fields
from nurture.errors import FileUnreadable
from nurture.formats.columns import CUSTOM, SKIP, find_columns, normalize_name
from nurture.formats.lead_row import DATE_FIELDS, FIELDS
from nurture.formats.opt_outs import OPTED_OUT, REFUSALS, SUBSCRIBED
from nurture.formats.places import is_zone
from nurture.formats.status_mapping import LeadStatus

SECTIONS: Final = ("source", "columns", "constants", "templates", "formats", "statuses", "time_zone")
PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
_MAX_BYTES: Final = 1_000_000  # bytes
_NOT_A_MAPPING: Final = "is not a mapping file; write `columns:` and, under it, `Column: field`"
_COLUMN_KEYS: Final = ("field", "inverse", "values")
_YES_NO_FIELDS: Final = (*REFUSALS, SUBSCRIBED)
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

Problems = Iterator[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The checked content of a mapping file. *columns* maps a column's name to a field, `custom` or `skip`.

    *declared* are the fields of fields.yaml. *values* says, by column, which texts mean yes (True) or no; the text
    `date` stands for all dates. *meanings* says what the stages of outcomes or the kinds of accounts mean.
    """

    name: str = "mapping"
    source: str | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    values: Mapping[str, Mapping[str, bool]] = field(default_factory=lambda: _EMPTY)
    constants: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    templates: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    formats: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _EMPTY)
    statuses: Mapping[str, LeadStatus] = field(default_factory=lambda: _EMPTY)
    time_zone: str = "UTC"
    declared: Fields = field(default_factory=lambda: _EMPTY)
    meanings: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


def load_mapping(path: str | Path, declared: Fields = _EMPTY) -> ColumnMapping:
    """Read and check the mapping file at *path*. Raises FileUnreadable with all its problems by line."""
    path = Path(path)
    raw = _load_yaml(path)
    _require_no(_find_problems(raw, declared), path)
    return ColumnMapping(
        name=str(path),
        source=_source(raw),
        columns={str(name): _target(entry) for name, entry in _section(raw, "columns").items()},
        values={str(name): _value_table(entry) for name, entry in _section(raw, "columns").items()},
        constants={str(name): _constant_text(value) for name, value in _section(raw, "constants").items()},
        templates={str(name): str(text) for name, text in _section(raw, "templates").items()},
        formats={str(name): _formats(value) for name, value in _section(raw, "formats").items()},
        statuses={str(text).casefold(): LeadStatus(means) for text, means in _section(raw, "statuses").items()},
        time_zone=str(raw.get("time_zone") or "UTC"),
        declared=declared,
    )


def _require_no(problems: Iterable[tuple[int, str]], path: Path) -> None:
    """Raise FileUnreadable if there are *problems*, by line."""
    if found := sorted(problems):
        lines = "\n".join(f"  {path}:{line}: {text}" for line, text in found)
        raise FileUnreadable(f"{path} has {len(found)} problem{'s' if len(found) > 1 else ''}:\n{lines}")


def _source(raw: Any) -> str | None:
    return None if raw.get("source") is None else str(raw["source"]).strip()


def did_you_mean(name: str, known: Iterator[str] | tuple[str, ...]) -> str:
    """Return a hint with the known word closest to *name*; "" without one."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _load_yaml(path: Path) -> Any:
    """Read a mapping file as it is written. Raises FileUnreadable if it is no YAML mapping."""
    if path.is_dir():
        raise FileUnreadable(f"{path} is a folder; name the mapping file inside it")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise FileUnreadable(f"{path} is too large for a mapping file; is it the CSV file?")
        raw = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileUnreadable(f"{path} cannot be read: {error.strerror}; check the path") from error
    except MarkedYAMLError as error:
        where = f"{path}:{1 if error.problem_mark is None else error.problem_mark.line + 1}"
        raise FileUnreadable(f"{where}: not valid YAML ({error.problem}); check its indents") from error
    except (YAMLError, ValueError, IndexError, RecursionError) as error:  # IndexError: a number without digits, as `+_`
        raise FileUnreadable(f"{path} {_NOT_A_MAPPING}") from error
    if not isinstance(raw, dict):
        raise FileUnreadable(f"{path} {_NOT_A_MAPPING}")
    return raw


def _find_problems(raw: Any, declared: Fields) -> Problems:
    yield from _check_sections(raw, SECTIONS, SECTIONS[1:-1])
    for key, targets in (("constants", FIELDS), ("templates", FIELDS), ("formats", (*DATE_FIELDS, *declared))):
        for name in _section(raw, key):
            if name not in targets:
                yield _line_of(raw[key], name), f"{name!r} is not a field{did_you_mean(str(name), tuple(targets))}"
    yield from _check_values(raw, "columns", partial(_column_problem, declared=declared))
    yield from _check_values(raw, "constants", _constant_problem)
    yield from _check_values(raw, "templates", _template_problem)
    yield from _check_values(raw, "formats", _format_problem)
    yield from _check_values(raw, "statuses", partial(_unknown_word, known=tuple(LeadStatus)))
    if raw.get("time_zone") is not None and not is_zone(str(raw["time_zone"])):
        yield (_line_of(raw, "time_zone"), f"zone {raw['time_zone']!r} does not exist; write one like Europe/Berlin")


def _check_sections(raw: Any, known: Sequence[str], tables: Sequence[str]) -> Problems:
    """Check the names of the sections, which of them are *tables*, and the source."""
    for key in raw:
        if key not in known:
            yield _line_of(raw, key), _unknown_word(key, known=known) or ""
    for key in tables:
        if raw.get(key) is not None and not isinstance(raw[key], dict):
            yield _line_of(raw, key), f"{key} must contain `name: value` lines, indented under it"
    if raw.get("source") is not None and not re.fullmatch(r"[\w .-]{1,64}", str(raw["source"])):
        yield (_line_of(raw, "source"), f"source {str(raw['source'])[:70]!r} must be a short name such as olist")


def _check_values(raw: Any, key: str, find_problem: Callable[[Any], str | None]) -> Problems:
    for name, value in _section(raw, key).items():
        if (problem := find_problem(value)) is not None:
            yield _line_of(raw[key], name), f"{name}: {problem}"


def _column_problem(entry: Any, *, declared: Fields) -> str | None:
    known = (*FIELDS, *declared, SUBSCRIBED, CUSTOM, SKIP)
    if not isinstance(entry, dict):
        return None if entry in known else f"{entry!r} is not a field{did_you_mean(str(entry), known)}"
    for key in entry:
        if key not in _COLUMN_KEYS:
            return f"{key!r} is not one of {', '.join(_COLUMN_KEYS)}"
    target, values = entry.get("field"), entry.get("values", {})
    if target not in _YES_NO_FIELDS:
        return f"field {target!r} must be one of {', '.join(_YES_NO_FIELDS)} if it has `inverse` or `values`"
    if not isinstance(entry.get("inverse", False), bool):
        return "inverse must be true or false"
    if entry.get("inverse") and target not in (OPTED_OUT, SUBSCRIBED):
        return f"inverse works for {OPTED_OUT} and {SUBSCRIBED} only"
    if not isinstance(values, dict) or any(_yes_no(value) is None for value in values.values()):
        return "values must contain lines such as `Blocked: yes` or `Active: no`"
    return None


def _target(entry: Any) -> str:
    """Return the field of an entry of `columns`; the inverse of an opt-out is a subscription."""
    if not isinstance(entry, dict):
        return str(entry)
    if entry.get("inverse"):
        return SUBSCRIBED if entry["field"] == OPTED_OUT else OPTED_OUT
    return str(entry["field"])


def _value_table(entry: Any) -> dict[str, bool]:
    values = entry.get("values", {}) if isinstance(entry, dict) else {}
    return {str(text).strip().casefold(): bool(_yes_no(value)) for text, value in values.items()}


def _yes_no(value: Any) -> bool | None:
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).casefold())


def _constant_problem(value: Any) -> str | None:
    return "a constant must be one text, number, yes or no" if isinstance(value, dict | list) or value is None else None


def _template_problem(value: Any) -> str | None:
    text = str(value)
    if not isinstance(value, str) or not PLACEHOLDER.search(text):
        return f'{text[:60]!r} names no column; write it like "{{mql_id}}@leads.example"'
    return "a { or } is unmatched; write a column as {name}" if set(PLACEHOLDER.sub("", text)) & set("{}") else None


def _format_problem(value: Any) -> str | None:
    sample = datetime(2026, 4, 13)  # noqa: DTZ001 -- only to test the format
    for form in _formats(value):
        try:
            if datetime.strptime(sample.strftime(form), form).date() == sample.date():  # noqa: DTZ007
                continue
        except ValueError:
            pass
        return f'{form!r} is not a date format; write one like "%Y-%m-%d" or "%d/%m/%Y %H:%M"'
    return None


def _unknown_word(value: Any, *, known: Sequence[str]) -> str | None:
    return (
        None
        if value in known
        else f"{value!r} is not one of {', '.join(known)}{did_you_mean(str(value), tuple(known))}"
    )


def _section(raw: Any, key: str) -> Mapping[Any, Any]:
    section = raw.get(key)
    return section if isinstance(section, dict) else {}


def _formats(value: Any) -> tuple[str, ...]:
    return tuple(str(form) for form in value) if isinstance(value, list) else (str(value),)


def _constant_text(value: Any) -> str:
    # YAML parses `no` and dates; a constant must be parsed like a cell.
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).strip()


def _line_of(node: Any, key: Any) -> int:
    try:
        return int(node.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return 1


class BoundColumns(NamedTuple):
    """The index of each field's column, and columns by what becomes of them."""

    indexes: Mapping[str, int]
    mapped: Mapping[str, str]
    unmapped: tuple[str, ...]


def load_field_mapping(path: Path, fields: Collection[str], section: str, meanings: Collection[str]) -> ColumnMapping:
    """Read the mapping file at *path*: `source`, `columns`, and *section*, which says what texts mean.

    Raises FileUnreadable for what is neither a field nor one of *meanings*.
    """
    raw = _load_yaml(path)
    allowed = {"columns": (*fields, SKIP), section: tuple(meanings)}
    problems = list(_check_sections(raw, ("source", *allowed), tuple(allowed)))
    for key, known in allowed.items():
        problems += _check_values(raw, key, partial(_unknown_word, known=known))
    _require_no(problems, path)
    texts = {str(text).strip().casefold(): str(meaning) for text, meaning in _section(raw, section).items()}
    columns = {str(name): str(target) for name, target in _section(raw, "columns").items()}
    return ColumnMapping(str(path), _source(raw), columns, meanings=texts)


def header_test(wanted: str, kinds: Sequence[str], mapping: ColumnMapping) -> Callable[[Sequence[str]], bool]:
    """Return a test whether a line is a header: whether it has a column that *mapping* or *kinds* make *wanted*."""
    names = {normalize_name(column) for column, target in mapping.columns.items() if target == wanted}
    return lambda cells: (
        any(wanted in find_columns(cells, kind) for kind in kinds) or not names.isdisjoint(map(normalize_name, cells))
    )


def bind_columns(header: Sequence[str], kinds: Sequence[str], mapping: ColumnMapping) -> BoundColumns:
    """Bind columns by *mapping*, then by the names in `words.csv` of the first of *kinds* that names the field.

    Raises FileUnreadable if the mapping names a column that the file does not have.
    """
    by_name = {normalize_name(column): index for index, column in reversed(list(enumerate(header)))}
    indexes: dict[str, int] = {}
    left = list(header)
    for column, target in mapping.columns.items():
        index = by_name.get(normalize_name(column))
        if index is None:
            hint = did_you_mean(column, tuple(header))
            raise FileUnreadable(f"The file has no column {column!r}, which {mapping.name} maps to {target}{hint}.")
        left[index] = ""
        if target != SKIP:
            indexes[target] = index
    for kind in kinds:
        for name, index in find_columns(left, kind).items():
            indexes.setdefault(name, index)
    mapped = {header[index]: name for name, index in indexes.items()}
    return BoundColumns(indexes, mapped, tuple(column for column in header if column and column not in mapped))
