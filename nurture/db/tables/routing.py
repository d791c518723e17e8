"""Which rep gets a lead."""

from datetime import date, datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Column, Index
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import Id, Json, generated_id, shared_primary_key


class RepLeave(Model, table=True):
    """Days on which a rep takes no leads, both included, and the deputy."""

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


class RoundRobinCount(Model, table=True):
    """How many leads a rep got by round robin, for each set of reps and weights."""

    rotation_key: str = Field(primary_key=True)
    rep: str = Field(primary_key=True)
    assigned: int = Field(sa_type=Id, nullable=False)


class RoutingDecision(Model, table=True):
    """A routing decision: the whole request, and the result with one reason for each rule.

    *request* holds fields of the lead: erasing a lead deletes its rows.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("(rep is null) <> (queue is null)", name="result"),
        Index("ix_routing_decision_lead_id", "lead_id", "id"),
        Index("ix_routing_decision_offer_id", "offer_id", **index_where("offer_id is not null")),
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


class MissingField(Model, table=True):
    """A field that routing waited for: since when, until when, and how it was filled."""

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


class QueuePriority(Model, table=True):
    """The priority of a lead's newest hand-off: points of its rule and fit, and since when it waits.

    *rank* orders the queue, earliest first; it does not change while the lead waits.
    """

    lead_id: int = shared_primary_key("lead.id")
    rule: str
    points: int
    hot: bool
    since: datetime = timestamp()
    rank: datetime = timestamp()


class CapacityForecast(Model, table=True):
    """The capacity of reps when leads were last offered, and until when they are full, null if not."""

    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="single_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = timestamp()
    daily_capacity: int
    offered_today: int
    waiting: int
    full_until: datetime | None = timestamp(null=True)


class QueueScan(Model, table=True):
    """The reps with capacity at the end of the newest scan of the whole hand-off queue, which took no waiting lead.

    The queue is scanned again when a rep that is not in *available_reps* has capacity.
    """

    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="single_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = timestamp()
    available_reps: list[str] = Field(sa_column=Column(Json, nullable=False))


rep_leave = table(RepLeave)
round_robin_count = table(RoundRobinCount)
routing_decision = table(RoutingDecision)
missing_field = table(MissingField)
queue_priority = table(QueuePriority)
capacity_forecast = table(CapacityForecast)
queue_scan = table(QueueScan)
