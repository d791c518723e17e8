"""Read and write raw event batches, provider events and message statuses."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import String, bindparam, delete, func, select, update

from nurture.db.row_values import Columns, column_types, row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.inbound import provider_event, raw_batch
from nurture.db.tables.leads import address as addresses
from nurture.db.tables.leads import lead
from nurture.db.transaction import Transaction
from nurture.domain.delivery.delivery_status import REPEATED_AFTER
from nurture.journey.leads.custody import lock_leads
from nurture.outbox.messages import TO_REP


class NewBatch(NamedTuple):
    """A batch as received."""

    provider: str
    digest: str
    received_at: datetime
    events: int
    body: str


class PendingBatch(NamedTuple):
    """A batch that is not processed yet."""

    id: int
    provider: str
    received_at: datetime
    events: int
    body: str


class EventRow(NamedTuple):
    """An event to store: without address or name."""

    natural_key: str
    event_key: str | None
    provider: str
    event_type: str
    raw_event_type: str
    at: datetime
    received_at: datetime
    message_id: int | None
    installation_id: str
    ref: str
    provider_message_id: str | None
    reason: str


class SentMessage(NamedTuple):
    """A message that events refer to. *address* is its lead's current address, normalized."""

    id: int
    send_key: str
    recipient: str
    lead_id: int
    enrollment_id: int | None
    track: str | None
    step: str
    planned_at: datetime
    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None
    is_ambiguous: bool | None
    address: str | None
    erased_at: datetime | None = None


class MessageStatusUpdate(NamedTuple):
    """The new state of a message; the update applies only while it is still in *previous_state*."""

    id: int
    previous_state: str
    state: str
    state_at: datetime
    accepted_at: datetime | None
    reason: str | None
    is_ambiguous: bool | None
    provider: str


_TEXT = String()
_KEY_COLUMNS: Final[Columns] = {"send_key": _TEXT}


def store_batch(tx: Transaction, batch: NewBatch) -> bool:
    """Store a batch once; return whether it was new."""
    return tx.insert(raw_batch, NewBatch._fields, [batch], unique_columns=["digest"]) > 0


def load_pending(tx: Transaction, limit: int) -> list[PendingBatch]:
    """Return at most *limit* unprocessed batches, the oldest first."""
    query = (
        select(raw_batch.c.id, raw_batch.c.provider, raw_batch.c.received_at, raw_batch.c.events, raw_batch.c.body)
        .where(raw_batch.c.processed_at.is_(None), raw_batch.c.error.is_(None))
        .order_by(raw_batch.c.id)
        .limit(limit)
    )
    return [PendingBatch._make(row) for row in tx.execute(query)]


def mark_processed(tx: Transaction, batch_ids: Sequence[int], now: datetime) -> None:
    """Mark batches as processed at *now*."""
    done = tx.ids("done", batch_ids)
    tx.execute(update(raw_batch).where(raw_batch.c.id == done.c.id).values(processed_at=now))


def clear_bodies(tx: Transaction, batch_ids: Collection[int]) -> None:
    """Clear the bodies of these batches: they concern an erased person."""
    if not batch_ids:
        return
    batches = tx.ids("batches", sorted(batch_ids))
    tx.execute(update(raw_batch).where(raw_batch.c.id == batches.c.id).values(body=""))


def mark_failed(tx: Transaction, batch_id: int, error: str) -> None:
    """Set aside a batch that cannot be processed, so that it does not block the others."""
    tx.execute(update(raw_batch).where(raw_batch.c.id == batch_id).values(error=error))


def is_idle(tx: Transaction, before: datetime) -> bool:
    """Return whether no batch is pending or failed, and none was received before *before*; two index probes."""
    return not tx.execute(_HAS_WORK, {"before": before}).scalar_one()


_HAS_WORK: Final = select(
    select(raw_batch.c.id).where(raw_batch.c.processed_at.is_(None)).exists()
    | select(raw_batch.c.id).where(raw_batch.c.received_at < bindparam("before")).exists()
)


def retry_failed(tx: Transaction) -> int:
    """Return failed batches to pending; return how many."""
    failed = raw_batch.c.error.is_not(None) & raw_batch.c.processed_at.is_(None)
    return tx.execute(update(raw_batch).where(failed).values(error=None)).rowcount


def delete_processed(tx: Transaction, before: datetime) -> int:
    """Delete processed batches received before *before*; return how many. Their events stay."""
    done = raw_batch.c.processed_at.is_not(None)
    return tx.execute(delete(raw_batch).where(done, raw_batch.c.received_at < before)).rowcount


def count_failed(tx: Transaction) -> tuple[int, datetime | None]:
    """Return how many batches failed as a whole, and when the oldest was received."""
    failed = raw_batch.c.error.is_not(None) & raw_batch.c.processed_at.is_(None)
    found = tx.execute(select(func.count(), func.min(raw_batch.c.received_at)).where(failed)).one()
    return found[0], found[1]


def lock_messages(tx: Transaction, send_keys: Collection[str]) -> dict[str, SentMessage]:
    """Lock and return the messages of these keys; their leads first, as everywhere, so that no deadlock occurs."""
    if not send_keys:
        return {}
    values = {"payload": tx.payload(_KEY_COLUMNS, [(key,) for key in sorted(send_keys)])}
    requested = tx.rows_parameter("requested", _KEY_COLUMNS)
    if tx.skips_locked:
        leads = select(message.c.lead_id).join(requested, requested.c.send_key == message.c.send_key)
        lock_leads(tx, tx.execute(leads, values).scalars().all())
    query = (
        select(*row_columns(SentMessage, message, lead, address=addresses.c.normalized))
        .join(requested, requested.c.send_key == message.c.send_key)
        .join(lead, lead.c.id == message.c.lead_id)
        .outerjoin(addresses, addresses.c.id == lead.c.address_id)
    )
    if tx.skips_locked:
        query = query.with_for_update(of=message)
    return {row[1]: SentMessage._make(row) for row in tx.execute(query, values)}


def list_undelivered_to_sales(tx: Transaction, since: datetime) -> list[tuple[str, int, str]]:
    """Return each rep to whom email was not delivered since then, how many, and the last reason by the alphabet."""
    query = (
        select(message.c.rep, func.count(), func.max(message.c.reason))
        .where(message.c.recipient == TO_REP, message.c.state.in_(("bounced", "dropped")), message.c.state_at >= since)
        .group_by(message.c.rep)
        .order_by(message.c.rep)
    )
    return [(row[0] or "", row[1], row[2] or "") for row in tx.execute(query)]


def find_repeated_refusals(tx: Transaction, message_ids: Collection[int]) -> set[int]:
    """Return those of these ambiguously refused messages that follow one refused alike, with none delivered since."""
    if not message_ids:
        return set()
    chosen, earlier = tx.ids("chosen", sorted(message_ids)), message.alias("earlier")
    query = (
        select(message.c.id, message.c.planned_at, earlier.c.planned_at, earlier.c.state, earlier.c.is_ambiguous)
        .join(chosen, chosen.c.id == message.c.id)
        .join(earlier, (earlier.c.lead_id == message.c.lead_id) & (earlier.c.planned_at < message.c.planned_at))
        .where(earlier.c.recipient == message.c.recipient, earlier.c.state.in_(("delivered", "dropped")))
        .order_by(earlier.c.planned_at)
    )
    found: set[int] = set()
    for id_, planned_at, earlier_at, state, is_ambiguous in tx.execute(query):
        if state == "delivered":
            found.discard(id_)
        elif is_ambiguous and earlier_at <= planned_at - REPEATED_AFTER:
            found.add(id_)
    return found


def insert_events(tx: Transaction, rows: Sequence[EventRow]) -> int:
    """Insert events, once by either of their keys; return how many were new."""
    return tx.insert(provider_event, EventRow._fields, rows, unique_columns=["natural_key", "event_key"])


def write_statuses(tx: Transaction, rows: Sequence[MessageStatusUpdate]) -> None:
    """Store the new states of messages and end their leases.

    A worker that writes back later then changes nothing, and one that has not called yet does not call.
    """
    if not rows:
        return
    updates = tx.rows("updates", column_types(message, MessageStatusUpdate._fields, previous_state="state"), rows)
    tx.execute(
        update(message)
        .where(message.c.id == updates.c.id, message.c.state == updates.c.previous_state)
        .values(
            state=updates.c.state,
            state_at=updates.c.state_at,
            accepted_at=updates.c.accepted_at,
            reason=updates.c.reason,
            is_ambiguous=updates.c.is_ambiguous,
            claimed_at=func.coalesce(message.c.claimed_at, updates.c.accepted_at),
            provider=func.coalesce(message.c.provider, updates.c.provider),
            lease_token=None,
            lease_until=None,
        )
    )
