"""Read and update the hand-off queue in priority order, and the capacity forecast."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, bindparam, exists, func, insert, literal, select, tuple_, update

from nurture.db.tables.leads import IN_QUEUE, custody, journal
from nurture.db.tables.routing import capacity_forecast, queue_priority, queue_scan
from nurture.db.transaction import Transaction
from nurture.domain.lead import Queue
from nurture.domain.routing.priority import CapacityForecast
from nurture.journey.leads.custody import JournalEntry, write_journal

_WAITING: Final = (IN_QUEUE, custody.c.ref == Queue.HAND_OFF.value)
_RANK: Final = func.coalesce(queue_priority.c.rank, custody.c.since, type_=custody.c.since.type)
Cursor = tuple[datetime, int]
"""The rank and id of a lead in the queue."""


class QueuedLead(NamedTuple):
    """A lead that waits for a rep, with its priority."""

    lead_id: int
    rank: datetime
    since: datetime
    points: int
    hot: bool


def load_queue_status(tx: Transaction, now: datetime) -> tuple[bool, bool]:
    """Return whether the queue has leads, and whether any of them is due."""
    waits, is_due = tx.execute(_STATUS, {"now": now}).one()
    return bool(waits), bool(is_due)


_QUEUED: Final = select(custody.c.lead_id).where(*_WAITING)
_STATUS: Final = select(
    _QUEUED.exists(), _QUEUED.where(custody.c.due_at <= bindparam("now", type_=custody.c.due_at.type)).exists()
)


def claim(tx: Transaction, limit: int, after: Cursor | None) -> tuple[list[QueuedLead], Cursor | None, bool]:
    """Lock the leads of highest priority, due or not, after *after*.

    Return them, the cursor if there may be more, and whether other workers held some, which are skipped.
    """
    query = (
        select(
            custody.c.lead_id,
            _RANK,
            func.coalesce(queue_priority.c.since, custody.c.since, type_=custody.c.since.type),
            func.coalesce(queue_priority.c.points, 0),
            func.coalesce(queue_priority.c.hot, False),
        )
        .outerjoin(queue_priority, queue_priority.c.lead_id == custody.c.lead_id)
        .where(*_WAITING)
        .order_by(_RANK, custody.c.lead_id)
        .limit(limit)
    )
    if after is not None:
        rank, lead_id = after
        last = tuple_(literal(rank, custody.c.since.type), literal(lead_id, BigInteger()))
        query = query.where(tuple_(_RANK, custody.c.lead_id) > last)
    rows = tx.execute(query).all()
    found = [QueuedLead(lead, rank, since, points, bool(hot)) for lead, rank, since, points, hot in rows]
    end = (found[-1].rank, found[-1].lead_id) if found and len(found) == limit else None
    if not tx.skips_locked or not found:
        return found, end, False
    chosen = tx.ids("chosen", [one.lead_id for one in found])
    free = select(custody.c.lead_id).join(chosen, chosen.c.id == custody.c.lead_id).where(*_WAITING)
    locked = set(tx.execute(free.with_for_update(of=custody, skip_locked=True)).scalars())
    return [one for one in found if one.lead_id in locked], end, len(locked) < len(found)


def load_last_free_reps(tx: Transaction) -> frozenset[str]:
    """Return the reps with capacity at the end of the last full scan, who match no waiting lead."""
    return frozenset(tx.execute(select(queue_scan.c.available_reps)).scalar() or ())


def save_queue_scan(tx: Transaction, free_reps: Collection[str], now: datetime) -> None:
    """Store the reps with capacity that match no waiting lead; empty after a partial scan."""
    values = {"available_reps": sorted(free_reps), "at": now}
    if tx.execute(update(queue_scan).values(values)).rowcount == 0:
        tx.execute(insert(queue_scan).values(id=1, **values))


def postpone(
    tx: Transaction, lead_ids: Sequence[int] | None, until: datetime, now: datetime, policy_version: int
) -> int:
    """Let leads of the queue wait until *until*, None for all due ones; return how many.

    Recorded in the journal once per waiting period of a lead.
    """
    was_held = exists().where(
        journal.c.lead_id == custody.c.lead_id, journal.c.event == "held", journal.c.at >= custody.c.since
    )
    due = select(custody.c.lead_id, was_held).where(*_WAITING)
    if lead_ids is None:
        due = due.where(custody.c.due_at <= now)
    else:
        chosen = tx.ids("chosen", lead_ids)
        due = due.join(chosen, chosen.c.id == custody.c.lead_id)
    if tx.skips_locked:
        due = due.order_by(custody.c.lead_id).with_for_update(of=custody, skip_locked=True)
    found = tx.execute(due).all()
    if not found:
        return 0
    waiting = tx.rows("waiting", {"id": BigInteger()}, [(lead_id,) for lead_id, _ in found])
    action = f"waits for capacity, expected at {until:%Y-%m-%d %H:%M} UTC"
    tx.execute(
        update(custody)
        .where(custody.c.lead_id == waiting.c.id)
        .values(due_at=until, next_action=action, version=custody.c.version + 1)
    )
    reason = f"no rep has capacity; expected at {until:%Y-%m-%d %H:%M} UTC"
    new = [
        JournalEntry(lead_id, now, "handoff", "held", reason, policy_version=policy_version)
        for lead_id, was_held_before in found
        if not was_held_before
    ]
    write_journal(tx, new)
    return len(found)


def count_waiting(tx: Transaction) -> int:
    """Return how many leads wait for a rep."""
    return int(tx.execute(select(func.count()).select_from(custody).where(*_WAITING)).scalar_one())


def save_capacity_forecast(
    tx: Transaction, forecast: CapacityForecast, full_until: datetime | None, now: datetime
) -> None:
    """Store the capacity forecast for the tracks."""
    values = {
        "at": now,
        "daily_capacity": forecast.daily_capacity,
        "offered_today": forecast.offered_today,
        "waiting": forecast.waiting,
        "full_until": full_until,
    }
    if tx.execute(update(capacity_forecast).values(values)).rowcount == 0:
        tx.execute(insert(capacity_forecast).values(id=1, **values))
