"""Replies: what people answered, and how far their mailbox is read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0008_replies"
down_revision = "0007_pace"


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "reply",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("natural_key", sa.String, nullable=False),
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), nullable=False),
        sa.Column("message_id", sa.Integer, sa.ForeignKey("message.id")),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("sent_at", UtcDateTime, nullable=False),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("back_on", sa.Date),
        sa.Column("attachments", sa.Integer, nullable=False),
        sa.UniqueConstraint("natural_key"),
        sa.CheckConstraint("kind in ('reply', 'opt_out', 'away', 'automatic', 'bounce')", name="kind"),
    )
    op.create_index("ix_reply_lead_id_received_at", "reply", ["lead_id", "received_at"])
    op.create_table(
        "inbox",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("uid_validity", sa.BigInteger, nullable=False),
        sa.Column("last_uid", sa.BigInteger, nullable=False),
        sa.Column("read_at", UtcDateTime, nullable=False),
    )
