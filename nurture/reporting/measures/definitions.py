"""The table of measures: what each counts, of which facts, and the figure of the articles beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

_MEASURES: Final = Path(__file__).with_name("measures.yaml")
_FACTS: Final = Path(__file__).with_name("facts.yaml")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. *id* begins with the requirement that it answers; *version* is that of the definition.

    *whole*, *part* and *unknown* are conditions on the columns of *facts*. *value* is what the percentiles are of, in
    *unit*; *by* is what it is also counted by. *special* names a function that adds rows or counts. A measure with
    *none* has no figure, for this reason.
    """

    id: str
    name: str
    definition: str = ""
    facts: str = ""
    part: str = ""
    whole: str = "1 = 1"
    unknown: str = ""
    value: str = ""
    unit: str = ""
    by: str = ""
    special: str = ""
    baseline: str = ""
    target: str = ""
    source: str = ""
    none: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows to count. *listed* has the same columns, but a row per fact where *sql* has counts of them.

    *grouped* are the columns, in classes, by which rows are counted before any condition is looked at.
    """

    sql: str
    grouped: tuple[str, ...] = ()
    listed: str = ""
    independent: bool = False


@cache
def load_measures() -> dict[str, Measure]:
    """Return every measure by its id, in the order of the requirements."""
    return {one["id"]: Measure(**one) for one in _read(_MEASURES)}


@cache
def load_facts() -> dict[str, Facts]:
    """Return the facts by name."""
    rows = _read(_FACTS)
    inner = rows["handoffs"]["sql"]
    return {name: Facts(**one | {"sql": one["sql"].replace("{handoffs}", inner)}) for name, one in rows.items()}


def _read(path: Path) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only where measures are computed

    return YAML(typ="safe").load(path.read_text("utf-8"))
