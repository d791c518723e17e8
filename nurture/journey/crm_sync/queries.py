"""Read and write the last known CRM state of leads, and the pull cursor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from nurture.db.row_values import row_columns
from nurture.db.tables.crm import crm_cursor as cursor
from nurture.db.tables.crm import crm_link as link
from nurture.db.tables.crm import crm_record as record
from nurture.db.tables.handoff import offer
from nurture.db.tables.leads import custody, lead
from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian

UNKNOWN_OWNER: Final = "?"
"""An owner unknown to the policy."""


class CrmLeadState(NamedTuple):
    """A lead as last seen in the CRM."""

    crm: str
    lead_id: int
    crm_id: str
    crm_status: str
    owner: str
    handoff_key: str
    handoff_status: str
    changed_at: datetime
    seen_at: datetime


class HandoffState(NamedTuple):
    """Our view of a pushed lead: its newest hand-off and its custodian."""

    lead_id: int
    offer_id: int
    rep: str
    state: str
    offered_at: datetime
    answered_at: datetime | None
    followed_up_at: datetime | None
    touched_at: datetime | None
    crm_state: str | None
    record_state: str
    custodian: str
    custody_ref: str
    customer_since: datetime | None

    @property
    def is_held(self) -> bool:
        """Return whether its rep has the lead, or was offered it."""
        return (self.state, self.custodian, self.custody_ref) in (
            ("offered", Custodian.OFFER.value, str(self.offer_id)),
            ("accepted", Custodian.REP.value, self.rep),
        )


def load_cursor(tx: Transaction, crm: str) -> str:
    """Return the cursor of *crm*, "" before its first page."""
    return tx.execute(select(cursor.c.cursor).where(cursor.c.crm == crm)).scalar() or ""


def save_cursor(tx: Transaction, crm: str, to: str, now: datetime) -> None:
    """Store that the changes of *crm* are read up to *to*."""
    maker = sqlite.insert if tx.is_sqlite else postgresql.insert
    row = maker(cursor).values(crm=crm, cursor=to, read_at=now)
    tx.execute(row.on_conflict_do_update(index_elements=[cursor.c.crm], set_={"cursor": to, "read_at": now}))


def load_links(tx: Transaction, crm: str, lead_ids: Sequence[int]) -> dict[int, CrmLeadState]:
    """Return the last known CRM state of each of these leads."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    query = select(*(link.c[name] for name in CrmLeadState._fields)).join(chosen, chosen.c.id == link.c.lead_id)
    return {row.lead_id: row for row in map(CrmLeadState._make, tx.execute(query.where(link.c.crm == crm)))}


def save_links(tx: Transaction, links: Sequence[CrmLeadState]) -> None:
    """Store the CRM state of leads, replacing the previous one."""
    if not links:
        return
    chosen = tx.ids("chosen", sorted({one.lead_id for one in links}))
    old = link.delete().where(link.c.crm == links[0].crm, link.c.lead_id.in_(select(chosen.c.id)))
    tx.execute(old)
    tx.insert(link, CrmLeadState._fields, links)


def add_links(tx: Transaction, links: Sequence[CrmLeadState]) -> None:
    """Store the CRM state of leads of which none is known."""
    tx.insert(link, CrmLeadState._fields, links, ignore_conflicts=True)


def load_handoffs(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, HandoffState]:
    """Return our view of each of these leads that was handed off."""
    chosen = tx.ids("chosen", sorted(set(lead_ids)))
    newest = (
        select(func.max(record.c.id).label("id"))
        .join(chosen, chosen.c.id == record.c.lead_id)
        .group_by(record.c.lead_id)
        .subquery()
    )
    return {row.lead_id: row for row in _load_handoff_states(tx, newest.c.id)}


def load_pushed_handoffs(tx: Transaction, crm: str, after: int, limit: int) -> list[HandoffState]:
    """Return our view of leads pushed to *crm*, by lead id, after lead *after*."""
    newest = (
        select(func.max(record.c.id).label("id"))
        .where(record.c.provider == crm, record.c.lead_id > after)
        .group_by(record.c.lead_id)
        .order_by(record.c.lead_id)
        .limit(limit)
        .subquery()
    )
    return sorted(_load_handoff_states(tx, newest.c.id))


def _load_handoff_states(tx: Transaction, newest: Any) -> list[HandoffState]:
    query = (
        select(
            *row_columns(
                HandoffState,
                offer,
                record,
                lead,
                crm_state=record.c.pushed_state,
                record_state=record.c.state,
                offer_id=offer.c.id,
                custodian=custody.c.kind,
                custody_ref=custody.c.ref,
            )
        )
        .join(offer, offer.c.id == record.c.offer_id)
        .join(custody, custody.c.lead_id == record.c.lead_id)
        .join(lead, lead.c.id == record.c.lead_id)
        .where(record.c.id == newest)
    )
    return [HandoffState._make(row) for row in tx.execute(query)]
