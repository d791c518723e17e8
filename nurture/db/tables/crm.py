"""The outbox and the state of the CRM sync."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import Id, generated_id, shared_primary_key


class CrmRecord(Model, table=True):
    """The CRM record of a hand-off: planned with the offer, pushed later, once.

    *target_state* is the offer's newest state, *pushed_state* the last one that the CRM took; they differ
    while a push waits. *provider* and *crm_id* identify the record in the CRM.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("state in ('planned', 'claimed', 'sending', 'done', 'unknown', 'rejected')", name="state"),
        Index("ix_crm_record_lead_id", "lead_id", "id"),
        Index("ix_crm_record_due", "send_at", **index_where("state = 'planned'")),
        Index("ix_crm_record_leased", "lease_until", **index_where("state in ('claimed', 'sending')")),
        Index("ix_crm_record_unresolved", "state_at", **index_where("state in ('unknown', 'rejected')")),
    )

    id: int | None = generated_id()
    send_key: str = Field(unique=True)
    offer_id: int = Field(sa_type=Id, foreign_key="offer.id", unique=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    target_state: str
    target_set_at: datetime = timestamp()
    pushed_state: str | None = None
    pushed_at: datetime | None = timestamp(null=True)
    state: str = "planned"
    state_at: datetime = timestamp()
    send_at: datetime = timestamp()
    claimed_at: datetime | None = timestamp(null=True)
    lease_token: str | None = None
    lease_until: datetime | None = timestamp(null=True)
    attempts: int = 0
    provider: str | None = None
    crm_id: str | None = None
    reason: str | None = None


class CrmLink(Model, table=True):
    """The newest state of a lead in a CRM.

    *owner* is a rep's id, "" for nobody, "?" for somebody whom the policy does not name. *handoff_key*
    and *handoff_status* are what the CRM holds in our own fields.
    """

    crm: str = Field(primary_key=True)
    lead_id: int = shared_primary_key("lead.id", index=True)
    crm_id: str
    crm_status: str = ""
    owner: str = ""
    handoff_key: str = ""
    handoff_status: str = ""
    changed_at: datetime = timestamp()
    seen_at: datetime = timestamp()


class CrmCursor(Model, table=True):
    """The position in a CRM's changes."""

    crm: str = Field(primary_key=True)
    cursor: str
    read_at: datetime = timestamp()


crm_record = table(CrmRecord)
crm_link = table(CrmLink)
crm_cursor = table(CrmCursor)
