"""Read the mapping file, in which a marketer maps columns that are not recognized."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nurture.errors import FileUnreadable
from nurture.formats.columns import CUSTOM, SKIP
from nurture.formats.lead_row import DATE_FIELDS, FIELDS
from nurture.formats.places import is_zone
from nurture.formats.status_mapping import LeadStatus

SECTIONS: Final = ("source", "columns", "constants", "templates", "formats", "statuses", "time_zone")
PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
_MAX_BYTES: Final = 1_000_000  # bytes
_NOT_A_MAPPING: Final = "is not a mapping file; write `columns:` and, under it, `Column: field`"
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

Problems = Iterator[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The checked content of a mapping file. *columns* maps a column's name to a field, `custom` or `skip`."""

    name: str = "mapping"
    source: str | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    constants: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    templates: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    formats: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _EMPTY)
    statuses: Mapping[str, LeadStatus] = field(default_factory=lambda: _EMPTY)
    time_zone: str = "UTC"


def load_mapping(path: str | Path) -> ColumnMapping:
    """Read and check the mapping file at *path*. Raises FileUnreadable with all its problems by line."""
    path = Path(path)
    raw = _load_yaml(path)
    problems = sorted(_find_problems(raw))
    if problems:
        lines = "\n".join(f"  {path}:{line}: {text}" for line, text in problems)
        raise FileUnreadable(f"{path} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n{lines}")
    return ColumnMapping(
        name=str(path),
        source=None if raw.get("source") is None else str(raw["source"]).strip(),
        columns={str(name): str(target) for name, target in _section(raw, "columns").items()},
        constants={str(name): _constant_text(value) for name, value in _section(raw, "constants").items()},
        templates={str(name): str(text) for name, text in _section(raw, "templates").items()},
        formats={str(name): _formats(value) for name, value in _section(raw, "formats").items()},
        statuses={str(text).casefold(): LeadStatus(means) for text, means in _section(raw, "statuses").items()},
        time_zone=str(raw.get("time_zone") or "UTC"),
    )


def did_you_mean(name: str, known: Iterator[str] | tuple[str, ...]) -> str:
    """Return a hint with the known word closest to *name*; "" without one."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _load_yaml(path: Path) -> Any:
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
    except (YAMLError, ValueError, RecursionError) as error:
        raise FileUnreadable(f"{path} {_NOT_A_MAPPING}") from error
    if not isinstance(raw, dict):
        raise FileUnreadable(f"{path} {_NOT_A_MAPPING}")
    return raw


def _find_problems(raw: Any) -> Problems:
    for key in raw:
        if key not in SECTIONS:
            yield (_line_of(raw, key), f"{key!r} is not one of {', '.join(SECTIONS)}{did_you_mean(str(key), SECTIONS)}")
    for key in SECTIONS[1:-1]:
        if raw.get(key) is not None and not isinstance(raw[key], dict):
            yield _line_of(raw, key), f"{key} must contain `name: value` lines, indented under it"
    for key, targets in (("constants", FIELDS), ("templates", FIELDS), ("formats", DATE_FIELDS)):
        for name in _section(raw, key):
            if name not in targets:
                yield _line_of(raw[key], name), f"{name!r} is not a field{did_you_mean(str(name), tuple(targets))}"
    yield from _check_values(raw, "columns", _column_problem)
    yield from _check_values(raw, "constants", _constant_problem)
    yield from _check_values(raw, "templates", _template_problem)
    yield from _check_values(raw, "formats", _format_problem)
    yield from _check_values(raw, "statuses", _status_problem)
    if raw.get("source") is not None and not re.fullmatch(r"[\w .-]{1,64}", str(raw["source"])):
        yield (_line_of(raw, "source"), f"source {str(raw['source'])[:70]!r} must be a short name such as olist")
    if raw.get("time_zone") is not None and not is_zone(str(raw["time_zone"])):
        yield (_line_of(raw, "time_zone"), f"zone {raw['time_zone']!r} does not exist; write one like Europe/Berlin")


def _check_values(raw: Any, key: str, find_problem: Callable[[Any], str | None]) -> Problems:
    for name, value in _section(raw, key).items():
        if (problem := find_problem(value)) is not None:
            yield _line_of(raw[key], name), f"{name}: {problem}"


def _column_problem(target: Any) -> str | None:
    if target in (*FIELDS, CUSTOM, SKIP):
        return None
    return f"{target!r} is not a field{did_you_mean(str(target), tuple(FIELDS))}"


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


def _status_problem(value: Any) -> str | None:
    known = tuple(LeadStatus)
    if value in known:
        return None
    return f"{value!r} is not one of {', '.join(known)}{did_you_mean(str(value), known)}"


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
