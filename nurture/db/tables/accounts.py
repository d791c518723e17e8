"""Companies to which leads belong."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Index, UniqueConstraint
from sqlmodel import Field

from nurture.db.tables.base import Model, table, timestamp
from nurture.db.types import Id, Json, generated_id, shared_primary_key


class Account(Model, table=True):
    """A company. *domains* are registrable domains; *owner* is a rep's id, "" for nobody."""

    __table_args__: ClassVar[Any] = (
        UniqueConstraint("source", "external_id"),
        CheckConstraint("kind in ('customer', 'prospect', 'partner')", name="kind"),
        CheckConstraint("name <> ''", name="name"),
        Index("ix_account_parent_id", "parent_id"),
    )

    id: int | None = generated_id()
    source: str
    external_id: str
    name: str
    domains: list[str] = Field(sa_column=Column(Json, nullable=False))
    owner: str = ""
    kind: str = "prospect"
    parent_id: int | None = Field(default=None, sa_type=Id, foreign_key="account.id")
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()


class LeadAccount(Model, table=True):
    """The account of a lead, the *method* that matched it, and the reason.

    `manual` without an account: a person decided that the lead has none.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("method in ('matched', 'manual')", name="method"),
        CheckConstraint("account_id is not null or method = 'manual'", name="account_id"),
        Index("ix_lead_account_account_id", "account_id"),
    )

    lead_id: int = shared_primary_key("lead.id")
    account_id: int | None = Field(default=None, sa_type=Id, foreign_key="account.id")
    method: str
    reason: str
    at: datetime = timestamp()


account = table(Account)
lead_account = table(LeadAccount)
