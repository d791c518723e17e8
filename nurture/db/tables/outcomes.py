"""How leads ended."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field

from nurture.db.tables.base import Model, index_where, table, timestamp
from nurture.db.types import Id, generated_id


class Outcome(Model, table=True):
    """How a lead ended, as sales reports it."""

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    closing: str
    happened_at: datetime = timestamp()
    amount: float | None = None
    reason: str = ""
    source: str
    recorded_at: datetime = timestamp()


class OutcomeReport(Model, table=True):
    """A report of an outcome, once by its natural key, and its effect.

    *verdict*: it `closed` the lead, was the `same` as known, `completed` it with an amount, or is in `conflict` with
    it; then a person resolves it (*resolution*).
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint("verdict in ('closed', 'same', 'completed', 'conflict')", name="verdict"),
        CheckConstraint("resolution in ('accepted', 'dismissed')", name="resolution"),
        Index("ix_outcome_report_unresolved", "id", **index_where("verdict = 'conflict' and resolution is null")),
    )

    id: int | None = generated_id()
    natural_key: str = Field(unique=True)
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    closing: str
    happened_at: datetime = timestamp()
    amount: float | None = None
    reason: str = ""
    source: str
    reported_at: datetime = timestamp()
    verdict: str
    resolution: str | None = None
    resolved_at: datetime | None = timestamp(null=True)


outcome = table(Outcome)
outcome_report = table(OutcomeReport)
