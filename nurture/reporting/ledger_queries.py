"""The ledger: leads by source and day, and their custodians counted from custody and from the journal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Integer, String, case, cast, func, select

from nurture.db.tables.leads import custody as custody_table
from nurture.db.tables.leads import journal as journal_table
from nurture.db.tables.leads import lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian

LedgerKey = tuple[str, str]
"""A source, and the day (UTC, ISO text) on which its leads were created."""


class LedgerCounts(NamedTuple):
    """Leads of each source and day, and their custodians counted in two ways."""

    leads: Mapping[LedgerKey, int]
    custody: Mapping[LedgerKey, Counter[str]]
    journal: Mapping[LedgerKey, Counter[str]]


def week_of(tx: Transaction, timestamp: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the Monday (UTC, ISO text) of the week of *timestamp*."""
    if tx.is_sqlite:
        return func.date(func.substr(timestamp, 1, 10), "weekday 0", "-6 days", type_=String)
    return func.to_char(func.date_trunc("week", timestamp), "YYYY-MM-DD", type_=String)


def hour_of(tx: Transaction, timestamp: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the clock hour (UTC, ISO text) of *timestamp*."""
    if tx.is_sqlite:
        return func.substr(timestamp, 1, 13, type_=String)
    return func.to_char(timestamp, 'YYYY-MM-DD"T"HH24', type_=String)


def days_between(tx: Transaction, first: ColumnElement[Any], last: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the number of days (UTC) from *first* to *last*."""
    if tx.is_sqlite:
        days = func.julianday(func.substr(last, 1, 10)) - func.julianday(func.substr(first, 1, 10))
        return cast(days, Integer)
    return func.date(last) - func.date(first)


def count_leads(tx: Transaction) -> LedgerCounts:
    """Count every lead by source, day and custodian, from custody and from the journal.

    Both statements group by the index on (source, created_at), so that nothing is sorted.
    """
    origin = (lead.c.source, lead.c.created_at)
    now = (
        select(*origin, func.count(), *(_count_kind(custody_table.c.kind, kind) for kind in _KINDS))
        .outerjoin(custody_table, custody_table.c.lead_id == lead.c.id)
        .group_by(*origin)
    )
    leads: Counter[LedgerKey] = Counter()
    by_custody: dict[LedgerKey, Counter[str]] = {}
    for source, created_at, number, *numbers in tx.execute(now):
        key = source, f"{created_at:%Y-%m-%d}"
        leads[key] += number
        _add_counts(by_custody.setdefault(key, Counter()), numbers)
    net_changes = (
        _count_kind(journal_table.c.custody_to, kind) - _count_kind(journal_table.c.custody_from, kind)
        for kind in _KINDS
    )
    changes = (
        select(*origin, *net_changes)
        .select_from(lead)
        .join(journal_table, journal_table.c.lead_id == lead.c.id)
        .where(journal_table.c.custody_to.is_not(None))
        .group_by(*origin)
    )
    by_journal: dict[LedgerKey, Counter[str]] = {}
    for source, created_at, *numbers in tx.execute(changes):
        _add_counts(by_journal.setdefault((source, f"{created_at:%Y-%m-%d}"), Counter()), numbers)
    return LedgerCounts(leads, by_custody, by_journal)


_KINDS: Final = tuple(kind.value for kind in Custodian)


def _count_kind(column: ColumnElement[Any], kind: str) -> ColumnElement[int]:
    return func.sum(case((column == kind, 1), else_=0), type_=Integer)


def _add_counts(kinds: Counter[str], numbers: Sequence[int]) -> None:
    for kind, number in zip(_KINDS, numbers, strict=True):
        if number:
            kinds[kind] += number
