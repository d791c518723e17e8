"""The mapping file: what a marketer says about columns that are not known by themselves."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from nurture.errors import FileUnreadable
from nurture.formats.columns import CUSTOM, FIELDS, SKIP
from nurture.formats.places import is_zone
from nurture.formats.status_words import Status

DATE_FIELDS: Final = ("created_at", "consent_at", "registered_at")
KEYS: Final = ("source", "columns", "constants", "templates", "formats", "statuses", "times_in")
PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
_LARGEST: Final = 1_000_000  # bytes
_NOT_ONE: Final = "is not a mapping file; write `columns:` and, under it, `Column: field`"
_NONE: Final[Dict[str, Any]] = MappingProxyType({})

Faults = Iterator[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping file's content, checked. *columns* maps a column's name to a field, `custom` or `skip`."""

    name: str = "mapping"
    source: str | None = None
    columns: Dict[str, str] = field(default_factory=lambda: _NONE)
    constants: Dict[str, str] = field(default_factory=lambda: _NONE)
    templates: Dict[str, str] = field(default_factory=lambda: _NONE)
    formats: Dict[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)
    statuses: Dict[str, Status] = field(default_factory=lambda: _NONE)
    times_in: str = "UTC"


def load_mapping(path: str | Path) -> Mapping:
    """Read and check the mapping file at *path*. Raises FileUnreadable that names all its faults by line."""
    path = Path(path)
    raw = _parsed(path)
    faults = sorted(_faults(raw))
    if faults:
        lines = "\n".join(f"  {path}:{line}: {text}" for line, text in faults)
        raise FileUnreadable(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n{lines}")
    return Mapping(
        name=str(path),
        source=None if raw.get("source") is None else str(raw["source"]).strip(),
        columns={str(name): str(target) for name, target in _section(raw, "columns").items()},
        constants={str(name): _plain(value) for name, value in _section(raw, "constants").items()},
        templates={str(name): str(text) for name, text in _section(raw, "templates").items()},
        formats={str(name): _formats(value) for name, value in _section(raw, "formats").items()},
        statuses={str(text).casefold(): Status(means) for text, means in _section(raw, "statuses").items()},
        times_in=str(raw.get("times_in") or "UTC"),
    )


def nearest(name: str, known: Iterator[str] | tuple[str, ...]) -> str:
    """Return a hint that names the known word nearest to *name*, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _parsed(path: Path) -> Any:
    if path.is_dir():
        raise FileUnreadable(f"{path} is a folder; name the mapping file inside it")
    try:
        if path.stat().st_size > _LARGEST:
            raise FileUnreadable(f"{path} is too large for a mapping file; is it the CSV file?")
        raw = YAML(typ="rt").load(path.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise FileUnreadable(f"{path} cannot be read: {fault.strerror}; check the path") from fault
    except MarkedYAMLError as fault:
        where = f"{path}:{1 if fault.problem_mark is None else fault.problem_mark.line + 1}"
        raise FileUnreadable(f"{where}: not valid YAML ({fault.problem}); check its indents") from fault
    except (YAMLError, ValueError, RecursionError) as fault:
        raise FileUnreadable(f"{path} {_NOT_ONE}") from fault
    if not isinstance(raw, dict):
        raise FileUnreadable(f"{path} {_NOT_ONE}")
    return raw


def _faults(raw: Any) -> Faults:
    for key in raw:
        if key not in KEYS:
            yield _line(raw, key), f"{key!r} is not one of {', '.join(KEYS)}{nearest(str(key), KEYS)}"
    for key in KEYS[1:-1]:
        if raw.get(key) is not None and not isinstance(raw[key], dict):
            yield _line(raw, key), f"{key} must hold `name: value` lines, indented under it"
    for key, targets in (("constants", FIELDS), ("templates", FIELDS), ("formats", DATE_FIELDS)):
        for name in _section(raw, key):
            if name not in targets:
                yield _line(raw[key], name), f"{name!r} is not a field{nearest(str(name), targets)}"
    yield from _values(raw, "columns", _column_fault)
    yield from _values(raw, "constants", _constant_fault)
    yield from _values(raw, "templates", _template_fault)
    yield from _values(raw, "formats", _format_fault)
    yield from _values(raw, "statuses", _status_fault)
    if raw.get("source") is not None and not re.fullmatch(r"[\w .-]{1,64}", str(raw["source"])):
        yield _line(raw, "source"), f"source {str(raw['source'])[:70]!r} must be a short name such as olist"
    if raw.get("times_in") is not None and not is_zone(str(raw["times_in"])):
        yield _line(raw, "times_in"), f"zone {raw['times_in']!r} does not exist; write one like Europe/Berlin"


def _values(raw: Any, key: str, fault_of: Callable[[Any], str | None]) -> Faults:
    for name, value in _section(raw, key).items():
        if (fault := fault_of(value)) is not None:
            yield _line(raw[key], name), f"{name}: {fault}"


def _column_fault(target: Any) -> str | None:
    if target in (*FIELDS, CUSTOM, SKIP):
        return None
    return f"{target!r} is not a field{nearest(str(target), FIELDS)}"


def _constant_fault(value: Any) -> str | None:
    return "a constant is one plain value" if isinstance(value, dict | list) or value is None else None


def _template_fault(value: Any) -> str | None:
    text = str(value)
    if not isinstance(value, str) or not PLACEHOLDER.search(text):
        return f'{text[:60]!r} names no column; write it like "{{mql_id}}@leads.example"'
    return "a { or } has no partner" if set(PLACEHOLDER.sub("", text)) & set("{}") else None


def _format_fault(value: Any) -> str | None:
    sample = datetime(2026, 4, 13)  # noqa: DTZ001 -- only to try the format
    for form in _formats(value):
        try:
            if datetime.strptime(sample.strftime(form), form).date() == sample.date():  # noqa: DTZ007
                continue
        except ValueError:
            pass
        return f'{form!r} is not a date format; write one like "%Y-%m-%d" or "%d/%m/%Y %H:%M"'
    return None


def _status_fault(value: Any) -> str | None:
    known = tuple(Status)
    if value in known:
        return None
    return f"{value!r} is not one of {', '.join(known)}{nearest(str(value), known)}"


def _section(raw: Any, key: str) -> Dict[Any, Any]:
    section = raw.get(key)
    return section if isinstance(section, dict) else {}


def _formats(value: Any) -> tuple[str, ...]:
    return tuple(str(form) for form in value) if isinstance(value, list) else (str(value),)


def _plain(value: Any) -> str:
    # YAML reads `no` and dates as values; a constant is read like a cell.
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).strip()


def _line(node: Any, key: Any) -> int:
    try:
        return int(node.lc.key(key)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return 1
