"""Rows for the sales report: every offer with what followed, every hand-off, every outcome."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table, func, select

from nurture.db.tables import core, crm, sales

crm_link: Table = crm.CrmLink.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]
lead: Table = core.Lead.__table__  # type: ignore[attr-defined]
offer: Table = core.Offer.__table__  # type: ignore[attr-defined]
outcome: Table = core.Outcome.__table__  # type: ignore[attr-defined]
vote: Table = sales.Vote.__table__  # type: ignore[attr-defined]


class Made(NamedTuple):
    """One offer. *crm_owner* is who owns the lead in the CRM today, "" where that is not known."""

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
    useful: bool | None
    crm_owner: str


class Ended(NamedTuple):
    """One outcome of a lead."""

    lead_id: int
    closing: str
    happened_at: datetime
    amount: float | None


def made(connection: Connection, source: str | None = None) -> Iterator[Made]:
    """Yield every offer, lead by lead, the oldest of each first."""
    owners = (
        select(crm_link.c.lead_id, func.max(crm_link.c.owner).label("owner"))
        .where(crm_link.c.owner.not_in(("", "?")))
        .group_by(crm_link.c.lead_id)
        .subquery()
    )
    wanted = (
        select(
            *(offer.c[name] for name in Made._fields if name in offer.c),
            vote.c.useful,
            func.coalesce(owners.c.owner, ""),
        )
        .outerjoin(vote, vote.c.offer_id == offer.c.id)
        .outerjoin(owners, owners.c.lead_id == offer.c.lead_id)
        .order_by(offer.c.lead_id, offer.c.id)
    )
    if source is not None:
        wanted = wanted.join(lead, lead.c.id == offer.c.lead_id).where(lead.c.source == source)
    return (Made._make(row) for row in connection.execute(wanted))


def handed_off(connection: Connection) -> dict[int, list[datetime]]:
    """Return when each lead was handed off, the first time first."""
    wanted = select(journal.c.lead_id, journal.c.at).where(journal.c.event == "hand_off")
    found: dict[int, list[datetime]] = {}
    for lead_id, at in connection.execute(wanted.order_by(journal.c.id)):
        found.setdefault(lead_id, []).append(at)
    return found


def ended(connection: Connection) -> dict[int, list[Ended]]:
    """Return the outcomes of each lead that had an offer, the first one first."""
    wanted = (
        select(*(outcome.c[name] for name in Ended._fields))
        .where(outcome.c.lead_id.in_(select(offer.c.lead_id)))
        .order_by(outcome.c.happened_at, outcome.c.id)
    )
    found: dict[int, list[Ended]] = {}
    for row in map(Ended._make, connection.execute(wanted)):
        found.setdefault(row.lead_id, []).append(row)
    return found
