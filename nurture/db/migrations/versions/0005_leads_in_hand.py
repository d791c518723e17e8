"""Remember of an accepted offer its newest contact, the next step, its stage, and when it ended."""

import sqlalchemy as sa
from alembic import op

from nurture.db.types import UtcDateTime

revision = "0005_leads_in_hand"
down_revision = "0004_queue_index"


def upgrade() -> None:
    """Add the columns; the first contact is the newest that is known."""
    for name in ("touched_at", "asked_at", "ended_at"):
        op.add_column("offer", sa.Column(name, UtcDateTime, nullable=True))
    op.add_column("offer", sa.Column("next_step_on", sa.Date, nullable=True))
    op.add_column("offer", sa.Column("stage", sa.String, nullable=True))
    op.execute("UPDATE offer SET touched_at = followed_up_at")
