"""Offers of leads to reps."""

from datetime import date, datetime
from typing import Any, ClassVar, Final

from sqlalchemy import CheckConstraint, Index, literal
from sqlmodel import Field

from nurture.db.tables.base import NEVER_REUSE_IDS, Model, index_where, table, timestamp
from nurture.db.types import Id, generated_id, shared_primary_key


class Offer(Model, table=True):
    """A hand-off to a rep; at most one is open per lead.

    *escalation_level* is the newest escalation step taken, *round* the number of reps offered since the hand-off,
    *priority* its priority when offered, *tier* its tier of speed. While a rep works the lead: *touched_at* is the
    newest contact, *next_step_on* the day of the agreed next step, *stage* what the rep says of it, *asked_at* when the
    rep was asked how it stands; *ended_at* is when an accepted hand-off ended, *note* what the rep wrote on giving it
    back. `lapsed`: accepted and not followed up, or silent after that; `reassigned`: given to another rep by a person.
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
        Index("ix_offer_offered_at", "offered_at"),
        Index("ix_offer_ended_at", "ended_at", **index_where("ended_at is not null")),
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
    touched_at: datetime | None = timestamp(null=True)
    asked_at: datetime | None = timestamp(null=True)
    ended_at: datetime | None = timestamp(null=True)
    next_step_on: date | None = None
    stage: str | None = None
    tier: str | None = None
    note: str | None = None


class OfferRating(Model, table=True):
    """Whether a lead was useful to the rep who accepted it; the newest rating counts."""

    offer_id: int = shared_primary_key("offer.id")
    rep: str
    useful: bool
    rated_at: datetime = timestamp()


offer = table(Offer)
offer_rating = table(OfferRating)

IS_OPEN: Final = offer.c.state == literal("offered", literal_execute=True)
"""Nobody answered it; written as in `uq_offer_open`, without which SQLite does not use that index."""
