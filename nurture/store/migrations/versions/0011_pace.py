"""Pace: how urgent hand-offs are, how far up their ladders, what was followed up, and how full reps are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0011_pace"
down_revision = "0010_offers"

_IN_HAND = sa.text("state in ('offered', 'accepted') and followed_up_at is null")
_STATES = "('offered', 'accepted', 'rejected', 'expired', 'withdrawn', 'reassigned', 'lapsed')"


def upgrade() -> None:
    """Add the columns and the tables; what sales took over and has no more counts as followed up."""
    for name, kind in (
        ("level", sa.Integer),
        ("round", sa.Integer),
        ("urgency", sa.Float),
        ("hot", sa.Boolean),
        ("followed_up_at", UtcDateTime),
        ("followed_how", sa.String),
    ):
        op.add_column("offer", sa.Column(name, kind))
    op.execute(sa.text("UPDATE offer SET level = 0, round = 1, urgency = 0, hot = false"))
    op.execute(
        sa.text(
            "UPDATE offer SET followed_up_at = answered_at, followed_how = 'not known' "
            "WHERE state = 'accepted' AND NOT EXISTS (SELECT 1 FROM custody "
            "WHERE custody.lead_id = offer.lead_id AND custody.kind = 'rep' AND custody.ref = offer.rep)"
        )
    )
    with op.batch_alter_table("offer") as offer:
        offer.drop_constraint("state", type_="check")
        offer.create_check_constraint("state", f"state in {_STATES}")
        for name in ("level", "round", "urgency", "hot"):
            offer.alter_column(name, nullable=False)
    op.create_index("ix_offer_in_hand", "offer", ["rep"], sqlite_where=_IN_HAND, postgresql_where=_IN_HAND)
    op.create_table(
        "urgency",
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), primary_key=True, autoincrement=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("points", sa.Integer, nullable=False),
        sa.Column("hot", sa.Boolean, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("rank", UtcDateTime, nullable=False),
    )
    op.create_table(
        "pressure",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("places", sa.Integer, nullable=False),
        sa.Column("given", sa.Integer, nullable=False),
        sa.Column("waiting", sa.Integer, nullable=False),
        sa.Column("full_until", UtcDateTime),
        sa.CheckConstraint("id = 1", name="one"),
    )
