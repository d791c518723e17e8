"""Tables of the sales side, on the same metadata as those in `tables`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from nurture.db.tables import engagement
from nurture.db.tables.core import moment
from nurture.db.types import Id, Json, generated_id, key_to

metadata = engagement.metadata


class Approval(SQLModel, table=True):
    """Who approved a version of the policy, for which day, and when that was recorded. Append-only.

    *how*: `first` (there was none before it), `approved`, or `unchanged` (it means what the one before it
    meant). Hand-offs refer to it: none is made under a version that nobody approved.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("how in ('first', 'approved', 'unchanged')", name="how"),
        CheckConstraint("approved_by <> ''", name="approved_by"),
    )

    policy_version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    publication_id: int = Field(sa_type=Id, foreign_key="publication.id", unique=True)
    approved_by: str
    approved_on: date
    recorded_at: datetime = moment()
    how: str


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
    created_at: datetime = moment()
    updated_at: datetime = moment()


class LeadAccount(SQLModel, table=True):
    """To which account a lead belongs, *how* that is known, and why. Settled without one: it has none."""

    __tablename__ = "lead_account"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("how in ('matched', 'settled')", name="how"),
        CheckConstraint("account_id is not null or how = 'settled'", name="account_id"),
        Index("ix_lead_account_account_id", "account_id"),
    )

    lead_id: int = key_to("lead.id")
    account_id: int | None = Field(default=None, sa_type=Id, foreign_key="account.id")
    how: str
    because: str
    at: datetime = moment()


class Leave(SQLModel, table=True):
    """Days on which a rep takes no leads, the last one included, and who stands in."""

    __table_args__: ClassVar[Any] = (
        CheckConstraint("first_day <= last_day", name="days"),
        Index("ix_leave_last_day", "last_day"),
    )

    id: int | None = generated_id()
    rep: str
    first_day: date
    last_day: date
    deputy: str | None = None
    recorded_at: datetime = moment()
    cancelled_at: datetime | None = moment(null=True)


class PoolTurn(SQLModel, table=True):
    """How many leads a rep was given in turn, for each set of people and weights that took turns."""

    __tablename__ = "pool_turn"

    key: str = Field(primary_key=True)
    rep: str = Field(primary_key=True)
    given: int = Field(sa_type=Id, nullable=False)


class Routing(SQLModel, table=True):
    """One decision of routing: what was asked, whole, and what came of it with one reason for each rule.

    *asked* holds facts of the lead: whoever erases a lead deletes its rows.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("(rep is null) <> (queue is null)", name="result"),
        Index("ix_routing_lead_id", "lead_id", "id"),
        Index(
            "ix_routing_offer_id",
            "offer_id",
            sqlite_where=text("offer_id is not null"),
            postgresql_where=text("offer_id is not null"),
        ),
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id")
    offer_id: int | None = Field(default=None, sa_type=Id, foreign_key="offer.id")
    at: datetime = moment()
    policy_version: int
    rule: str
    rep: str | None = None
    queue: str | None = None
    because: list[str] = Field(sa_column=Column(Json, nullable=False))
    asked: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))


class FactWanted(SQLModel, table=True):
    """A fact that routing waited for: since when, how long at most, and how it came to be known."""

    __tablename__ = "fact_wanted"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("(filled_at is null) = (filled_by is null)", name="filled"),
        CheckConstraint("filled_by in ('lead', 'source')", name="filled_by"),
        Index("ix_fact_wanted_field", "field"),
    )

    lead_id: int = key_to("lead.id")
    field: str = Field(primary_key=True)
    rule: str
    wanted_at: datetime = moment()
    overdue_at: datetime = moment()
    filled_at: datetime | None = moment(null=True)
    filled_by: str | None = None


class Urgency(SQLModel, table=True):
    """How urgent a lead's newest hand-off is: what its rule and fit are worth, and since when it waits.

    *rank* is its place in the queue, the earlier the sooner; it does not change while the lead waits.
    """

    lead_id: int = key_to("lead.id")
    rule: str
    points: int
    hot: bool
    since: datetime = moment()
    rank: datetime = moment()


class Pressure(SQLModel, table=True):
    """How full the reps were when they were last offered leads, and when room is foreseen, null for now."""

    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="one"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = moment()
    places: int
    given: int
    waiting: int
    full_until: datetime | None = moment(null=True)


class QueueLook(SQLModel, table=True):
    """Which reps had room at the end of the newest look at the whole queue to sales: none takes who waits.

    Whoever has room and is not among *free* is news: the queue is looked at again.
    """

    __tablename__ = "queue_look"
    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="one"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = moment()
    free: list[str] = Field(sa_column=Column(Json, nullable=False))


class RepLink(SQLModel, table=True):
    """A link to a rep's own page. Only its token's SHA-256 is kept; it ends at *expires_at*, or revoked."""

    __tablename__ = "rep_link"
    __table_args__: ClassVar[Any] = (Index("ix_rep_link_rep", "rep"),)

    digest: str = Field(primary_key=True)
    rep: str
    created_at: datetime = moment()
    expires_at: datetime = moment()
    revoked_at: datetime | None = moment(null=True)


class Vote(SQLModel, table=True):
    """Whether a lead was useful to the rep who took it; the last word counts."""

    offer_id: int = key_to("offer.id")
    rep: str
    useful: bool
    voted_at: datetime = moment()
