"""Find the hand-offs that were made or ended lately."""

from nurture.db.migrations.ddl import index

revision = "0007_ended_hand_offs"
down_revision = "0006_link_name"


def upgrade() -> None:
    """Add the indexes."""
    index("offer", "ix_offer_offered_at", "offered_at")
    index("offer", "ix_offer_ended_at", "ended_at", where="ended_at is not null")
