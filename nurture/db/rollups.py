"""Keep the daily counts, counts of leads and stage intervals: add to them with the facts, count again, compare.

A transaction adds all that it counted in one step at its end: to each table once, in the order of keys. Then it waits
for no other lock, so no deadlock occurs, and it holds these rows only while it commits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Date,
    FromClause,
    Integer,
    Select,
    String,
    Table,
    case,
    cast,
    delete,
    func,
    literal_column,
    select,
    text,
    true,
)

from nurture.db.tables.delivery import message
from nurture.db.tables.installation import clock
from nurture.db.tables.leads import custody, journal, lead
from nurture.db.tables.rollups import daily_count, lead_count, stage_interval
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction

SENT: Final = "sent"
"""The measure of touches that the provider accepted, by the day of that."""

SIGNAL: Final = "signal "
"""Before the kind: the measure of human signals that were applied, by the day on which they occurred."""

WAY: Final = "way "
"""Before the number, from 0: the measure of leads that took this way at a fork. It is kept without a version."""

_RECORDED, _APPLIED = "signal", "applied"
"""The stages between which a signal waits for its effect."""

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
LENGTHS: Final = (
    *(0, 15, 30),
    *(count * _MINUTE for count in (1, 2, 5, 10, 15, 30)),
    *(count * _HOUR for count in (1, 2, 4, 8, 12)),
    *(count * _DAY for count in (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 182, 273, 365, 547, 730, 1_095)),
)
"""The lower bounds of the classes of lengths, in seconds."""

_SHARDS: Final = 8


class JournalFact(NamedTuple):
    """What is counted of an entry of the journal."""

    lead_id: int
    at: datetime
    track: str | None
    track_version: int | None
    step: str | None
    event: str


class Stay(NamedTuple):
    """A stay with a custodian that ended."""

    stage: str
    next_stage: str
    entered_at: datetime
    left_at: datetime


class SentChange(NamedTuple):
    """A message that was accepted at a time (*n* is 1), or was not after all (-1)."""

    message_id: int
    at: datetime
    n: int


def count_entries(tx: Transaction, entries: Sequence[tuple[Any, ...]], sources: Mapping[int, str]) -> None:
    """Count entries of the journal, each as the values of `JournalFact`; *sources* that are missing are looked up."""
    if entries:
        tx.at_commit(_add_all, [_Entries(entries, sources)], last=True)


class AppliedSignal(NamedTuple):
    """A signal that has its effect now."""

    lead_id: int
    kind: str
    verdict: str
    occurred_at: datetime
    recorded_at: datetime


def count_applied(tx: Transaction, signals: Sequence[AppliedSignal], sources: Mapping[int, str], now: datetime) -> None:
    """Count signals that are applied at *now*: the human ones by kind, and how long each has waited."""
    human = [(one.lead_id, one.occurred_at, one.kind) for one in signals if one.verdict == "human"]
    count_human(tx, human, sources)
    count_stays(tx, [Stay(_RECORDED, _APPLIED, one.recorded_at, now) for one in signals])


def count_human(
    tx: Transaction, signals: Sequence[tuple[int, datetime, str]], sources: Mapping[int, str], n: int = 1
) -> None:
    """Count applied signals (lead id, time, kind) that are human, or with *n* -1 are not human after all."""
    if signals:
        entries = [(lead_id, at, None, None, None, SIGNAL + kind) for lead_id, at, kind in signals]
        tx.at_commit(_add_all, [_Entries(entries, sources, n)], last=True)


def count_stays(tx: Transaction, stays: Sequence[Stay]) -> None:
    """Count stays that ended."""
    if stays:
        tx.at_commit(_add_all, stays, last=True)


def count_sent(tx: Transaction, changes: Sequence[SentChange]) -> None:
    """Count messages that were accepted; those that are no touches do not count."""
    if changes:
        tx.at_commit(_add_all, changes, last=True)


def count_leads(tx: Transaction, lines: Sequence[tuple[datetime, str, str, str, str, int]]) -> None:
    """Count leads by first contact, source, readiness rule, custodian and its name; the last value is how many more."""
    if lines:
        tx.at_commit(_add_all, [_LeadLines(lines)], last=True)


def length_class(entered_at: datetime, left_at: datetime) -> tuple[int, int]:
    """Return the class of a length, and the length in seconds. A clock that went back counts as 0."""
    seconds = max(int(left_at.timestamp()) - int(entered_at.timestamp()), 0)
    return LENGTHS[bisect_right(LENGTHS, seconds) - 1], seconds


def _nothing() -> None:
    """Do nothing after the commit."""


class _Entries(NamedTuple):
    """Entries, each as the values of `JournalFact`, the sources of leads that are known, and what each counts."""

    entries: Sequence[tuple[Any, ...]]
    sources: Mapping[int, str]
    n: int = 1


class _LeadLines(NamedTuple):
    """Lines as `count_leads` takes them."""

    lines: Sequence[tuple[datetime, str, str, str, str, int]]


def _add_all(tx: Transaction, items: Sequence[_Entries | Stay | SentChange | _LeadLines]) -> Callable[[], None]:
    """Add whatever was counted to each table once: two statements on one table would lock its keys in no order."""
    daily = _count_entries(tx, [one for one in items if isinstance(one, _Entries)])
    daily.update(_count_sent(tx, [one for one in items if isinstance(one, SentChange)]))
    _add(tx, daily_count, {key: (number,) for key, number in daily.items()})
    leads = _count_leads([one for one in items if isinstance(one, _LeadLines)])
    _add(tx, lead_count, {key: (number,) for key, number in leads.items()})
    _add(tx, stage_interval, _count_stays([one for one in items if isinstance(one, Stay)]))
    return _nothing


def _count_entries(tx: Transaction, batches: Sequence[_Entries]) -> Counter[tuple[Any, ...]]:
    known: dict[int, str] = {}
    for one in batches:
        known.update(one.sources)
    entries = [entry for one in batches for entry in one.entries]
    if missing := {entry[0] for entry in entries} - known.keys():
        known.update(dict(tx.execute_for(_sources_query, sorted(missing)).tuples().all()))
    found = Counter[tuple[Any, ...]]()
    for one in batches:
        counted = Counter((known.get(lead_id, ""), *fact) for lead_id, *fact in one.entries)
        (found.update if one.n > 0 else found.subtract)(counted)
    days = {key[1]: _day(key[1]) for key in found}
    counts = Counter[tuple[Any, ...]]()
    for (source, at, track, version, step, event), number in found.items():
        counts[days[at], track or "", version or 0, step or "", source, event] += number
    return counts


def _sources_query(chosen: FromClause) -> Select[tuple[int, str]]:
    return select(lead.c.id, lead.c.source).join(chosen, chosen.c.id == lead.c.id)


def _count_leads(batches: Sequence[_LeadLines]) -> Counter[tuple[Any, ...]]:
    counts = Counter[tuple[Any, ...]]()
    for one in batches:
        for at, source, readiness, kind, ref, n in one.lines:
            counts[_day(at), source, readiness, kind, ref if kind == "queue" else ""] += n
    return counts


def _count_stays(stays: Sequence[Stay]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    counts: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for stay in stays:
        length, seconds = length_class(stay.entered_at, stay.left_at)
        key = (_day(stay.left_at), stay.stage, stay.next_stage, length)
        n, total = counts.get(key, (0, 0))
        counts[key] = (n + 1, total + seconds)
    return counts


def _count_sent(tx: Transaction, changes: Sequence[SentChange]) -> dict[tuple[Any, ...], int]:
    if not changes:
        return {}
    new = tx.rows(
        "new",
        {"id": message.c.id.type, "day": Date(), "n": Integer()},
        [(one.message_id, _day(one.at), one.n) for one in changes],
    )
    place = (new.c.day, *_place(message), lead.c.source)
    query = (
        select(*place, func.sum(new.c.n))
        .join(message, message.c.id == new.c.id)
        .join(lead, lead.c.id == message.c.lead_id)
        .where(message.c.kind == "touch")
        .group_by(*place)
    )
    return {(*key, SENT): int(number) for *key, number in tx.execute(query)}


def _place(of: Table) -> tuple[ColumnElement[Any], ...]:
    return (
        func.coalesce(of.c.track, text("''"), type_=String),
        func.coalesce(of.c.track_version, text("0"), type_=Integer),
        func.coalesce(of.c.step, text("''"), type_=String),
    )


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _add(tx: Transaction, to: Table, counts: Mapping[tuple[Any, ...], Iterable[int]]) -> None:
    """Add numbers to the rows of *to*, by their key without the shard, with one statement."""
    names = tuple(column.name for column in to.c)
    shard = tx.worker_number % _SHARDS
    rows = [(*key, shard, *numbers) for key, numbers in sorted(counts.items()) if any(numbers)]
    tx.insert(to, names, rows, adds=True)


class RollupDifference(NamedTuple):
    """A table of counts, and how many of its rows are not what the facts say."""

    table: str
    rows: int


def recount(tx: Transaction) -> list[RollupDifference]:
    """Count all facts again, correct the counts that differ, and return how many did. Needs a write transaction.

    Workers wait at the end of their transactions until this one ends. Days of which a cleanup deleted entries of the
    journal keep their counts.
    """
    if not tx.is_sqlite:
        tx.execute(text("LOCK TABLE daily_count, lead_count, stage_interval IN EXCLUSIVE MODE"))
    since = tx.execute(select(clock.c.journal_since)).scalar()
    first_day = date.min if since is None else _day(since)
    return [
        _correct(tx, daily_count, _daily_facts(tx), first_day),
        _correct(tx, lead_count, _lead_facts(tx)),
        _correct(tx, stage_interval, _interval_facts(tx)),
    ]


def _correct(
    tx: Transaction, stored: Table, facts: Select[Any] | CompoundSelect[Any], first_day: date = date.min
) -> RollupDifference:
    """Correct the rows of *stored* from *first_day* on."""
    keys = [column for column in stored.primary_key if column.name != "shard"]
    numbers = [column for column in stored.c if not column.primary_key]
    sums = select(*keys, *(func.sum(one).label(one.name) for one in numbers)).group_by(*keys)
    right, kept = (
        {tuple(row[: len(keys)]): tuple(map(int, row[len(keys) :])) for row in tx.execute(query) if row[0] >= first_day}
        for query in (facts, sums.where(stored.c.day >= first_day))
    )
    nothing = (0,) * len(numbers)
    count = sum(right.get(key, nothing) != kept.get(key, nothing) for key in right.keys() | kept.keys())
    if count:
        tx.execute(delete(stored).where(stored.c.day >= first_day))
        names = tuple(column.name for column in stored.c)
        tx.insert(stored, names, [(*key, 0, *found) for key, found in sorted(right.items())])
    return RollupDifference(stored.name, count)


def utc_day(tx: Transaction, at: ColumnElement[Any]) -> ColumnElement[date]:
    """Return the day (UTC) of a timestamp."""
    if tx.is_sqlite:
        return func.substr(at, text("1"), text("10"), type_=Date)
    return cast(func.timezone(text("'UTC'"), at), Date)


def epoch(tx: Transaction, at: ColumnElement[Any]) -> ColumnElement[int]:
    """Return a timestamp in whole seconds since 1970."""
    if tx.is_sqlite:
        return cast(func.unixepoch(at), Integer)
    return cast(func.floor(func.date_part(text("'epoch'"), at)), BigInteger)


def _daily_facts(tx: Transaction) -> CompoundSelect[Any]:
    entries = (utc_day(tx, journal.c.at), *_place(journal), lead.c.source, journal.c.event)
    counted = select(*entries, func.count()).join(lead, lead.c.id == journal.c.lead_id).group_by(*entries)
    touches = (utc_day(tx, message.c.accepted_at), *_place(message), lead.c.source)
    sent = (
        select(*touches, text(f"'{SENT}'"), func.count())
        .select_from(message)
        .join(lead, lead.c.id == message.c.lead_id)
        .where(message.c.kind == "touch", message.c.accepted_at.is_not(None))
        .group_by(*touches)
    )
    applied = (utc_day(tx, signal.c.occurred_at), lead.c.source, signal.c.kind)
    signals = (
        select(
            applied[0], text("''"), text("0"), text("''"), applied[1], text(f"'{SIGNAL}' || signal.kind"), func.count()
        )
        .select_from(signal)
        .join(lead, lead.c.id == signal.c.lead_id)
        .where(signal.c.verdict == "human", signal.c.applied_at.is_not(None))
        .group_by(*applied)
    )
    return counted.union_all(sent, signals, _way_facts(tx))


def _way_facts(tx: Transaction) -> Select[Any]:
    """Return the ways that leads took, of each entry of the journal that names some: track, step and number."""
    if tx.is_sqlite:
        ways = func.json_each(journal.c.detail, text("'$.ways'")).table_valued("value")
        track, step, number = (func.json_extract(ways.c.value, text(at)) for at in ("'$[0]'", "'$[1]'", "'$[2]'"))
    else:
        named = func.jsonb_extract_path(journal.c.detail, text("'ways'"))
        ways = func.jsonb_array_elements(named).table_valued("value").render_derived()
        track, step, number = (func.jsonb_extract_path_text(ways.c.value, text(at)) for at in ("'0'", "'1'", "'2'"))
    key = (utc_day(tx, journal.c.at), track, text("0"), step, lead.c.source)
    measure = literal_column(f"'{WAY}'", String()).concat(number)
    return (
        select(*key, measure, func.count())
        .select_from(journal)
        .join(ways, true())
        .join(lead, lead.c.id == journal.c.lead_id)
        .group_by(key[0], track, step, lead.c.source, measure)
    )


def _lead_facts(tx: Transaction) -> Select[Any]:
    queue = case((custody.c.kind == text("'queue'"), custody.c.ref), else_=text("''"))
    key = (utc_day(tx, lead.c.first_contact_at), lead.c.source, lead.c.readiness, custody.c.kind, queue)
    return select(*key, func.count()).join(custody, custody.c.lead_id == lead.c.id).group_by(*key)


def _interval_facts(tx: Transaction) -> Select[Any]:
    before = func.lag(journal.c.at, type_=journal.c.at.type).over(partition_by=journal.c.lead_id, order_by=journal.c.id)
    moves = (
        select(journal.c.at, journal.c.custody_from, journal.c.custody_to, before.label("entered_at"))
        .where(journal.c.custody_to.is_not(None))
        .subquery()
    )
    both = (
        select(
            moves.c.at,
            moves.c.entered_at,
            moves.c.custody_from.label("stage"),
            moves.c.custody_to.label("next_stage"),
        )
        .where(moves.c.custody_from.is_not(None), moves.c.entered_at.is_not(None))
        .union_all(
            select(
                signal.c.applied_at,
                signal.c.recorded_at,
                literal_column(f"'{_RECORDED}'", String()),
                literal_column(f"'{_APPLIED}'", String()),
            ).where(signal.c.applied_at.is_not(None))
        )
        .subquery()
    )
    seconds = epoch(tx, both.c.at) - epoch(tx, both.c.entered_at)
    lasted = case((seconds > text("0"), seconds), else_=text("0"))
    stays = select(
        utc_day(tx, both.c.at).label("day"),
        both.c.stage,
        both.c.next_stage,
        lasted.label("seconds"),
    ).subquery()
    length = case(
        *((stays.c.seconds >= text(str(bound)), text(str(bound))) for bound in reversed(LENGTHS)), else_=text("0")
    )
    key = (stays.c.day, stays.c.stage, stays.c.next_stage, length)
    return select(*key, func.count(), func.sum(stays.c.seconds)).group_by(*key)
