"""Index the messages that bounced or were complained about, which the page on deliverability counts by day."""

from nurture.db.migrations import ddl

revision = "0025_refused_index"
down_revision = "0024_lead_counts"


def upgrade() -> None:
    """Add the index."""
    refused = "state in ('bounced', 'complained')"
    ddl.index("message", "ix_message_refused", "state_at", "state", "sender_domain", where=refused)
