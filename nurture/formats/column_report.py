"""Look through a file before it is imported, and tell what was understood: a line per column, and a mapping to edit."""

import dataclasses
import json
import re
import shlex
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice, pairwise
from textwrap import wrap
from typing import Final, NamedTuple

from nurture.domain.plain_text import replace_control_characters
from nurture.formats.cells import clean_cells, is_placeholder, is_plain_address, read_address, read_plain_addresses
from nurture.formats.column_mapping import ColumnMapping
from nurture.formats.columns import CUSTOM, SKIP, explain_system, match_field
from nurture.formats.csv_reader import CsvRows, Evidence
from nurture.formats.lead_row import FIELDS
from nurture.formats.opt_outs import (
    MAX_SHORT,
    SUBSCRIBED,
    UnclearName,
    is_note_refusal,
    is_unread_script,
    may_refuse,
    names_status,
    read_status,
)
from nurture.formats.rejected_rows import BadRow
from nurture.formats.row_plan import IDENTITY, RowPlan, fill
from nurture.formats.status_mapping import LeadStatus

MAX_DISTINCT: Final = 20
"""Distinct values of a column whose values are looked at."""

_VALUES_OF_FLAG: Final = 2
_WITH_REMARKS: Final = frozenset({"last_name", "title", "lead_source"})
"""Fields in whose columns people write that a lead wants no email: "Lima (do not email)"."""

_REMARK: Final = re.compile(r"[^\d@:/]+|[^@/]*[^\W\d_]{2}.*\s.*", re.DOTALL)  # a number, date, address or link is none
_BATCH: Final = 2_000
_MAX_EXAMPLES: Final = 3
_PART: Final = 1 << 15  # hashes that are sorted at a time
_MAX_SHOWN: Final = 4


@dataclass(slots=True)
class ColumnProfile:
    """What is in a column. *values* counts its values, None if there are too many or long ones."""

    column: str
    rows: int = 0
    empty: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)
    values: Counter[str] | None = dataclasses.field(default_factory=Counter)

    def add(self, cells: Sequence[str]) -> None:
        """Add some cells of the column."""
        self.rows += len(cells)
        if self.values is None:
            self.empty += cells.count("")
            return
        counts: Counter[str] = Counter()
        for text, count in Counter(cells).items():  # most columns repeat a few texts
            counts[text.strip()] += count
        self.empty += counts.pop("", 0)
        for text in islice(counts, _MAX_EXAMPLES):
            if len(self.examples) < _MAX_EXAMPLES and text not in self.examples:
                self.examples.append(text)
        self.values.update(counts)
        if len(self.values) > MAX_DISTINCT or any(len(text) > MAX_SHORT for text in counts):
            self.values = None


class Survey(NamedTuple):
    """A profile of each column, and the lines of rows whose address, id or whole content another row has, too.

    *refusing* are columns that become custom fields, and in which the whole text of a cell is a no to email.
    """

    profiles: list[ColumnProfile]
    repeated: set[int]
    refusing: set[int]


def survey(file: CsvRows, plan: RowPlan, evidence: Mapping[int, Evidence]) -> Survey:
    """Read *file* apart from its iteration; add the cells of columns, by index, to their *evidence*.

    Of the identities of rows, only hashes are kept.
    """
    profiles = [ColumnProfile(column) for column in file.header]
    keys, lines = array("q"), array("i")
    texts = {index for index, _ in plan.custom} | {one.index for one in plan.columns if one.field in _WITH_REMARKS}
    names, refusing = {one.index for one in plan.columns if one.field == "last_name"}, set[int]()
    with file.reopen() as reopened:
        readable = (row for row in reopened if not isinstance(row, BadRow))
        while batch := list(islice(readable, _BATCH)):
            numbers, rows = zip(*batch, strict=True)
            columns = list(zip(*rows, strict=True))
            for profile, column in zip(profiles, columns, strict=True):
                profile.add(column)
            for index, found in evidence.items():
                for text in dict.fromkeys(columns[index]):
                    found.add(text)
            refusing |= {index for index in texts - refusing if _has_remark(columns[index], is_name=index in names)}
            for identities in _identities(plan, rows, columns):
                keys.extend([hash(one) for one in identities if one])
                lines.extend(compress(numbers, identities))
    count = 1 + len(keys) // _PART
    sorted_parts = (sorted(key for key in keys if key % count == part) for part in range(count))  # to save memory
    twice = {key for part in sorted_parts for key, following in pairwise(part) if key == following}
    repeated = {line for key, line in zip(keys, lines, strict=True) if key in twice} if twice else set[int]()
    return Survey(profiles, repeated, refusing)


def _has_remark(cells: Sequence[str], *, is_name: bool) -> bool:
    """Return whether a cell, or a part of it, says nothing but that its lead wants no email. A word may be a name."""
    texts = (text for text in set(cells) if _REMARK.fullmatch(text) and (not is_name or " " in text))
    return any(is_note_refusal(text.strip()) for text in texts)


def _identities(
    plan: RowPlan, rows: Sequence[list[str]], columns: Sequence[Sequence[str]]
) -> Iterator[Sequence[str | tuple[str, ...]]]:
    """Yield, for each column of addresses or ids, what it says of each row, "" for nothing; at last rows with none."""
    found: list[Sequence[str | tuple[str, ...]]] = [
        (one.field == "email" and read_plain_addresses(columns[one.index]))
        or [_identity(one.field, text) for text in columns[one.index]]
        for one in plan.columns
        if one.field in IDENTITY
    ]
    found += [
        [_identity(name, fill(parts, cells)) for cells in rows] for name, parts, _ in plan.templates if name in IDENTITY
    ]
    yield from found
    if not any(map(all, found)):
        yield ["" if any(each) else tuple(cells) for each, cells in zip(zip(*found, strict=True), rows, strict=True)]


def _identity(field: str, text: str) -> str:
    if field == "email" and is_plain_address(text):
        return text.lower()
    text = clean_cells([text])[0].strip()
    if not text or is_placeholder(text):
        return ""
    if field != "email":
        return f"id {text}"  # no address has a space
    try:
        return read_address(text)
    except ValueError:
        return ""


def find_unclear(plan: RowPlan, profiles: Sequence[ColumnProfile]) -> list[tuple[int, str, UnclearName]]:
    """Return the columns that look like opt-outs by their name or by their values, and that no mapping explains."""
    unclear = []
    for index, name, kind in plan.unclear:
        profile = profiles[index]
        if profile.empty == profile.rows:
            continue
        if not kind.positive or _has_refusals(profile, kind):
            unclear.append((index, name, kind))
    named = {index for index, _, _ in plan.unclear}
    for index, _ in plan.custom:
        profile = profiles[index]
        if index in named or profile.values is None or names_status(profile.column):
            continue
        is_flag = len(profile.values) <= _VALUES_OF_FLAG and is_unread_script(profile.column)
        if match_field(profile.column, plan.system) is None and (
            is_flag or any(read_status(text, weak=False) for text in profile.values)
        ):
            unclear.append((index, profile.column, UnclearName(by_value=not is_flag)))
    return unclear


def _has_refusals(profile: ColumnProfile, kind: UnclearName) -> bool:
    """Return whether a column of permissions has a no; a column of counts has none."""
    values: Counter[str] = profile.values or Counter()
    is_count = any(text.isdecimal() and int(text) > _VALUES_OF_FLAG for text in values)
    return not is_count and any(may_refuse(text, kind) for text in values)


def describe_unclear(unclear: Sequence[tuple[int, str, UnclearName]], profiles: Sequence[ColumnProfile]) -> str:
    """Return the question about unclear columns, with what to type."""
    lines = []
    for index, name, kind in unclear:
        texts = list(profiles[index].values or profiles[index].examples)
        shown = ", ".join(repr(text[:30]) for text in texts[:_MAX_SHOWN]) + (", ..." if len(texts) > _MAX_SHOWN else "")
        looks_like, target = ("a permission", "subscribed") if kind.positive else ("an opt-out", "opted_out")
        lines.append(
            f"column {name!r} looks like {looks_like} (values: {shown}): map it to `{target}` in a mapping file, "
            f"or skip it with `--skip-column {shlex.quote(name)}`"
        )
    return "; ".join(lines) + ". Nothing was imported"


IGNORED: Final = "ignored"
UNCLEAR: Final = "may be an opt-out: not mapped"
BARE_CONSENT: Final = "consent, only its date or source"
_MAX_EXAMPLE: Final = 30  # characters
_WANTED: Final = (
    ({"consent_basis", SUBSCRIBED}, "consent"),
    ({"country", "zone"}, "country or time zone"),
    ({"owner"}, "owner"),
)


class ColumnUse(NamedTuple):
    """What a column is used for: *field* in words, up to three *examples*, and the number of *empty* cells."""

    column: str
    field: str
    examples: tuple[str, ...]
    empty: int


def describe_columns(header: Sequence[str], plan: RowPlan, profiles: Sequence[ColumnProfile]) -> list[ColumnUse]:
    """Return the use of each column of *header*, in order."""
    uses: defaultdict[int, list[str]] = defaultdict(list)
    for one in plan.columns:
        text = f"{one.field}, topic {one.topic}" if one.topic else one.field
        text += f" ({plan.declared[one.field].type})" if one.field in plan.declared else ""
        if text not in uses[one.index]:
            uses[one.index].append(text)
    for index, name in plan.custom:
        if not uses[index]:
            uses[index].append(f"{name} (own field{'; opt-outs in it count' if names_status(name) else ''})")
    for index, _, _ in plan.unclear:
        uses[index].append(UNCLEAR)
    for name, parts, _ in plan.templates:
        for _, index in parts:
            if index >= 0 and f"{name} (template)" not in uses[index]:
                uses[index].append(f"{name} (template)")
    return [
        ColumnUse(
            column,
            " + ".join(uses[index]) or IGNORED,
            tuple(_shorten(text) for text in profiles[index].examples),
            profiles[index].empty,
        )
        for index, column in enumerate(header)
    ]


def _shorten(text: str) -> str:
    plain = " ".join(replace_control_characters(text).split())
    return plain if len(plain) <= _MAX_EXAMPLE else f"{plain[: _MAX_EXAMPLE - 1]}…"


def describe_system(header: Sequence[str], plan: RowPlan, mapping: ColumnMapping) -> str:
    """Return which system the file comes from, and why that is believed."""
    if plan.system is None:
        found = "not recognized: no system's own column names are certain"
    else:
        found = f"{plan.system}, by its columns {', '.join(explain_system(header, plan.system))}"
    return f"{found}; named {mapping.source}" if mapping.source else found


def find_missing(plan: RowPlan) -> list[str]:
    """Return what no column and no constant gives: consent, country or time zone, owner.

    A date or a source of consent without a yes is reported as such.
    """
    given = {one.field for one in plan.columns} | plan.constants.keys() | {name for name, _, _ in plan.templates}
    missing = [name for fields, name in _WANTED if not fields & given]
    has_details = bool(given & {"consent_at", "consent_source"})
    return [BARE_CONSENT if name == "consent" and has_details else name for name in missing]


def describe_statuses(unknown: Mapping[str, int]) -> str:
    """Return the unknown status words as a section of a mapping file, the most frequent first; "" without any."""
    if not unknown:
        return ""
    lines = [f"statuses:  # {', '.join(LeadStatus)}"]
    for text, count in sorted(unknown.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"  {_quote(text)}: open  # {count:,}")
    return "\n".join(lines)


def describe_mapping(uses: Sequence[ColumnUse], plan: RowPlan, system: str, unknown_statuses: Mapping[str, int]) -> str:
    """Return a commented mapping file that says what the import understood by itself, for editing."""
    bound = {one.column: one.field for one in plan.columns}
    unclear = {name: kind for _, name, kind in plan.unclear}
    lines = [
        "# What the import understands of this file. Edit it, and import with --mapping.",
        f"# System: {system}.",
        f"# source: {plan.system or 'my-list'}  # the system that made the ids of the file",
        "",
        f"# A column may become a field, {CUSTOM} (an own field) or {SKIP} (ignored). Fields:",
        *wrap(", ".join((*FIELDS, SUBSCRIBED)), 111, initial_indent="#   ", subsequent_indent="#   "),
        "# Opt-outs are added to those that are recognized; only skip drops one. A column can say more:",
        "#   Code: {field: opted_out, values: {A: yes, B: no, date: yes}}",
        "#   Send mail: {field: opted_out, inverse: true}",
        "columns:",
    ]
    seen = set()
    for one in uses:
        if one.column in seen or not one.column:
            continue
        seen.add(one.column)
        target = bound.get(one.column) or (CUSTOM if one.field != IGNORED else SKIP)
        shown = "; ".join(one.examples) or "empty"
        if one.column in unclear:
            target = SUBSCRIBED if unclear[one.column].positive else "opted_out"
            lines.append("  # This column looks like an opt-out: keep the line, or write skip.")
        comment = "# " if target not in (*FIELDS, *plan.declared, SUBSCRIBED, CUSTOM, SKIP) else ""
        lines.append(f"  {comment}{_quote(one.column)}: {target}  # {shown}")
    lines += ["", "# The same value for all rows, such as", "# constants: {consent_basis: legitimate_interest}"]
    lines += ['# formats: {created_at: "%d/%m/%Y"}', "# time_zone: Europe/Berlin"]
    if statuses := describe_statuses(unknown_statuses):
        lines += ["", statuses]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """Return *text* as a YAML scalar in double quotes, which is also one of JSON."""
    return json.dumps(text, ensure_ascii=False)
