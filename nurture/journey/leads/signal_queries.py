"""Signals of leads: each is recorded once and applied once."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    FromClause,
    Select,
    String,
    Update,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)

from nurture.db.locks import Lock, acquire
from nurture.db.rollups import AppliedSignal, count_applied
from nurture.db.row_values import Columns, row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.leads import custody, lead
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.lead import SALES_QUEUES, Custodian, Queue, Resting
from nurture.journey.leads.custody import bring_forward, lock_leads


class NewSignal(NamedTuple):
    """A signal to record. *verdict_reason* of an opt-out, bounce or complaint is its evidence."""

    lead_id: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    natural_key: str
    source: str
    verdict: str = "human"
    verdict_reason: str = ""
    enrollment_id: int | None = None
    track: str | None = None
    step: str | None = None
    link: str | None = None
    message_id: int | None = None
    value: str | None = None
    click_filter_key: str | None = None


class TouchRef(NamedTuple):
    """The touch that a signal answers."""

    enrollment_id: int | None = None
    track: str | None = None
    message_id: int | None = None


class UnappliedSignal(NamedTuple):
    """A recorded signal that is not applied yet, with what applying it needs."""

    id: int
    lead_id: int
    lead_source: str
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    verdict: str
    verdict_reason: str
    value: str | None
    source: str
    track: str | None
    address_id: int | None
    engagement: float
    engagement_2: float | None
    engagement_3: float | None
    engagement_4: float | None
    engagement_at: datetime | None
    points_key: str | None
    signals_since: datetime | None
    decides_on: date | None
    decides_stated_at: datetime | None


_TEXT, _TIME, _ID = String(), UtcDateTime(), BigInteger()
_LEAD_IDS: Final[Columns] = {"id": _ID}


def record_signals(tx: Transaction, rows: Sequence[NewSignal]) -> int:
    """Insert signals in the order of their natural keys, each once; return how many were new."""
    rows = sorted(rows, key=lambda row: row.natural_key)
    return tx.insert(signal, NewSignal._fields, rows, unique_columns=["natural_key"])


def find_existing_keys(tx: Transaction, keys: Sequence[str]) -> set[str]:
    """Return the natural keys that are already recorded."""
    if not keys:
        return set()
    requested = tx.rows("requested", {"natural_key": _TEXT}, [(key,) for key in keys])
    statement = select(signal.c.natural_key).join(requested, requested.c.natural_key == signal.c.natural_key)
    return set(tx.execute(statement).scalars())


def lock_unapplied(tx: Transaction, limit: int) -> list[UnappliedSignal]:
    """Lock and return signals that are not applied yet, oldest record first."""
    _lock_next_leads(tx, limit)
    return [UnappliedSignal._make(row) for row in tx.execute(_UNAPPLIED, {"limit": limit})]


_UNAPPLIED: Final = (
    select(
        *row_columns(UnappliedSignal, lead, signal, id=signal.c.id, source=signal.c.source, lead_source=lead.c.source)
    )
    .join(lead, lead.c.id == signal.c.lead_id)
    .where(signal.c.applied_at.is_(None))
    .order_by(signal.c.id)
    .limit(bindparam("limit"))
)


def _lock_next_leads(tx: Transaction, limit: int) -> None:
    """Lock the leads of the next signals, so that a sweep does not overwrite what applying them writes.

    One worker applies signals at a time, and custody is locked first, in the order of ids: prevents deadlocks.
    """
    if not tx.skips_locked:
        return
    acquire(tx, Lock.SIGNALS)
    next_leads = select(signal.c.lead_id).where(signal.c.applied_at.is_(None)).order_by(signal.c.id).limit(limit)
    statement = select(custody.c.lead_id).where(custody.c.lead_id.in_(next_leads))
    tx.execute(statement.order_by(custody.c.lead_id).with_for_update())


def mark_applied(tx: Transaction, signals: Sequence[UnappliedSignal], now: datetime) -> None:
    """Mark signals as applied, and count them."""
    tx.update_by_id(signal, (), [(one.id,) for one in signals], applied_at=now)
    applied = [AppliedSignal(one.lead_id, one.kind, one.verdict, one.occurred_at, one.recorded_at) for one in signals]
    count_applied(tx, applied, {one.lead_id: one.lead_source for one in signals}, now)


def make_due(tx: Transaction, lead_ids: Sequence[int], now: datetime, *, include_parked: bool = False) -> None:
    """Make leads on a track or at rest due now; with *include_parked* also those in a queue that a request ends.

    The custody version is incremented, so that a concurrent sweep does not overwrite the due time.
    """
    if not lead_ids:
        return
    lock_leads(tx, lead_ids)
    values = {
        "payload": tx.payload(_LEAD_IDS, [(id_,) for id_ in set(lead_ids)]),
        "at": now,
        "include_parked": include_parked,
    }
    tx.execute(tx.cached(make_due, lambda: _make_due(tx)), values)


def _make_due(tx: Transaction) -> Update:
    chosen = tx.rows_parameter("chosen", _LEAD_IDS)
    at = bindparam("at", type_=_TIME)
    # concat keeps SQLite off the index on kind, with which it would scan every lead on a track for each lead.
    kind, ref = custody.c.kind.concat(""), custody.c.ref
    include_parked = bindparam("include_parked", type_=Boolean())
    in_queue = and_(kind == "queue", ref.not_in(sorted(SALES_QUEUES)))
    parked = and_(include_parked, in_queue)
    woken = and_(kind == "resting", ref != "later")  # until its date, only new interest ends that rest
    return (
        update(custody)
        .where(custody.c.lead_id == chosen.c.id, or_(kind == "track", woken, parked), custody.c.due_at > at)
        .values(due_at=at, version=custody.c.version + 1)
    )


def make_decisions_due(tx: Transaction, lead_ids: Sequence[int], now: datetime) -> None:
    """Make leads due now that wait for a manual decision or a missing field, because they asked for a person."""
    decided = custody.c.ref.in_(sorted(SALES_QUEUES - {Queue.HAND_OFF}))
    bring_forward(tx, now, (custody.c.kind.concat("") == "queue") & decided, lead_ids)


def find_reactivatable(tx: Transaction, lead_ids: Sequence[int]) -> list[int]:
    """Return those leads that new interest brings back: discarded, unreachable, lost or whose track is missing."""
    return list(tx.execute_for(_reactivatable_query, lead_ids).scalars())


def _reactivatable_query(chosen: FromClause) -> Select[tuple[int]]:
    given_up = custody.c.kind.in_(("closed",)) & custody.c.ref.in_(("discarded", "unreachable", "lost"))
    until_later = (custody.c.kind == "resting") & (custody.c.ref == Resting.LATER.value)
    without_track = (custody.c.kind == "queue") & (custody.c.ref == Queue.TRACK_MISSING.value)
    query = select(custody.c.lead_id).join(chosen, chosen.c.id == custody.c.lead_id)
    return query.where(or_(given_up, without_track, until_later)).order_by(custody.c.lead_id)


def find_latest_touches(tx: Transaction, pairs: Sequence[tuple[int, str]]) -> dict[tuple[int, str], TouchRef]:
    """Return the last planned touch of each (lead id, step), whatever its state."""
    if not pairs:
        return {}
    requested = tx.rows("requested", {"lead_id": _ID, "step": _TEXT}, list(set(pairs)))
    latest = (
        select(func.max(message.c.id).label("id"))
        .join(requested, (requested.c.lead_id == message.c.lead_id) & (requested.c.step == message.c.step))
        .where(message.c.kind == "touch")
        .group_by(message.c.lead_id, message.c.step)
        .subquery()
    )
    statement = select(message.c.lead_id, message.c.step, message.c.enrollment_id, message.c.track, message.c.id).join(
        latest, latest.c.id == message.c.id
    )
    return {(row[0], row[1]): TouchRef(*row[2:]) for row in tx.execute(statement)}


def make_queues_due(tx: Transaction, queues: Sequence[str], now: datetime) -> None:
    """Make the leads of these queues due now."""
    make_reowned_due(tx, (), queues, now)


def make_reowned_due(tx: Transaction, lead_ids: Sequence[int], queues: Sequence[str], now: datetime) -> None:
    """Make the leads of *queues* due now, and of those with another owner the ones that it may concern.

    These are on a track, at rest, or wait for a rep. One statement locks all of them in the order of their ids.
    """
    kind, ref = custody.c.kind, custody.c.ref
    concerned = or_(
        kind == Custodian.TRACK.value,
        and_(kind == Custodian.RESTING.value, ref != Resting.LATER.value),
        and_(kind == Custodian.QUEUE.value, ref == Queue.HAND_OFF.value),
    )
    reowned = custody.c.lead_id.in_(select(tx.ids("reowned", sorted(set(lead_ids))).c.id))
    bring_forward(tx, now, or_(and_(kind == Custodian.QUEUE.value, ref.in_(queues)), and_(reowned, concerned)))
