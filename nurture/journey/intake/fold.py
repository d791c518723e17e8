"""Fold the rows of a file that stand for the same person into one row, before it is compared with known leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from nurture.formats.lead_file import LeadFile
from nurture.formats.lead_row import LeadRow
from nurture.formats.rejected_rows import BadRow
from nurture.formats.status_mapping import most_restrictive
from nurture.journey.intake.interpret import IdentityKey, identity_key, names_other_person, row_content

_LAST_VALUE: Final = [one.name for one in fields(LeadRow) if one.name not in ("line", "source", "custom", "parts")]
_ANY_TRUE: Final = (
    "customer", "consent_withdrawn", "opted_out", "undeliverable", "complained", "deleted", "attended",
    "demo_requested",
)  # fmt: skip


def fold_rows(rows: Sequence[LeadRow]) -> LeadRow:
    """Return one row for the rows of one person, which are its `parts`.

    The last value of a field counts, any yes of a flag, the status that restricts mail most with its owner, and the
    sum of the minutes that different rows of one event have.
    """
    if len(rows) == 1:
        return rows[0]
    last = rows[-1]
    values: dict[str, Any] = {"custom": {name: text for row in rows for name, text in row.custom.items()}}
    for name in _LAST_VALUE:
        values[name] = next((one for row in reversed(rows) if (one := getattr(row, name)) not in (None, ())), None)
    for name in _ANY_TRUE:
        values[name] = any(getattr(row, name) for row in rows) or values[name]
    for name in ("opted_out_topics", "other_addresses"):
        values[name] = tuple(dict.fromkeys(one for row in rows for one in getattr(row, name) or ()))
    values["created_at"] = min((row.created_at for row in rows if row.created_at), default=None)
    status = most_restrictive(row.status for row in rows if row.status)
    decisive = next((row for row in reversed(rows) if row.status is status), last)
    values |= {"status": status, "status_text": decisive.status_text or values["status_text"]}
    values["owner"] = decisive.owner or values["owner"]
    answer = next((row for row in reversed(rows) if row.purchase_timeframe), last)
    values["timeframe"] = answer.timeframe
    minutes = [row for row in {row_content(row): row for row in rows}.values() if row.minutes_attended is not None]
    if minutes:
        event = minutes[-1].registered_at
        values["minutes_attended"] = sum(row.minutes_attended or 0 for row in minutes if row.registered_at == event)
    if values["consent_withdrawn"]:
        values["consent_basis"] = None
    return replace(last, source=rows[0].source, parts=tuple(rows), **values)


def count_verdicts(row: LeadRow, verdict: str) -> Counter[str]:
    """Return the verdicts on the rows of a person: copies are unchanged, and a new lead is new once."""
    if not row.parts:
        return Counter([verdict])
    different = len({row_content(part) for part in row.parts})
    found = Counter({"unchanged": len(row.parts) - different})
    if verdict == "new":
        return found + Counter(new=1, updated=different - 1)
    return found + Counter({verdict: different})


@dataclass(slots=True, eq=False)
class _Person:
    rows: list[LeadRow]
    email: str | None
    merged_into: _Person | None = None


def fold_people(rows: Iterable[LeadRow]) -> list[LeadRow]:
    """Return the folded rows in the order in which each person appears first.

    Rows are of one person if they have the same address, or the same id and no other address or name.
    """
    people: list[_Person] = []
    by_email: dict[str, _Person] = {}
    by_key: dict[IdentityKey, _Person] = {}
    for row in rows:
        key = identity_key(row)
        same_id = _current(by_key.get(key)) if key is not None else None
        person = _current(by_email.get(row.email)) if row.email else None
        if same_id is not None and same_id is not person and not _may_be_same(same_id, row):
            if same_id.email and row.email and same_id.email != row.email:
                row = replace(row, shares_id=True)  # noqa: PLW2901 - the row as the person has it
            same_id = None
        if person is not None and same_id is not None and same_id is not person:
            person.rows += same_id.rows  # rows without address, of the person that has their id and one
            same_id.merged_into = person
        person = person or same_id
        if person is None:
            person = _Person([], None)
            people.append(person)
        person.rows.append(row)
        person.email = person.email or row.email
        if row.email:
            by_email[row.email] = person
        if key is not None:
            by_key.setdefault(key, person)
    folded = [fold_rows(sorted(one.rows, key=lambda row: row.line)) for one in people if one.merged_into is None]
    return sorted(folded, key=lambda row: row.parts[0].line if row.parts else row.line)


def _current(person: _Person | None) -> _Person | None:
    while person is not None and person.merged_into is not None:
        person = person.merged_into
    return person


def _may_be_same(person: _Person, row: LeadRow) -> bool:
    if person.email and row.email and person.email != row.email:
        return False
    return not any(names_other_person(row, _names(one), same_address=True) for one in person.rows)


def _names(row: LeadRow) -> dict[str, str | None]:
    return {"first_name": row.first_name, "last_name": row.last_name}


def fold_file(file: LeadFile) -> Iterator[LeadRow | BadRow]:
    """Yield the rows of *file*, each person folded where it appears first.

    Only rows of people who appear twice are kept in memory.
    """
    people = [row for row in fold_people(file.read_repeated()) if row.parts or row.shares_id]
    folded = {row.parts[0].line if row.parts else row.line: row for row in people}
    if not folded:
        yield from file
        return
    later = {part.line for row in folded.values() for part in row.parts or ()} - folded.keys()
    for row in file:
        if isinstance(row, BadRow) or row.line not in later:
            yield folded.get(row.line, row) if isinstance(row, LeadRow) else row
