"""The message outbox: claim due messages, mark them `sending` before the provider call, write the results."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    Update,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)

from nurture.db.row_values import Columns, column_types
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables import handoff as handoff_tables
from nurture.db.tables import leads as lead_tables
from nurture.db.tables import tracks as track_tables
from nurture.db.tables.base import table
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime

message = table(delivery_tables.Message)
lead = table(lead_tables.Lead)
address = table(lead_tables.Address)
custody = table(lead_tables.Custody)
enrollment = table(track_tables.Enrollment)
offer = table(handoff_tables.Offer)


TO_LEADS: Final = ("touch", "question")
"""Message kinds that go to leads; every send check applies to both."""

NOTICE: Final = "notice"
"""Message kind that goes to a notifier instead of by email; the column `email` holds the notifier's name."""

PRESUMED_SENT: Final = "presumed-sent"
"""Provider of messages that may have been sent between a backup and its restore; they are never resent."""


class DueMessage(NamedTuple):
    """A planned message that is due, with its lead."""

    id: int
    send_key: str
    kind: str
    lead_id: int
    enrollment_id: int | None
    offer_id: int | None
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
    accepted_at: datetime | None
    provider: str | None
    provider_message_id: str | None
    reason: str | None
    send_at: datetime | None
    expires_at: datetime | None = None


def lock_due(tx: Transaction, now: datetime, limit: int, target: str | None = None) -> list[DueMessage]:
    """Lock and return due messages, earliest `send_at` first: email, or the notices for *target*."""
    query = (
        select(
            message.c.id,
            message.c.send_key,
            message.c.kind,
            message.c.lead_id,
            message.c.enrollment_id,
            message.c.offer_id,
            message.c.track,
            message.c.track_version,
            message.c.step,
            message.c.visit,
            message.c.email,
            message.c.rep,
            message.c.send_at,
            message.c.expires_at,
            message.c.attempts,
            lead.c.address_id,
            address.c.email.label("address"),
            lead.c.fields,
            lead.c.zone,
            lead.c.country,
            lead.c.consent_basis,
            lead.c.paused_until,
            lead.c.touch_interval_days,
            custody.c.kind.label("custodian"),
            custody.c.ref.label("custody_ref"),
            offer.c.state.label("offer_state"),
            enrollment.c.step.label("current_step"),
            enrollment.c.visit.label("current_visit"),
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
        return message.c.kind != NOTICE
    return and_(message.c.kind == NOTICE, message.c.email == target)


def list_due_targets(tx: Transaction, now: datetime) -> list[str]:
    """Return the names of notifiers with due notices."""
    query = (
        select(message.c.email)
        .where(message.c.state == "planned", message.c.send_at <= now, message.c.kind == NOTICE)
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
            message.c.kind.in_(TO_LEADS),
            message.c.state.not_in(("planned", "claimed", "cancelled", "rejected")),
            or_(message.c.accepted_at > since, message.c.state_at > since),
        )
    )
    return [(row[0], row[1] or row[2]) for row in tx.execute(query)]


class Claim(NamedTuple):
    """A message to claim, and the domain that it is sent from (None for email to reps)."""

    id: int
    sender_domain: str | None


_AT: Final = bindparam("at", type_=UtcDateTime())
_LEASE: Final = bindparam("lease", type_=UtcDateTime())
_CLAIMED_BY_WORKER: ColumnElement[bool] = and_(
    message.c.state == "claimed", message.c.lease_token == bindparam("worker")
)
_ID_COLUMNS: Columns = {"id": BigInteger()}
_CLAIM_COLUMNS: Columns = {"id": BigInteger(), "sender_domain": String()}


def claim(tx: Transaction, claims: Sequence[Claim], token: str, until: datetime, now: datetime) -> None:
    """Claim planned messages for the worker that holds *token*, until the lease ends."""
    if claims:
        values = {"payload": tx.payload(_CLAIM_COLUMNS, claims), "worker": token, "lease": until, "at": now}
        tx.execute(tx.cached(claim, lambda: _claim(tx)), values)


def _claim(tx: Transaction) -> Update:
    claimed = tx.rows_parameter("locked", _CLAIM_COLUMNS)
    return (
        update(message)
        .where(message.c.id == claimed.c.id, message.c.state == "planned")
        .values(
            state="claimed",
            state_at=_AT,
            claimed_at=_AT,
            sender_domain=claimed.c.sender_domain,
            lease_token=bindparam("worker"),
            lease_until=_LEASE,
        )
    )


def renew_leases(tx: Transaction, token: str, until: datetime) -> int:
    """Extend the leases that *token* holds; return how many.

    Skips rows that the worker is writing now: that write renews or ends the lease.
    """
    leased = select(message.c.id).where(_LEASED, message.c.lease_token == token)
    if tx.skips_locked:
        leased = leased.with_for_update(skip_locked=True)
    prolonged = update(message).where(message.c.id.in_(leased)).values(lease_until=until)
    return tx.execute(prolonged).rowcount


def lock_still_claimed(tx: Transaction, token: str) -> set[int]:
    """Lock and return the messages that are still claimed by *token*."""
    claimed = select(message.c.id).where(_LEASED, _CLAIMED_BY_WORKER)
    if tx.skips_locked:
        claimed = claimed.with_for_update(of=message)
    return set(tx.execute(claimed, {"worker": token}).scalars())


def stamp_sending(tx: Transaction, ids: Sequence[int], token: str, until: datetime, now: datetime) -> set[int]:
    """Mark claimed messages `sending`, before the provider call; return those that *token* still holds."""
    if not ids:
        return set()
    values = {"payload": tx.payload(_ID_COLUMNS, [(id_,) for id_ in ids]), "worker": token}
    stamp = tx.cached(stamp_sending, lambda: _stamp(tx))
    stamped = values | {"lease": until, "at": now}
    if not tx.is_sqlite:
        return set(tx.execute(stamp.returning(message.c.id), stamped).scalars())
    # SQLite has one writer, so the ids can be selected before the update. They come as one JSON row: for each
    # row that SQLite returns, the interpreter switches to the thread that calls the provider.
    still_claimed = tx.execute(tx.cached(_still_claimed_query, lambda: _still_claimed_query(tx)), values).scalar_one()
    tx.execute(stamp, stamped)
    return set(orjson.loads(still_claimed))


def _stamp(tx: Transaction) -> Update:
    stamped = tx.rows_parameter("locked", _ID_COLUMNS)
    return (
        update(message)
        .where(message.c.id.in_(select(stamped.c.id)), _CLAIMED_BY_WORKER)
        .values(state="sending", state_at=_AT, lease_until=_LEASE, attempts=message.c.attempts + 1)
    )


def _still_claimed_query(tx: Transaction) -> Select[tuple[str]]:
    candidates = tx.rows_parameter("locked", _ID_COLUMNS)
    query = select(func.json_group_array(message.c.id)).join(candidates, candidates.c.id == message.c.id)
    return query.where(_CLAIMED_BY_WORKER)


_UNCOUNTED_STATES: Final = ("planned", "cancelled", "rejected")
"""States of messages that do not count against the sender domain's daily limit."""


def write_results(tx: Transaction, results: Sequence[DeliveryResult], token: str | None, now: datetime) -> None:
    """Write delivery results; with *token*, only of messages that it still holds."""
    if not results:
        return
    values = {"payload": tx.payload(column_types(message, DeliveryResult._fields), results), "at": now}
    if token is None:
        tx.execute(tx.cached((write_results, "any"), lambda: _write_results_statement(tx)), values)
        return
    is_held = message.c.lease_token == bindparam("worker")
    statement = tx.cached((write_results, "held"), lambda: _write_results_statement(tx).where(is_held))
    tx.execute(statement, values | {"worker": token})


def _write_results_statement(tx: Transaction) -> Update:
    new = tx.rows_parameter("new", column_types(message, DeliveryResult._fields))
    return (
        update(message)
        .where(message.c.id == new.c.id)
        .values(
            state=new.c.state,
            state_at=_AT,
            accepted_at=new.c.accepted_at,
            provider=new.c.provider,
            provider_message_id=new.c.provider_message_id,
            reason=new.c.reason,
            claimed_at=case((new.c.state.in_(_UNCOUNTED_STATES), null()), else_=message.c.claimed_at),
            send_at=func.coalesce(new.c.send_at, message.c.send_at),
            expires_at=func.coalesce(new.c.expires_at, message.c.expires_at),
            lease_token=None,
            lease_until=None,
        )
    )


_LEASED: ColumnElement[bool] = message.c.state.in_(
    bindparam("leased", ["claimed", "sending"], expanding=True, literal_execute=True)
)
"""Literal values, as in the partial index on leases; with bound values SQLite scans the whole table."""


def release_expired(tx: Transaction, now: datetime) -> tuple[int, int]:
    """End expired leases: `claimed` returns to `planned`, `sending` becomes `unknown`. Return both counts.

    An unknown message keeps its token, so that a worker that was only slow can still write its result.
    """
    back = tx.execute(
        update(message)
        .where(message.c.id.in_(_expired(tx, "claimed", now)))
        .values(state="planned", state_at=now, claimed_at=None, lease_token=None, lease_until=None)
    ).rowcount
    unknown = tx.execute(
        update(message)
        .where(message.c.id.in_(_expired(tx, "sending", now)))
        .values(
            state="unknown",
            lease_until=None,
            reason="the worker stopped while sending; it is unknown whether the message was sent",
        )
    ).rowcount
    return back, unknown


def _expired(tx: Transaction, state: str, now: datetime) -> Select[tuple[int]]:
    """Return the messages in *state* with an expired lease; rows that a slow worker is writing are skipped."""
    expired = select(message.c.id).where(_LEASED, message.c.state == state, message.c.lease_until < now)
    return expired.with_for_update(skip_locked=True) if tx.skips_locked else expired


def count_recent_unknown(tx: Transaction, provider: str, since: datetime) -> int:
    """Return how many messages given to *provider* became unknown after *since*."""
    query = select(func.count()).where(
        message.c.state == "unknown", message.c.provider == provider, message.c.state_at > since
    )
    return tx.execute(query).scalar_one()


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
