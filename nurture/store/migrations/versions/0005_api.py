"""The API: tokens of programs, and answers kept for requests that come again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0005_api"
down_revision = "0004_mail_events"

_VALID = sa.text("revoked_at is null")


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("scopes", sa.String, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("used_on", sa.Date),
        sa.Column("revoked_at", UtcDateTime),
    )
    op.create_index(
        "uq_api_token_name",
        "api_token",
        ["name"],
        unique=True,
        sqlite_where=_VALID,
        postgresql_where=_VALID,
    )
    op.create_table(
        "api_answer",
        sa.Column(
            "token_id", sa.Integer, sa.ForeignKey("api_token.id"), primary_key=True, autoincrement=False
        ),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("answer", sa.String),
    )
    op.create_index("ix_api_answer_asked_at", "api_answer", ["asked_at"])
