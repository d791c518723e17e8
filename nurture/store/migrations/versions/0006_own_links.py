"""Own links: where the numbered links of mail lead, and who agreed to hear of opens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import Json, UtcDateTime

revision = "0006_own_links"
down_revision = "0005_api"


def upgrade() -> None:
    """Add the three tables."""
    op.create_table(
        "destination",
        sa.Column("track", sa.String, primary_key=True),
        sa.Column("track_version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("email", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("url", sa.String, nullable=False),
    )
    op.create_table(
        "mail_destination",
        sa.Column(
            "message_id", sa.Integer, sa.ForeignKey("message.id"), primary_key=True, autoincrement=False
        ),
        sa.Column("links", Json, nullable=False),
    )
    op.create_table(
        "open_consent",
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), primary_key=True, autoincrement=False),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("stated_at", UtcDateTime, nullable=False),
        sa.Column("last_open_on", sa.Date),
    )
