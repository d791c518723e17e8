"""Rows for the sales report: offers, hand-off times and outcomes."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from nurture.db.tables.crm import crm_link
from nurture.db.tables.handoff import offer
from nurture.db.tables.handoff import offer_rating as vote
from nurture.db.tables.leads import journal, lead
from nurture.db.tables.outcomes import outcome
from nurture.db.transaction import Transaction


class OfferRecord(NamedTuple):
    """One offer. *ended_at* is when an accepted one ended.

    *crm_owner* is the current owner of the lead in the CRM, "" if unknown.
    """

    id: int
    lead_id: int
    rep: str
    rule: str
    state: str
    reason: str | None
    round: int
    policy_version: int
    offered_at: datetime
    answered_at: datetime | None
    followed_up_at: datetime | None
    ended_at: datetime | None
    useful: bool | None
    crm_owner: str


class OutcomeRecord(NamedTuple):
    """One outcome of a lead."""

    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None


def list_offers(tx: Transaction, source: str | None = None) -> Iterator[OfferRecord]:
    """Yield every offer, ordered by lead and id."""
    owners = (
        select(crm_link.c.lead_id, func.max(crm_link.c.owner).label("owner"))
        .where(crm_link.c.owner.not_in(("", "?")))
        .group_by(crm_link.c.lead_id)
        .subquery()
    )
    query = (
        select(
            *(offer.c[name] for name in OfferRecord._fields if name in offer.c),
            vote.c.useful,
            func.coalesce(owners.c.owner, ""),
        )
        .outerjoin(vote, vote.c.offer_id == offer.c.id)
        .outerjoin(owners, owners.c.lead_id == offer.c.lead_id)
        .order_by(offer.c.lead_id, offer.c.id)
    )
    if source is not None:
        query = query.join(lead, lead.c.id == offer.c.lead_id).where(lead.c.source == source)
    return (OfferRecord._make(row) for row in tx.execute(query))


def list_handoff_times(tx: Transaction) -> dict[int, list[datetime]]:
    """Return the hand-off times of each lead, earliest first."""
    query = select(journal.c.lead_id, journal.c.at).where(journal.c.event == "hand_off")
    found: dict[int, list[datetime]] = {}
    for lead_id, at in tx.execute(query.order_by(journal.c.id)):
        found.setdefault(lead_id, []).append(at)
    return found


def list_outcomes(tx: Transaction) -> dict[int, list[OutcomeRecord]]:
    """Return the outcomes of each lead that had an offer, earliest first."""
    query = (
        select(*(outcome.c[name] for name in OutcomeRecord._fields))
        .where(outcome.c.lead_id.in_(select(offer.c.lead_id)))
        .order_by(outcome.c.happened_at, outcome.c.id)
    )
    found: dict[int, list[OutcomeRecord]] = {}
    for row in map(OutcomeRecord._make, tx.execute(query)):
        found.setdefault(row.lead_id, []).append(row)
    return found
