"""The ledger: how many leads came in, and who keeps them, counted from custody and again from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, String, Table, case, cast, func, select

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.domain.lead import Custodian

custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]

# Asked so, no index helps, and the journal is read in its own order. Through the index on custody_to it took
# ten times as long with 1,000,000 leads: one random read a line.
_CHANGES_CUSTODY: Final = func.coalesce(journal.c.custody_to, "") != ""

Key = tuple[str, str]
"""A source, and the day (UTC, ISO) on which its leads came in."""


class Counted(NamedTuple):
    """What there is of each source and day: the leads, and their custodians counted in two ways."""

    leads: Mapping[Key, int]
    custody: Mapping[Key, Counter[str]]
    journal: Mapping[Key, Counter[str]]


class Day(NamedTuple):
    """One day's changes: leads that came in, and what each kind of custody won or lost."""

    day: date
    leads: int
    kinds: Counter[str]


def day_of(database: Database, moment: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the UTC day of a moment, as ISO text."""
    if database.is_sqlite:
        return func.substr(moment, 1, 10, type_=String)
    return func.to_char(moment, "YYYY-MM-DD", type_=String)


def week_of(database: Database, moment: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the Monday (UTC, ISO text) of a moment's week."""
    if database.is_sqlite:
        return func.date(func.substr(moment, 1, 10), "weekday 0", "-6 days", type_=String)
    return func.to_char(func.date_trunc("week", moment), "YYYY-MM-DD", type_=String)


def days_between(
    database: Database, first: ColumnElement[Any], last: ColumnElement[Any]
) -> ColumnElement[int]:
    """Return how many days (UTC) *last* lies after *first*."""
    if database.is_sqlite:
        days = func.julianday(func.substr(last, 1, 10)) - func.julianday(func.substr(first, 1, 10))
        return cast(days, Integer)
    return func.date(last) - func.date(first)


def count(connection: Connection) -> Counted:
    """Count every lead by source, day and custodian: from custody, and from the journal's changes.

    Both walk through the leads in the order of the index on where they came from, so that nothing is sorted.
    """
    came = (lead.c.source, lead.c.created_at)
    now = (
        select(*came, func.count(), *(_sum(custody.c.kind, kind) for kind in _KINDS))
        .outerjoin(custody, custody.c.lead_id == lead.c.id)
        .group_by(*came)
    )
    leads: Counter[Key] = Counter()
    kept: dict[Key, Counter[str]] = {}
    for source, came_at, number, *numbers in connection.execute(now):
        key = source, f"{came_at:%Y-%m-%d}"
        leads[key] += number
        _add(kept.setdefault(key, Counter()), numbers)
    passed = (_sum(journal.c.custody_to, kind) - _sum(journal.c.custody_from, kind) for kind in _KINDS)
    changes = (
        select(*came, *passed)
        .select_from(lead)
        .join(journal, journal.c.lead_id == lead.c.id)
        .where(journal.c.custody_to.is_not(None))
        .group_by(*came)
    )
    told: dict[Key, Counter[str]] = {}
    for source, came_at, *numbers in connection.execute(changes):
        _add(told.setdefault((source, f"{came_at:%Y-%m-%d}"), Counter()), numbers)
    return Counted(leads, kept, told)


_KINDS: Final = tuple(kind.value for kind in Custodian)


def _sum(column: ColumnElement[Any], kind: str) -> ColumnElement[int]:
    return func.sum(case((column == kind, 1), else_=0), type_=Integer)


def _add(kinds: Counter[str], numbers: Sequence[int]) -> None:
    for kind, number in zip(_KINDS, numbers, strict=True):
        if number:
            kinds[kind] += number


def days(database: Database, connection: Connection, before: datetime) -> Iterator[Day]:
    """Yield the changes of each day until *before*, days without any left out, the first one first."""
    came_on = day_of(database, lead.c.created_at)
    came = dict(
        connection.execute(select(came_on, func.count()).where(lead.c.created_at < before).group_by(came_on))
        .tuples()
        .all()
    )
    day = day_of(database, journal.c.at)
    changes = (
        select(day, journal.c.custody_from, journal.c.custody_to, func.count())
        .where(_CHANGES_CUSTODY, journal.c.at < before)
        .group_by(day, journal.c.custody_from, journal.c.custody_to)
    )
    passed: dict[str, Counter[str]] = {}
    for changed_on, source, target, number in connection.execute(changes):
        _pass_on(passed.setdefault(changed_on, Counter()), source, target, number)
    for one in sorted({*came, *passed}):
        yield Day(date.fromisoformat(one), came.get(one, 0), passed.get(one, Counter()))


def _pass_on(kinds: Counter[str], before: str | None, after: str, number: int) -> None:
    kinds[after] += number
    if before is not None:
        kinds[before] -= number
