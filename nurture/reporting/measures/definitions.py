"""The table of measures: what each counts, of which facts, and the figure of the articles beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

_NOT_COUNTED: Final = ("version", "name", "baseline", "target", "source", "none", "divides_part")
"""What stands beside a figure, and does not decide it."""

_MEASURES: Final = Path(__file__).with_name("measures.yaml")
_FACTS: Final = Path(__file__).with_name("facts.yaml")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. *id* begins with the requirement that it answers; *version* is that of the definition.

    *whole*, *part* and *unknown* are conditions on the columns of *facts*. *value* is what the percentiles are of, in
    *unit*; *by* is what it is also counted by. *special* names a function that adds rows or counts. A measure with
    *none* has no figure, for this reason. With *divides_part* the groups are of the part alone.
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
    divides_part: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows to count. *listed* has the same columns, but a row per fact where *sql* has counts of them.

    *grouped* are the columns, in classes, by which rows are counted before any condition is looked at. *counted* is a
    statement on these counts, `g`, and on counts that are kept. *version* is that of these statements.
    """

    sql: str
    grouped: tuple[str, ...] = ()
    counted: str = ""
    listed: str = ""
    independent: bool = False
    version: int = 1


@cache
def load_measures() -> dict[str, Measure]:
    """Return every measure by its id, in the order of the requirements."""
    return {one["id"]: Measure(**one) for one in _read(_MEASURES)}


@cache
def load_facts() -> dict[str, Facts]:
    """Return the facts by name."""
    rows = _read(_FACTS)
    firsts = rows.pop("firsts")["sql"]
    return {name: Facts(**one | {"sql": one["sql"].replace("{firsts}", firsts)}) for name, one in rows.items()}


def hash_definition(one: Measure | Facts) -> str:
    """Return a hash of the words and statements that decide a figure. One version of a definition has one hash.

    The tests keep the hash of every version, and fail when a definition changes under the same one.
    """
    decisive = {name: value for name, value in asdict(one).items() if name not in _NOT_COUNTED}
    if decisive.get("counted") == "":  # younger than the first hashes
        del decisive["counted"]
    words = ((name, " ".join(str(value).split())) for name, value in sorted(decisive.items()))
    return sha256(repr(tuple(words)).encode()).hexdigest()[:12]


def _read(path: Path) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only where measures are computed

    return YAML(typ="safe").load(path.read_text("utf-8"))
