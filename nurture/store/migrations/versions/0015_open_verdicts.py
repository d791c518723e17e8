"""Verdicts on opens: whether somebody read, or a mail program fetched the pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_open_verdicts"
down_revision = "0014_approval"


def upgrade() -> None:
    """Add what is known of the newest open; of those before, nothing is."""
    op.add_column("open_consent", sa.Column("last_open_verdict", sa.String))
    op.add_column("open_consent", sa.Column("last_open_because", sa.String))
