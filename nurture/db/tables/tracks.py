"""Leads on tracks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import NEVER_REUSE_IDS, index_where, timestamp
from nurture.db.types import Id, generated_id


class Enrollment(SQLModel, table=True):
    """A lead's enrollment on a track; at most one is open per lead."""

    __table_args__: ClassVar[Any] = (
        Index("uq_enrollment_open", "lead_id", unique=True, **index_where("ended_at is null")),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    track: str
    entered_at: datetime = timestamp()
    step: str
    visit: int = 1
    anchor_at: datetime = timestamp()
    reached_at: datetime = timestamp()
    ended_at: datetime | None = timestamp(null=True)
    end_reason: str | None = None
