"""Add the releases of broadcasts."""

from nurture.db.migrations import ddl

revision = "0015_broadcast"
down_revision = "0014_rollups"


def upgrade() -> None:
    """Add the table."""
    ddl.table(
        "broadcast",
        ddl.text("track", key=True),
        ddl.timestamp("released_at", "due_at"),
        ddl.text("released_by", "topic"),
        ddl.id_or_count("last_lead_id"),
        ddl.timestamp("planned_at", null=True),
    )
    ddl.index("broadcast", "ix_broadcast_due", "due_at", where="planned_at is null")
