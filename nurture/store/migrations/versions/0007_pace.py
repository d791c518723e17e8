"""Pace: a lead may ask for fewer emails than its track would send."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_pace"
down_revision = "0006_own_links"


def upgrade() -> None:
    """Add the column; nobody asked for a pace yet."""
    op.add_column("lead", sa.Column("pace_days", sa.Integer))
