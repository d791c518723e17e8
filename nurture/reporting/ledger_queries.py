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

LedgerKey = tuple[str, str]
"""A source, and the day (UTC, ISO) on which its leads came in."""


class LedgerCounts(NamedTuple):
    """What there is of each source and day: the leads, and their custodians counted in two ways."""

    leads: Mapping[LedgerKey, int]
    custody: Mapping[LedgerKey, Counter[str]]
    journal: Mapping[LedgerKey, Counter[str]]


class DailyChange(NamedTuple):
    """One day's changes: leads that came in, and what each kind of custody won or lost."""

    day: date
    new_leads: int
    custody_changes: Counter[str]


def day_of(database: Database, timestamp: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the UTC day of a moment, as ISO text."""
    if database.is_sqlite:
        return func.substr(timestamp, 1, 10, type_=String)
    return func.to_char(timestamp, "YYYY-MM-DD", type_=String)


def week_of(database: Database, timestamp: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the Monday (UTC, ISO text) of a moment's week."""
    if database.is_sqlite:
        return func.date(func.substr(timestamp, 1, 10), "weekday 0", "-6 days", type_=String)
    return func.to_char(func.date_trunc("week", timestamp), "YYYY-MM-DD", type_=String)


def days_between(database: Database, first: ColumnElement[Any], last: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how many days (UTC) *last* lies after *first*."""
    if database.is_sqlite:
        days = func.julianday(func.substr(last, 1, 10)) - func.julianday(func.substr(first, 1, 10))
        return cast(days, Integer)
    return func.date(last) - func.date(first)


def count_leads(connection: Connection) -> LedgerCounts:
    """Count every lead by source, day and custodian: from custody, and from the journal's changes.

    Both walk through the leads in the order of the index on where they came from, so that nothing is sorted.
    """
    origin = (lead.c.source, lead.c.created_at)
    now = (
        select(*origin, func.count(), *(_count_kind(custody.c.kind, kind) for kind in _KINDS))
        .outerjoin(custody, custody.c.lead_id == lead.c.id)
        .group_by(*origin)
    )
    leads: Counter[LedgerKey] = Counter()
    by_custody: dict[LedgerKey, Counter[str]] = {}
    for source, created_at, number, *numbers in connection.execute(now):
        key = source, f"{created_at:%Y-%m-%d}"
        leads[key] += number
        _add_counts(by_custody.setdefault(key, Counter()), numbers)
    net_changes = (
        _count_kind(journal.c.custody_to, kind) - _count_kind(journal.c.custody_from, kind) for kind in _KINDS
    )
    changes = (
        select(*origin, *net_changes)
        .select_from(lead)
        .join(journal, journal.c.lead_id == lead.c.id)
        .where(journal.c.custody_to.is_not(None))
        .group_by(*origin)
    )
    by_journal: dict[LedgerKey, Counter[str]] = {}
    for source, created_at, *numbers in connection.execute(changes):
        _add_counts(by_journal.setdefault((source, f"{created_at:%Y-%m-%d}"), Counter()), numbers)
    return LedgerCounts(leads, by_custody, by_journal)


_KINDS: Final = tuple(kind.value for kind in Custodian)


def _count_kind(column: ColumnElement[Any], kind: str) -> ColumnElement[int]:
    return func.sum(case((column == kind, 1), else_=0), type_=Integer)


def _add_counts(kinds: Counter[str], numbers: Sequence[int]) -> None:
    for kind, number in zip(_KINDS, numbers, strict=True):
        if number:
            kinds[kind] += number


def daily_changes(database: Database, connection: Connection, before: datetime) -> Iterator[DailyChange]:
    """Yield the changes of each day until *before*, days without any left out, the first one first."""
    created_on = day_of(database, lead.c.created_at)
    new_leads = dict(
        connection.execute(select(created_on, func.count()).where(lead.c.created_at < before).group_by(created_on))
        .tuples()
        .all()
    )
    day = day_of(database, journal.c.at)
    changes = (
        select(day, journal.c.custody_from, journal.c.custody_to, func.count())
        .where(_CHANGES_CUSTODY, journal.c.at < before)
        .group_by(day, journal.c.custody_from, journal.c.custody_to)
    )
    custody_changes: dict[str, Counter[str]] = {}
    for changed_on, source, target, number in connection.execute(changes):
        _move_between(custody_changes.setdefault(changed_on, Counter()), source, target, number)
    for one in sorted({*new_leads, *custody_changes}):
        yield DailyChange(date.fromisoformat(one), new_leads.get(one, 0), custody_changes.get(one, Counter()))


def _move_between(kinds: Counter[str], before: str | None, after: str, number: int) -> None:
    kinds[after] += number
    if before is not None:
        kinds[before] -= number
