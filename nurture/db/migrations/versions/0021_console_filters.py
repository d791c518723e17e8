"""Add saved filters of leads, and index what the list of leads is filtered by."""

from nurture.db.migrations import ddl

revision = "0021_console_filters"
down_revision = "0020_published_by"


def upgrade() -> None:
    """Create the table and the index."""
    ddl.table(
        "console_filter",
        ddl.generated_id(),
        ddl.ref("user_id", "console_user.id"),
        ddl.text("name", "query"),
        ddl.flag("is_shared"),
        ddl.timestamp("created_at"),
        ddl.unique("user_id", "name"),
    )
    ddl.index("lead", "ix_lead_country", "country")
