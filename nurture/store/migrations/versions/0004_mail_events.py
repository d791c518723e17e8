"""Mail events: the batches of webhooks as they came, and what they tell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0004_mail_events"
down_revision = "0003_evidence_and_scores"

_WAITING = sa.text("processed_at is null")
_OURS = sa.text("message_id is not null")


def upgrade() -> None:
    """Add both tables."""
    op.create_table(
        "raw_batch",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("door", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("processed_at", UtcDateTime),
        sa.Column("fault", sa.String),
        sa.Column("body", sa.String, nullable=False),
        sa.UniqueConstraint("digest"),
    )
    op.create_index(
        "ix_raw_batch_waiting", "raw_batch", ["id"], sqlite_where=_WAITING, postgresql_where=_WAITING
    )
    op.create_index("ix_raw_batch_received_at", "raw_batch", ["received_at"])
    op.create_table(
        "mail_event",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("natural_key", sa.String, nullable=False),
        sa.Column("event_key", sa.String),
        sa.Column("door", sa.String, nullable=False),
        sa.Column("told", sa.String, nullable=False),
        sa.Column("named", sa.String, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("message_id", sa.Integer, sa.ForeignKey("message.id")),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("ref", sa.String, nullable=False),
        sa.Column("provider_message", sa.String),
        sa.Column("reason", sa.String, nullable=False),
        sa.UniqueConstraint("natural_key"),
        sa.UniqueConstraint("event_key"),
        sa.CheckConstraint("natural_key <> ''", name="natural_key"),
    )
    op.create_index(
        "ix_mail_event_message_id",
        "mail_event",
        ["message_id", "at"],
        sqlite_where=_OURS,
        postgresql_where=_OURS,
    )
