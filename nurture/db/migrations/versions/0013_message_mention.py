"""Record every lead that an email to our own team names, so that an erasure finds its copies."""

from nurture.db.migrations import ddl

revision = "0013_message_mention"
down_revision = "0012_retracted_consent"


def upgrade() -> None:
    """Create the table; of emails sent before it is not known whom they name."""
    ddl.table("message_mention", ddl.ref("message_id", "message.id", key=True), ddl.ref("lead_id", "lead.id", key=True))
    ddl.index("message_mention", "ix_message_mention_lead_id", "lead_id")
