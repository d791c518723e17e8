"""Leads, their addresses, custody and journal."""

from datetime import date, datetime
from typing import Any, ClassVar, Final

from sqlalchemy import CheckConstraint, Index, literal
from sqlmodel import Field

from nurture.db.tables.base import NEVER_REUSE_IDS, Model, index_where, table, timestamp
from nurture.db.types import Id, Json, generated_id, shared_primary_key


class Address(Model, table=True):
    """An email address. Suppressions belong to it, with or without a lead. An erased one has no *email*."""

    __table_args__: ClassVar[Any] = (Index("ix_address_erased", "id", **index_where("email = ''")),)

    id: int | None = generated_id()
    email: str
    normalized: str = Field(unique=True)


class Lead(Model, table=True):
    """A lead and its fields.

    *engagement* to *engagement_4* are the sums of the policy's half-lives at *engagement_at*, under the points
    *points_key*: null for a lead without signals, "" to be scored again. *touch_interval_days*: the lead asked for
    at most one touch in this many days. *call_on*: it asked to be called on this day. *restated_fields* are those that
    a file changed since a rep answered it. *customer_since*: when it became a customer. *erased_at*: the person asked
    for erasure; nothing more is recorded of the lead, and it never advances.
    """

    __table_args__: ClassVar[Any] = (
        Index("ix_lead_points_key", "points_key", **index_where("points_key is not null")),
        Index("ix_lead_source_created_at", "source", "created_at"),
        Index("ix_lead_country", "country"),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    address_id: int | None = Field(default=None, sa_type=Id, foreign_key="address.id", unique=True)
    source: str = ""
    fields: dict[str, Any] = Field(default_factory=dict, sa_type=Json, nullable=False)
    zone: str = ""
    country: str = ""
    consent_basis: str | None = None
    engagement: float = 0.0
    engagement_2: float | None = None
    engagement_3: float | None = None
    engagement_4: float | None = None
    engagement_at: datetime | None = timestamp(null=True)
    points_key: str | None = None
    decides_on: date | None = None
    decides_stated_at: datetime | None = timestamp(null=True)
    call_on: date | None = None
    customer_since: datetime | None = timestamp(null=True)
    paused_until: datetime | None = timestamp(null=True)
    paused_at: datetime | None = timestamp(null=True)
    paused_by: str | None = None
    touch_interval_days: int | None = None
    signals_since: datetime | None = timestamp(null=True)
    readiness: str = ""
    first_contact_at: datetime = timestamp()
    created_at: datetime = timestamp()
    updated_at: datetime = timestamp()
    erased_at: datetime | None = timestamp(null=True)
    restated_fields: list[str] | None = Field(default=None, sa_type=Json, nullable=True)


class Identity(Model, table=True):
    """The id of a lead in another system. *is_ambiguous*: the lead stands for a row whose id and address differ."""

    source: str = Field(primary_key=True)
    external_id: str = Field(primary_key=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    is_ambiguous: bool = False


class Custody(Model, table=True):
    """The custodian of a lead, one row each. `due_at` is the only wake-up column; null exactly when closed."""

    __table_args__: ClassVar[Any] = (
        CheckConstraint("kind in ('intake', 'track', 'queue', 'offer', 'rep', 'resting', 'closed')", name="kind"),
        CheckConstraint("(kind = 'closed') = (due_at is null)", name="due"),
        CheckConstraint("ref <> ''", name="ref"),
        CheckConstraint("next_action <> '' or kind = 'closed'", name="next_action"),
        Index("ix_custody_due", "kind", "due_at", **index_where("due_at is not null")),
        Index("ix_custody_queue", "ref", "since", **index_where("kind = 'queue'")),
    )

    lead_id: int = shared_primary_key("lead.id")
    kind: str
    ref: str
    since: datetime = timestamp()
    next_action: str
    due_at: datetime | None = timestamp(null=True)
    version: int = Field(default=1, sa_type=Id, nullable=False)


class Journal(Model, table=True):
    """Every decision and every change of custodian, with its reason. Append-only; holds ids, no names."""

    __table_args__: ClassVar[Any] = (
        Index("ix_journal_lead_id", "lead_id", "id"),
        Index(
            "ix_journal_custody_changes",
            "lead_id",
            "id",
            "custody_from",
            "custody_to",
            **index_where("custody_to is not null"),
        ),
        Index("ix_journal_custody_changes_at", "at", **index_where("custody_to is not null")),
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    at: datetime = timestamp()
    stage: str
    event: str
    reason: str
    enrollment_id: int | None = Field(default=None, sa_type=Id)
    track: str | None = None
    track_version: int | None = None
    policy_version: int | None = None
    step: str | None = None
    detail: dict[str, Any] | None = Field(default=None, sa_type=Json, nullable=True)
    custody_from: str | None = None
    custody_to: str | None = None
    ref: str | None = None


address = table(Address)
lead = table(Lead)
identity = table(Identity)
custody = table(Custody)
journal = table(Journal)

IN_QUEUE: Final = custody.c.kind == literal("queue", literal_execute=True)
"""The lead waits in a queue; written as in `ix_custody_queue`, without which SQLite does not use that index."""
