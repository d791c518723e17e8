"""Tables of the sales side, on the same metadata as those in `tables`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from nurture.db.tables import engagement
from nurture.db.tables.core import timestamp
from nurture.db.types import Id, Json, generated_id, shared_primary_key

metadata = engagement.metadata


class Approval(SQLModel, table=True):
    """Who approved a version of the policy, for which day, and when that was recorded. Append-only.

    *method*: `first` (there was none before it), `approved`, or `unchanged` (it means what the one before it
    meant). Hand-offs refer to it: none is made under a version that nobody approved.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("method in ('first', 'approved', 'unchanged')", name="method"),
        CheckConstraint("approved_by <> ''", name="approved_by"),
    )

    policy_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    publication_id: int = Field(sa_type=Id, foreign_key="publication.id", unique=True)
    approved_by: str
    approved_on: date
    recorded_at: datetime = timestamp()
    method: str


class Account(SQLModel, table=True):
    """A company that somebody owns. *domains* are registrable ones; *owner* is a rep's id, "" for nobody."""

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


class LeadAccount(SQLModel, table=True):
    """To which account a lead belongs, the *method* by which that is known, and why.

    `manual` without an account: it has none.
    """

    __tablename__ = "lead_account"
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


class RepLeave(SQLModel, table=True):
    """Days on which a rep takes no leads, the last one included, and who stands in."""

    __tablename__ = "rep_leave"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("first_day <= last_day", name="days"),
        Index("ix_rep_leave_last_day", "last_day"),
    )

    id: int | None = generated_id()
    rep: str
    first_day: date
    last_day: date
    deputy: str | None = None
    recorded_at: datetime = timestamp()
    cancelled_at: datetime | None = timestamp(null=True)


class RoundRobinCount(SQLModel, table=True):
    """How many leads a rep was given in turn, for each set of people and weights that took turns."""

    __tablename__ = "round_robin_count"

    rotation_key: str = Field(primary_key=True)
    rep: str = Field(primary_key=True)
    assigned: int = Field(sa_type=Id, nullable=False)


class RoutingDecision(SQLModel, table=True):
    """One decision of routing: what was asked, whole, and what came of it with one reason for each rule.

    *request* holds fields of the lead: whoever erases a lead deletes its rows.
    """

    __tablename__ = "routing_decision"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("(rep is null) <> (queue is null)", name="result"),
        Index("ix_routing_decision_lead_id", "lead_id", "id"),
        Index(
            "ix_routing_decision_offer_id",
            "offer_id",
            sqlite_where=text("offer_id is not null"),
            postgresql_where=text("offer_id is not null"),
        ),
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    at: datetime = timestamp()
    policy_version: int
    rule: str
    rep: str | None = None
    queue: str | None = None
    reasons: list[str] = Field(sa_column=Column(Json, nullable=False))
    request: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))


class MissingField(SQLModel, table=True):
    """A fact that routing waited for: since when, how long at most, and how it came to be known."""

    __tablename__ = "missing_field"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("(filled_at is null) = (filled_by is null)", name="filled"),
        CheckConstraint("filled_by in ('lead', 'source')", name="filled_by"),
        Index("ix_missing_field_field", "field"),
    )

    lead_id: int = shared_primary_key("lead.id")
    field: str = Field(primary_key=True)
    rule: str
    requested_at: datetime = timestamp()
    due_at: datetime = timestamp()
    filled_at: datetime | None = timestamp(null=True)
    filled_by: str | None = None


class QueuePriority(SQLModel, table=True):
    """How urgent a lead's newest hand-off is: what its rule and fit are worth, and since when it waits.

    *rank* is its place in the queue, the earlier the sooner; it does not change while the lead waits.
    """

    __tablename__ = "queue_priority"

    lead_id: int = shared_primary_key("lead.id")
    rule: str
    points: int
    hot: bool
    since: datetime = timestamp()
    rank: datetime = timestamp()


class CapacityForecast(SQLModel, table=True):
    """How full the reps were when they were last offered leads, and when room is foreseen, null for now."""

    __tablename__ = "capacity_forecast"
    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="single_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = timestamp()
    daily_capacity: int
    offered_today: int
    waiting: int
    full_until: datetime | None = timestamp(null=True)


class QueueScan(SQLModel, table=True):
    """Which reps had room at the end of the newest look at the whole queue to sales: none takes who waits.

    Whoever has room and is not among *available_reps* is news: the queue is looked at again.
    """

    __tablename__ = "queue_scan"
    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="single_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = timestamp()
    available_reps: list[str] = Field(sa_column=Column(Json, nullable=False))


class WorkspaceLink(SQLModel, table=True):
    """A link to a rep's own page. Only its token's SHA-256 is kept; it ends at *expires_at*, or revoked."""

    __tablename__ = "workspace_link"
    __table_args__: ClassVar[Any] = (Index("ix_workspace_link_rep", "rep"),)

    digest: str = Field(primary_key=True)
    rep: str
    created_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    revoked_at: datetime | None = timestamp(null=True)


class OfferRating(SQLModel, table=True):
    """Whether a lead was useful to the rep who took it; the last word counts."""

    __tablename__ = "offer_rating"

    offer_id: int = shared_primary_key("offer.id")
    rep: str
    useful: bool
    rated_at: datetime = timestamp()
