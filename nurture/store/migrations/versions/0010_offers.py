"""Offers: links to a rep's own page, votes, and when a lead asked to be called."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0010_offers"
down_revision = "0009_routing"


def upgrade() -> None:
    """Add the tables and the column."""
    op.create_table(
        "rep_link",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("rep", sa.String, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime),
    )
    op.create_index("ix_rep_link_rep", "rep_link", ["rep"])
    op.create_table(
        "vote",
        sa.Column("offer_id", sa.Integer, sa.ForeignKey("offer.id"), primary_key=True, autoincrement=False),
        sa.Column("rep", sa.String, nullable=False),
        sa.Column("useful", sa.Boolean, nullable=False),
        sa.Column("voted_at", UtcDateTime, nullable=False),
    )
    op.add_column("lead", sa.Column("call_on", sa.Date))
