"""What simulated people react to: emails that they got, offers that they were made, leads that wait for a decision."""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, or_, select, update

from nurture.db.row_values import row_columns
from nurture.db.tables.delivery import message
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import address, custody, lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian
from nurture.outbox import crm_records, messages


class Touch(NamedTuple):
    """An email of a track, or of a broadcast, that was sent."""

    id: int
    lead_id: int
    enrollment_id: int | None
    track: str | None
    step: str
    email: str
    accepted_at: datetime


class HeldOffer(NamedTuple):
    """An offer that is open, or accepted by a rep who still has the lead."""

    id: int
    lead_id: int
    rep: str
    tier: str | None
    state: str
    offered_at: datetime
    answered_at: datetime | None
    followed_up_at: datetime | None


class WaitingLead(NamedTuple):
    """A lead in a queue whose owner decides about it."""

    lead_id: int
    ref: str
    since: datetime


def load_touches(tx: Transaction, since: datetime) -> list[Touch]:
    """Return the touches and broadcasts accepted at or after *since*, in the order in which they were planned."""
    query = select(*row_columns(Touch, message)).where(message.c.kind.in_(messages.MARKETING))
    query = query.where(message.c.accepted_at >= since)
    return [Touch._make(row) for row in tx.execute(query.order_by(message.c.id))]


def load_held_offers(tx: Transaction) -> list[HeldOffer]:
    """Return the open offers, and the accepted ones whose rep still has the lead, in order."""
    return [HeldOffer._make(row) for row in tx.execute(_held_offers_query())]


@cache
def _held_offers_query() -> Select[Any]:
    held = (offer.c.state == "accepted") & (custody.c.kind == Custodian.REP.value) & (custody.c.ref == offer.c.rep)
    return (
        select(*row_columns(HeldOffer, offer))
        .join(custody, custody.c.lead_id == offer.c.lead_id)
        .where(custody.c.kind.in_((Custodian.OFFER.value, Custodian.REP.value)), or_(offer.c.state == "offered", held))
        .order_by(offer.c.id)
    )


def load_waiting(tx: Transaction, other_queues: Collection[str]) -> list[WaitingLead]:
    """Return the leads in all queues but *other_queues*, in order."""
    query = select(*row_columns(WaitingLead, custody)).where(
        custody.c.kind == Custodian.QUEUE.value, custody.c.ref.not_in(other_queues)
    )
    return [WaitingLead._make(row) for row in tx.execute(query.order_by(custody.c.lead_id))]


def requeue_leased(tx: Transaction) -> None:
    """Plan again what a run held that was killed; the maildir and the CRM files hold each record once."""
    for queue in (messages.QUEUE, crm_records.QUEUE):
        held = update(queue.table).where(queue.table.c.state.in_(("claimed", "sending")))
        tx.execute(held.values(state="planned", claimed_at=None, lease_token=None, lease_until=None))


def load_addresses(tx: Transaction, lead_ids: Collection[int]) -> dict[int, str]:
    """Return the email address of each of these leads that has one."""
    query = select(lead.c.id, address.c.email).join(address, address.c.id == lead.c.address_id)
    return dict(tx.execute(query.where(lead.c.id.in_(lead_ids))).tuples().all())
