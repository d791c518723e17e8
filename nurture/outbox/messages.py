"""The message outbox: claim due messages, mark them `sending` before the provider call, write the results."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import FromClause, Select, and_, bindparam, case, func, or_, select, update

from nurture.db import rollups
from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import address as addresses
from nurture.db.tables.leads import custody, lead
from nurture.db.tables.tracks import enrollment
from nurture.db.transaction import Transaction
from nurture.db.types import UtcDateTime
from nurture.domain.planning.frequency_cap import CountedEmail
from nurture.outbox.lease_queue import LeaseQueue

TO_LEAD: Final = "lead"
"""Recipient of the messages to which every send check applies."""

TO_REP: Final = "rep"
TOUCH: Final = "touch"
BROADCAST: Final = "broadcast"
MARKETING: Final = (TOUCH, BROADCAST)
"""Kinds of the emails that definitions write: those of tracks and of broadcasts."""

CONFIRMATION: Final = "confirmation"
"""Kind of the messages to leads that count for no frequency cap. Their `step` is the id of the address they ask."""

RECALLED: Final = "date_moved"
"""Reason of messages that were cancelled before any worker claimed them; they may be planned again."""

SUPERSEDED: Final = "superseded_by_track"
"""Reason of touches that were cancelled because another track took the lead over; they may be planned again."""

REPLANNABLE: Final = (RECALLED, SUPERSEDED)

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
    source: str
    consent_basis: str | None
    paused_until: datetime | None
    touch_interval_days: int | None
    custodian: str
    custody_ref: str
    offer_state: str | None
    current_step: str | None
    current_visit: int | None
    held_by: str | None
    first_contact_at: datetime | None


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
    held_by: str | None = None


def _result_values(new: FromClause) -> dict[str, Any]:
    return {
        "accepted_at": new.c.accepted_at,
        "provider_message_id": new.c.provider_message_id,
        "held_by": new.c.held_by,
        "expires_at": func.coalesce(new.c.expires_at, message.c.expires_at),
    }


QUEUE: Final = LeaseQueue(
    message,
    DeliveryResult,
    result_values=_result_values,
    # It stays unknown since the call: `state_at` is unchanged.
    unknown_values={"reason": "the worker stopped while sending; it is unknown whether the message was sent"},
    claim_columns=("id", "sender_domain"),
    stamp_columns=("id", "link_digest"),
)
"""Claims name the domain that a message is sent from, None for email to reps."""


def write_results(
    tx: Transaction,
    results: Sequence[DeliveryResult],
    token: str | None,
    now: datetime,
    messages: Sequence[DueMessage] = (),
) -> None:
    """Write delivery results as `LeaseQueue.write_results`, and count the touches that were accepted.

    Those of *messages* need no query to be counted.
    """
    written = QUEUE.write_results(tx, results, token, now)
    accepted = {one.id: one.accepted_at for one in results if one.accepted_at is not None}
    if written < len(results) and accepted:  # the lease of some was lost: another has written their result
        chosen = tx.ids("chosen", sorted(accepted))
        query = select(message.c.id, message.c.accepted_at).join(chosen, chosen.c.id == message.c.id)
        stored = dict(tx.execute(query.where(message.c.state == "accepted")).tuples().all())
        accepted = {id_: at for id_, at in accepted.items() if stored.get(id_) == at}
    touches = [one for one in messages if one.kind == "touch" and one.id in accepted]
    facts = [(one.lead_id, accepted[one.id], one.track, one.track_version, one.step, rollups.SENT) for one in touches]
    rollups.count_entries(tx, facts, {one.lead_id: one.source for one in touches})
    others = accepted.keys() - {one.id for one in messages}
    rollups.count_sent(tx, [rollups.SentChange(id_, accepted[id_], 1) for id_ in others])


def lock_due(tx: Transaction, now: datetime, limit: int, target: str | None = None) -> list[DueMessage]:
    """Lock and return due messages, earliest `send_at` first: email, or the notices for *target*."""
    query = tx.cached((lock_due, target is None), lambda: _due_query(tx, is_mail=target is None))
    return [DueMessage._make(row) for row in tx.execute(query, {"now": now, "limit": limit, "target": target}).all()]


def _due_query(tx: Transaction, *, is_mail: bool) -> Select[Any]:
    query = (
        select(
            *row_columns(
                DueMessage,
                message,
                lead,
                address=addresses.c.email,
                custodian=custody.c.kind,
                custody_ref=custody.c.ref,
                offer_state=offer.c.state,
                current_step=enrollment.c.step,
                current_visit=enrollment.c.visit,
            )
        )
        .join(lead, lead.c.id == message.c.lead_id)
        .join(custody, custody.c.lead_id == message.c.lead_id)
        .outerjoin(addresses, addresses.c.id == lead.c.address_id)
        .outerjoin(offer, offer.c.id == message.c.offer_id)
        .outerjoin(enrollment, enrollment.c.id == message.c.enrollment_id)
        .where(_IS_DUE, _IS_MAIL if is_mail else _IS_FOR_TARGET)
        .order_by(message.c.send_at, message.c.id)
        .limit(bindparam("limit"))
    )
    if tx.skips_locked:
        # Lock custody too: a sweep that cancels messages locks it first, so the two cannot deadlock.
        query = query.with_for_update(of=[message, custody], skip_locked=True)
    return query


def list_due_targets(tx: Transaction, now: datetime) -> list[str]:
    """Return the names of notifiers with due notices."""
    return sorted(tx.execute(_DUE_TARGETS, {"now": now}).scalars())


def count_due(tx: Transaction, now: datetime) -> int:
    """Return the number of due emails."""
    return tx.execute(select(func.count()).where(_IS_DUE, _IS_MAIL), {"now": now}).scalar_one()


_IS_DUE: Final = and_(message.c.state == "planned", message.c.send_at <= bindparam("now", type_=UtcDateTime()))
_IS_MAIL: Final = message.c.recipient != TO_NOTIFIER
_IS_FOR_TARGET: Final = and_(message.c.recipient == TO_NOTIFIER, message.c.email == bindparam("target"))
_DUE_TARGETS: Final = select(message.c.email).where(_IS_DUE, message.c.recipient == TO_NOTIFIER).distinct()


def list_counted_since(
    tx: Transaction, lead_ids: Sequence[int], since: datetime
) -> list[tuple[int, str, CountedEmail]]:
    """Return the emails after *since* that count for caps, with lead and kind: sent, perhaps sent, or claimed."""
    found = []
    for lead_id, accepted_at, state_at, kind, track, topic in tx.execute_for(
        _counted_query, set(lead_ids), since=since
    ):
        place = (track or "", topic or "") if kind in MARKETING else ()
        found.append((lead_id, kind, CountedEmail(accepted_at or state_at, *place)))
    return found


def _counted_query(chosen: FromClause) -> Select[Any]:
    since = bindparam("since", type_=UtcDateTime())
    return (
        select(*(message.c[name] for name in ("lead_id", "accepted_at", "state_at", "kind", "track", "topic")))
        .join(chosen, chosen.c.id == message.c.lead_id)
        .where(
            message.c.recipient == TO_LEAD,
            message.c.kind != CONFIRMATION,
            message.c.state.not_in(("planned", "cancelled", "rejected")),
            or_(message.c.accepted_at > since, message.c.state_at > since),
        )
    )


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
            held_by=None,
        )
    )
    return tx.execute(planned).rowcount
