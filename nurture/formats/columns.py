"""Map the column names of known systems to our fields."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

from nurture.domain.plain_text import strip_accents
from nurture.formats.opt_outs import find_meaning, plain_words
from nurture.formats.tables import read_table, read_words, split_cell

CUSTOM: Final = "custom"  # keep the column as a field under its own name
_MAX_NAME: Final = 100
EVENT: Final = "webinar"  # the system of reports on webinars and fairs
SKIP: Final = "skip"  # ignore the column
CONVERTED: Final = "converted"  # a flag that overrides the status; only Salesforce has it


@lru_cache(maxsize=65536)
def normalize_name(name: str) -> str:
    """Return a column's name without case, spaces, accents, `(UTC)` and custom suffix, for comparison."""
    name = re.sub(r"\((?:utc|gmt)\)\s*$|_{1,2}c$|[\u2019']", "", name.strip().casefold())
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", strip_accents(name)))


def custom_field_name(column: str) -> str:
    """Return the field name of an unknown column: its words joined by underscores."""
    name = re.sub(r"__c$", "", column.strip())
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return re.sub(r"[\W_]+", "_", re.sub("[\u2019']", "", name)).strip("_")[:64].rstrip("_")


def _rank_names() -> dict[str, dict[str, tuple[str, int]]]:
    """Return the field and rank of each normalized name by system; "" for names that mean the same in every system.

    If several columns map to one field, the first with a value counts, in the order of the table, so primary names
    come first.
    """
    tables: defaultdict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for row in read_table("columns.csv"):
        names = enumerate(split_cell(row["names"]))
        tables[row["system"]] |= {normalize_name(name): (row["field"], rank) for rank, name in names}
    return tables


_SYSTEM_NAMES: Final = _rank_names()
_COMMON_NAMES: Final = _SYSTEM_NAMES.pop("")
_DISTINCTIVE_NAMES: Final = {system: names.keys() - _COMMON_NAMES.keys() for system, names in _SYSTEM_NAMES.items()}
_NAME_USES: Final = Counter(name for names in _DISTINCTIVE_NAMES.values() for name in names)
_ANY_SYSTEM: Final = {
    name: (field, rank)
    for names in _SYSTEM_NAMES.values()
    for name, (field, rank) in names.items()
    if field not in {CUSTOM, CONVERTED}
}


def detect_system(header: Sequence[str]) -> str | None:
    """Return the system with the most of its own column names in *header*; None if that is not certain.

    It is certain with two names, one of which no other system uses, and with more names than any other system.
    """
    names = {normalize_name(column) for column in header}
    found = {system: names & distinctive for system, distinctive in _DISTINCTIVE_NAMES.items()}
    best, second = sorted(found, key=lambda system: len(found[system]), reverse=True)[:2]
    is_certain = len(found[best]) > max(1, len(found[second])) and any(_NAME_USES[name] == 1 for name in found[best])
    return best if is_certain else None


def explain_system(header: Sequence[str], system: str) -> list[str]:
    """Return the columns of *header* that only *system* and few others have."""
    return [column for column in header if normalize_name(column) in _DISTINCTIVE_NAMES[system]]


def has_own_ids(column: str, system: str | None) -> bool:
    """Return whether *column* holds the ids that *system* makes, by the name that the system gives it."""
    return _SYSTEM_NAMES.get(system or "", {}).get(normalize_name(column), ("", 0))[0] == "external_id"


def match_field(column: str, system: str | None) -> tuple[str, int] | None:
    """Return the field of *column* in *system*, and the rank of the name for that field (0 is best)."""
    if (found := _match_name(column, system)) is not None:
        return found
    meaning = find_meaning(column)
    return (meaning.field, 300) if meaning is not None else None


def is_address_column(name: str) -> bool:
    """Return whether a column holds addresses of people such as "Email 2", and not those of their owners."""
    found = match_field(name, None)
    if found is not None and found[0] == "email":
        return True
    words = {word.rstrip("0123456789") for word in plain_words(name).split()} - {""}
    known = read_words("address_word")
    return words <= known.keys() and any(known[word] == "mail" for word in words)


def _match_name(column: str, system: str | None) -> tuple[str, int] | None:
    """Return the field and rank of a name that `columns.csv` has."""
    name = normalize_name(column)
    system_match = _SYSTEM_NAMES.get(system or "", {}).get(name)
    if system_match is not None:
        return system_match
    if (common := _COMMON_NAMES.get(name)) is not None:
        return common[0], common[1] + 100
    return (other[0], other[1] + 200) if (other := _ANY_SYSTEM.get(name)) is not None else None


@cache
def words_by_name(kind: str) -> dict[str, str]:
    """Return the meaning of each text of *kind* in `words.csv`, as `normalize_name` writes the text."""
    return {normalize_name(text): meaning for text, meaning in read_words(kind).items()}


def find_columns(header: Sequence[str], kind: str) -> dict[str, int]:
    """Return the index of the column of each field that `words.csv` names for *kind*; of several, the first name there.

    The two columns that a report of bad rows adds are not looked at.
    """
    names = words_by_name(kind)
    ranks = {name: rank for rank, name in enumerate(names)}
    is_report = [name.casefold() for name in header[:2]] == ["line", "reason"]
    found: dict[str, int] = {}
    columns = [normalize_name(name) for name in header]
    for index in sorted(range(2 if is_report else 0, len(header)), key=lambda index: ranks.get(columns[index], 0)):
        if field := names.get(columns[index]):
            found.setdefault(field, index)
    return found


def looks_like_header(cells: Sequence[str]) -> bool:
    """Return whether *cells* are column names: at least two known ones, including an address column."""
    found = {_match_name(cell, None) for cell in cells if len(cell) < _MAX_NAME}
    fields = {match[0] for match in found if match is not None}
    return "email" in fields and len(fields) > 1
