"""Leads on tracks."""

from datetime import datetime
from typing import Any, ClassVar, Final

from sqlalchemy import Index, and_
from sqlmodel import Field

from nurture.db.tables.base import NEVER_REUSE_IDS, Model, index_where, table, timestamp
from nurture.db.types import Id, generated_id, shared_primary_key


class Enrollment(Model, table=True):
    """A lead's enrollment on a track. *track_version* is the one that it entered.

    It is active, suspended while the lead is on another track, or ended. At most one is active per lead.
    """

    __table_args__: ClassVar[Any] = (
        Index(
            "uq_enrollment_active",
            "lead_id",
            unique=True,
            **index_where("ended_at is null and suspended_at is null"),
        ),
        Index(
            "ix_enrollment_step",
            *("track", "step", "lead_id", "suspended_at", "ended_at"),
            **index_where("ended_at is null and suspended_at is null"),
        ),
        Index("ix_enrollment_ended_at", "ended_at", **index_where("ended_at is not null")),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    track: str
    track_version: int = 0
    entered_at: datetime = timestamp()
    step: str
    visit: int = 1
    anchor_at: datetime = timestamp()
    reached_at: datetime = timestamp()
    suspended_at: datetime | None = timestamp(null=True)
    ended_at: datetime | None = timestamp(null=True)
    end_reason: str | None = None


class AudienceExclusion(Model, table=True):
    """A lead that fitted the audience of *track* when it was published, and was not to be taken in.

    It may enter once the audience was false for it, which deletes the row.
    """

    lead_id: int = shared_primary_key("lead.id")
    track: str = Field(primary_key=True)
    excluded_at: datetime = timestamp()


enrollment = table(Enrollment)
audience_exclusion = table(AudienceExclusion)

IS_ACTIVE: Final = and_(enrollment.c.ended_at.is_(None), enrollment.c.suspended_at.is_(None))
"""The enrollment of a lead that counts now: it is neither ended nor suspended."""
