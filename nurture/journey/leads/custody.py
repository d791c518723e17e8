"""Lock leads, and write their custody and journal: who is responsible, what happens next and when, and why.

All writers lock leads in one order. Entries of the journal are never changed.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, FromClause, Select, Update, and_, func, select, update

from nurture.db import lead_counts, rollups
from nurture.db.row_values import column_types
from nurture.db.tables.leads import custody, journal
from nurture.db.transaction import Transaction
from nurture.journey.leads.queries import filter_existing


def lock_leads(tx: Transaction, lead_ids: Iterable[int]) -> None:
    """Lock these leads until the transaction ends.

    Locks are taken in the order of ids and before any other lock on these leads, which prevents deadlocks. Read the
    leads in a later statement: a statement that waited for the lock may not see what its holder wrote.
    """
    if tx.skips_locked:
        chosen = tx.ids("chosen", sorted(set(lead_ids)))
        statement = select(custody.c.lead_id).join(chosen, chosen.c.id == custody.c.lead_id)
        tx.execute(statement.order_by(custody.c.lead_id).with_for_update(of=custody))


def lock_existing_leads(tx: Transaction, lead_ids: Iterable[int]) -> set[int]:
    """Lock leads as `lock_leads` does; return those that are not erased."""
    unique_ids = set(lead_ids)
    if unique_ids:
        lock_leads(tx, unique_ids)
    return filter_existing(tx, unique_ids)


def lock_open_leads(tx: Transaction) -> None:
    """Lock every lead that is not closed, for writers that change leads in several statements."""
    if tx.skips_locked:
        statement = select(custody.c.lead_id).where(custody.c.kind != "closed")
        tx.execute(statement.order_by(custody.c.lead_id).with_for_update())


class CustodyUpdate(NamedTuple):
    """The new custody of a lead. *since* None keeps the stored time, because the custodian does not change."""

    lead_id: int
    version: int
    kind: str
    ref: str
    since: datetime | None
    next_action: str
    due_at: datetime | None


def write_custody(tx: Transaction, rows: Sequence[CustodyUpdate]) -> set[int]:
    """Write *rows* whose version is still the stored one; return their leads.

    A lead that another worker moved meanwhile keeps what that worker wrote.
    """
    if not rows:
        return set()
    leaving = {row.lead_id: row for row in rows if row.since is not None}
    before = lead_counts.load_counted(tx, leaving)
    values = {"payload": tx.payload(_UPDATED, rows)}
    statement, unmoved = tx.cached(write_custody, lambda: _custody_statements(tx))
    if tx.is_sqlite:  # it has a single writer, and the ids as one JSON row take a fifth of the time of a row for each
        written = set(orjson.loads(tx.execute(unmoved, values).scalar_one()))
        tx.execute(statement, values)
    else:
        written = set(tx.execute(statement.returning(custody.c.lead_id), values).scalars().all())
    changes = [
        (old, old._replace(kind=leaving[id_].kind, ref=leaving[id_].ref))
        for id_, old in before.items()
        if id_ in written
    ]
    lead_counts.count_changes(tx, changes)
    return written


_UPDATED: Final = column_types(custody, CustodyUpdate._fields)


def _custody_statements(tx: Transaction) -> tuple[Update, Select[tuple[str]]]:
    """Return the update of leads whose version is still the stored one, and a query for their ids on SQLite."""
    moved = tx.rows_parameter("moved", _UPDATED)
    is_unmoved = (custody.c.lead_id == moved.c.lead_id, custody.c.version == moved.c.version)
    statement = (
        update(custody)
        .where(*is_unmoved)
        .values(
            kind=moved.c.kind,
            ref=moved.c.ref,
            since=func.coalesce(moved.c.since, custody.c.since),
            next_action=moved.c.next_action,
            due_at=moved.c.due_at,
            version=custody.c.version + 1,
        )
    )
    return statement, select(func.json_group_array(custody.c.lead_id)).where(*is_unmoved)


def bring_forward(
    tx: Transaction, at: datetime, where: ColumnElement[bool], lead_ids: Collection[int] | None = None
) -> None:
    """Make leads due at *at* that would be due later: those for which *where* holds, or those of them in *lead_ids*."""
    later = and_(where, custody.c.due_at > at)
    if lead_ids is not None:
        if not lead_ids:
            return
        later = and_(later, custody.c.lead_id == tx.ids("chosen", sorted(set(lead_ids))).c.id)
    elif tx.skips_locked:
        # In the order of ids, like every lock on leads: prevents deadlocks.
        tx.execute(select(custody.c.lead_id).where(later).order_by(custody.c.lead_id).with_for_update())
    tx.execute(update(custody).where(later).values(due_at=at, version=custody.c.version + 1))


def bring_due_forward(tx: Transaction, rows: Sequence[tuple[int, datetime]]) -> None:
    """Make leads due at a time of their own, unless they are due earlier; *rows* are (lead id, time)."""
    if rows:
        lock_leads(tx, [lead_id for lead_id, _ in rows])
        new = tx.rows("new", column_types(custody, ("lead_id", "due_at")), rows)
        later = (custody.c.lead_id == new.c.lead_id, custody.c.due_at > new.c.due_at)
        tx.execute(update(custody).where(*later).values(due_at=new.c.due_at, version=custody.c.version + 1))


class JournalEntry(NamedTuple):
    """One entry of the journal."""

    lead_id: int
    at: datetime
    stage: str
    event: str
    reason: str
    enrollment_id: int | None = None
    track: str | None = None
    track_version: int | None = None
    policy_version: int | None = None
    step: str | None = None
    detail: Mapping[str, Any] | None = None
    custody_from: str | None = None
    custody_to: str | None = None
    ref: str | None = None


_COUNTED: Final[Callable[[JournalEntry], Any]] = attrgetter(*rollups.JournalFact._fields)


def write_journal(tx: Transaction, entries: Sequence[JournalEntry], sources: Mapping[int, str] | None = None) -> None:
    """Add *entries* to the journal, with one statement, and count them; *sources* are those of leads, if known."""
    count_entries(tx, entries, sources or {})
    tx.insert(journal, JournalEntry._fields, entries)


def count_entries(tx: Transaction, entries: Sequence[JournalEntry], sources: Mapping[int, str]) -> None:
    """Count *entries*, before they are added to the journal, and the stays with custodians that they end."""
    rollups.count_entries(tx, [*map(_COUNTED, entries), *_find_ways(entries)], sources)
    moves = [one for one in entries if one.custody_to is not None]
    left = {one.lead_id for one in moves if one.custody_from is not None}
    if not left:
        return
    entered = _load_newest_moves(tx, left)
    stays = []
    for move in moves:
        since = entered.get(move.lead_id)
        if move.custody_from is not None and move.custody_to is not None and since is not None:
            stays.append(rollups.Stay(move.custody_from, move.custody_to, since, move.at))
        entered[move.lead_id] = move.at
    rollups.count_stays(tx, stays)


def _find_ways(entries: Sequence[JournalEntry]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of a `JournalFact` for each way that a lead took at a fork of a track."""
    for one in entries:
        if one.detail is not None and "ways" in one.detail:
            for track, step, way in one.detail["ways"]:
                yield one.lead_id, one.at, track, None, step, f"{rollups.WAY}{way}"


def _load_newest_moves(tx: Transaction, lead_ids: Collection[int]) -> dict[int, datetime]:
    """Return when each of these leads last changed its custodian."""
    if not lead_ids:
        return {}
    rows = tx.execute_for(_newest_moves_query, sorted(lead_ids))
    return {id_: at for id_, at in rows if at is not None}


def _newest_moves_query(chosen: FromClause) -> Select[tuple[int, datetime | None]]:
    newest = (
        select(journal.c.at)
        .where(journal.c.lead_id == chosen.c.id, journal.c.custody_to.is_not(None))
        .order_by(journal.c.id.desc())
        .limit(1)
        .correlate(chosen)
        .scalar_subquery()
    )
    return select(chosen.c.id, newest)
