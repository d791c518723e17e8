"""Offers of leads to reps."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from nurture.db.tables.base import NEVER_REUSE_IDS, index_where, timestamp
from nurture.db.types import Id, generated_id, shared_primary_key


class Offer(SQLModel, table=True):
    """A hand-off to a rep; at most one is open per lead.

    *escalation_level* is the newest escalation step taken, *round* the number of reps offered since the hand-off,
    *priority* its priority when offered. `lapsed`: accepted and not followed up; `reassigned`: given to another rep
    by a person.
    """

    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            "state in ('offered', 'accepted', 'rejected', 'expired', 'withdrawn', 'reassigned', 'lapsed')", name="state"
        ),
        Index(
            "ix_offer_held_by_rep", "rep", **index_where("state in ('offered', 'accepted') and followed_up_at is null")
        ),
        Index("uq_offer_open", "lead_id", unique=True, **index_where("state = 'offered'")),
        Index("ix_offer_rep_offered_at", "rep", "offered_at"),
        NEVER_REUSE_IDS,
    )

    id: int | None = generated_id()
    lead_id: int = Field(sa_type=Id, foreign_key="lead.id", index=True)
    enrollment_id: int | None = Field(default=None, sa_type=Id, foreign_key="enrollment.id")
    rep: str
    rule: str
    handoff_reason: str
    routing_reason: str
    policy_version: int = Field(foreign_key="approval.policy_version")
    state: str = "offered"
    offered_at: datetime = timestamp()
    expires_at: datetime = timestamp()
    answered_at: datetime | None = timestamp(null=True)
    reason: str | None = None
    escalation_level: int = 0
    round: int = 1
    priority: float = 0.0
    hot: bool = False
    followed_up_at: datetime | None = timestamp(null=True)
    follow_up_method: str | None = None


class OfferRating(SQLModel, table=True):
    """Whether a lead was useful to the rep who accepted it; the newest rating counts."""

    __tablename__ = "offer_rating"

    offer_id: int = shared_primary_key("offer.id")
    rep: str
    useful: bool
    rated_at: datetime = timestamp()
