"""The message outbox: claim due messages, mark them `sending` before the provider call, write the results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from nurture.db.row_values import row_columns
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.outbox.lease_queue import LeaseQueue

message = table(delivery_tables.Message)
lead = table(lead_tables.Lead)
address = table(lead_tables.Address)
custody = table(lead_tables.Custody)
enrollment = table(track_tables.Enrollment)
offer = table(handoff_tables.Offer)


TO_LEAD: Final = "lead"
"""Recipient of the messages to which every send check applies."""

TO_REP: Final = "rep"
TO_NOTIFIER: Final = "notifier"
"""Recipient of the messages that no email carries; their column `email` holds the notifier's name."""

PRESUMED_SENT: Final = "presumed-sent"
"""Provider of messages that may have been sent between a backup and its restore; they are never resent."""


class DueMessage(NamedTuple):
    """A planned message that is due, with its lead."""

    id: int
    send_key: str
    kind: str
    recipient: str
    lead_id: int
    enrollment_id: int | None
    offer_id: int | None
    reply_id: int | None
    track: str | None
    track_version: int | None
    step: str
    visit: int
    email: str
    rep: str | None
    send_at: datetime
    expires_at: datetime
    attempts: int
    address_id: int | None
    address: str | None
    fields: dict[str, Any]
    zone: str
    country: str
    consent_basis: str | None
    paused_until: datetime | None
    touch_interval_days: int | None
    custodian: str
    custody_ref: str
    offer_state: str | None
    current_step: str | None
    current_visit: int | None


class DeliveryResult(NamedTuple):
    """The result of a delivery attempt. None in *send_at* or *expires_at* leaves that time unchanged."""

    id: int
    state: str
    reason: str | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    provider: str | None = None
    accepted_at: datetime | None = None
    provider_message_id: str | None = None


def _result_values(new: FromClause) -> dict[str, Any]:
    return {
        "accepted_at": new.c.accepted_at,
        "provider_message_id": new.c.provider_message_id,
        "expires_at": func.coalesce(new.c.expires_at, message.c.expires_at),
    }


QUEUE: Final = LeaseQueue(
    message,
    DeliveryResult,
    result_values=_result_values,
    # It stays unknown since the call: `state_at` is unchanged.
    unknown_values=lambda _: {"reason": "the worker stopped while sending; it is unknown whether the message was sent"},
    claim_columns=("id", "sender_domain"),
)
"""Claims name the domain that a message is sent from, None for email to reps."""


def lock_due(tx: Transaction, now: datetime, limit: int, target: str | None = None) -> list[DueMessage]:
    """Lock and return due messages, earliest `send_at` first: email, or the notices for *target*."""
    query = (
        select(
            *row_columns(
                DueMessage,
                message,
                lead,
                address=address.c.email,
                custodian=custody.c.kind,
                custody_ref=custody.c.ref,
                offer_state=offer.c.state,
                current_step=enrollment.c.step,
                current_visit=enrollment.c.visit,
            )
        )
        .join(lead, lead.c.id == message.c.lead_id)
        .join(custody, custody.c.lead_id == message.c.lead_id)
        .outerjoin(address, address.c.id == lead.c.address_id)
        .outerjoin(offer, offer.c.id == message.c.offer_id)
        .outerjoin(enrollment, enrollment.c.id == message.c.enrollment_id)
        .where(message.c.state == "planned", message.c.send_at <= now, _is_for_target(target))
        .order_by(message.c.send_at, message.c.id)
        .limit(limit)
    )
    if tx.skips_locked:
        # Lock custody too: a sweep that cancels messages locks it first, so the two cannot deadlock.
        query = query.with_for_update(of=[message, custody], skip_locked=True)
    return [DueMessage._make(row) for row in tx.execute(query)]


def _is_for_target(target: str | None) -> ColumnElement[bool]:
    if target is None:
        return message.c.recipient != TO_NOTIFIER
    return and_(message.c.recipient == TO_NOTIFIER, message.c.email == target)


def list_due_targets(tx: Transaction, now: datetime) -> list[str]:
    """Return the names of notifiers with due notices."""
    query = (
        select(message.c.email)
        .where(message.c.state == "planned", message.c.send_at <= now, message.c.recipient == TO_NOTIFIER)
        .distinct()
    )
    return sorted(tx.execute(query).scalars())


def count_due(tx: Transaction, now: datetime) -> int:
    """Return the number of due emails."""
    query = select(func.count()).where(message.c.state == "planned", message.c.send_at <= now, _is_for_target(None))
    return tx.execute(query).scalar_one()


def list_touches_since(tx: Transaction, lead_ids: Sequence[int], since: datetime) -> list[tuple[int, datetime]]:
    """Return (lead id, time) of every touch that was, or may have been, sent to these leads after *since*."""
    chosen = tx.ids("chosen", list(set(lead_ids)))
    query = (
        select(message.c.lead_id, message.c.accepted_at, message.c.state_at)
        .join(chosen, chosen.c.id == message.c.lead_id)
        .where(
            message.c.recipient == TO_LEAD,
            message.c.state.not_in(("planned", "claimed", "cancelled", "rejected")),
            or_(message.c.accepted_at > since, message.c.state_at > since),
        )
    )
    return [(row[0], row[1] or row[2]) for row in tx.execute(query)]


RESEND_WINDOW: Final = timedelta(days=1)
"""A requeued unknown message may still be sent for this long, even if it would expire earlier."""


def requeue_unknown(tx: Transaction, before: datetime, now: datetime) -> int:
    """Plan messages again that have been unknown since before *before*; return how many.

    They may arrive twice: only when `on_unknown` is `resend_after`.
    """
    unknown = select(message.c.id).where(
        message.c.state == "unknown", message.c.state_at < before, message.c.provider.is_distinct_from(PRESUMED_SENT)
    )
    if tx.skips_locked:
        unknown = unknown.with_for_update(skip_locked=True)
    earliest_expiry = bindparam("earliest_expiry", now + RESEND_WINDOW, type_=UtcDateTime())
    planned = (
        update(message)
        .where(message.c.id.in_(unknown))
        .values(
            state="planned",
            state_at=now,
            send_at=now,
            expires_at=case((message.c.expires_at < earliest_expiry, earliest_expiry), else_=message.c.expires_at),
            claimed_at=None,
            lease_token=None,
            reason="sent again because its delivery is unknown (templates/sending.yaml); it may arrive twice",
        )
    )
    return tx.execute(planned).rowcount
