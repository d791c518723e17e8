"""Tables of what the CRM knows of us and we of it, on the same metadata as those in `tables`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from nurture.db.tables import sales
from nurture.db.tables.core import moment, where
from nurture.db.types import Id, generated_id, key_to

metadata = sales.metadata


class CrmRecord(SQLModel, table=True):
    """What the CRM is to know of one hand-off: written with the offer, carried there later, once.

    *wanted* is the offer's newest state, *written* the last one that the CRM took; they differ while
    something waits. *crm* and *crm_id* say where it lies.
    """

    __tablename__ = "crm_record"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "state in ('planned', 'claimed', 'sending', 'done', 'in_doubt', 'refused')", name="state"
        ),
        Index("ix_crm_record_lead_id", "lead_id", "id"),
        Index("ix_crm_record_waiting", "due_at", **where("state = 'planned'")),
        Index("ix_crm_record_leased", "lease_until", **where("state in ('claimed', 'sending')")),
        Index("ix_crm_record_unsettled", "state_at", **where("state in ('in_doubt', 'refused')")),
    )

    id: int | None = generated_id()
    key: str = Field(unique=True)
    offer_id: int = Field(sa_type=Id, foreign_key="offer.id", unique=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    wanted: str
    wanted_at: datetime = moment()
    written: str | None = None
    written_at: datetime | None = moment(null=True)
    state: str = "planned"
    state_at: datetime = moment()
    due_at: datetime = moment()
    lease_token: str | None = None
    lease_until: datetime | None = moment(null=True)
    attempts: int = 0
    crm: str | None = None
    crm_id: str | None = None
    reason: str | None = None


class CrmLink(SQLModel, table=True):
    """How a lead stood in a CRM when it was last seen there.

    *owner* is a rep's id, "" for nobody, "?" for somebody whom the policy does not name. *handoff* and
    *stage* are what the CRM holds in our own fields.
    """

    __tablename__ = "crm_link"

    crm: str = Field(primary_key=True)
    lead_id: int = key_to("lead.id", index=True)
    crm_id: str
    status: str = ""
    owner: str = ""
    handoff: str = ""
    stage: str = ""
    changed_at: datetime = moment()
    seen_at: datetime = moment()


class CrmCursor(SQLModel, table=True):
    """How far a CRM's changes have been read."""

    __tablename__ = "crm_cursor"

    crm: str = Field(primary_key=True)
    cursor: str
    read_at: datetime = moment()


class OutcomeTold(SQLModel, table=True):
    """An outcome as somebody told it, once by its natural key, and what it did.

    *verdict*: `closed` the lead, was the `same` as what was known, `completed` it with an amount, or
    `contradicts` it; then a person settles it (*settled*: took or kept).
    """

    __tablename__ = "outcome_told"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("verdict in ('closed', 'same', 'completed', 'contradicts')", name="verdict"),
        CheckConstraint("settled in ('took', 'kept')", name="settled"),
        Index("ix_outcome_told_open", "id", **where("verdict = 'contradicts' and settled is null")),
    )

    id: int | None = generated_id()
    natural_key: str = Field(unique=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    closing: str
    happened_at: datetime = moment()
    amount: float | None = None
    reason: str = ""
    source: str
    told_at: datetime = moment()
    verdict: str
    settled: str | None = None
    settled_at: datetime | None = moment(null=True)
