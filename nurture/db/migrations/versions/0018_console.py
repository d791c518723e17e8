"""Add the users of the console, their invitations and sessions, and the log of their actions."""

from nurture.db.migrations import ddl

revision = "0018_console"
down_revision = "0017_journal_since"


def upgrade() -> None:
    """Create the tables."""
    ddl.table(
        "console_user",
        ddl.generated_id(),
        ddl.text("login", "role", "rep"),
        ddl.text("password_hash", null=True),
        ddl.count("failures"),
        ddl.timestamp("locked_until", null=True),
        ddl.timestamp("created_at"),
        ddl.timestamp("removed_at", null=True),
        ddl.check("role", "role in ('admin', 'marketer', 'sales_manager', 'rep', 'viewer')"),
        ddl.check("rep", "role <> 'rep' or rep <> ''"),
    )
    ddl.index("console_user", "uq_console_user_login", "login", where="removed_at is null", unique=True)
    ddl.table(
        "console_invitation",
        ddl.ref("user_id", "console_user.id", key=True),
        ddl.text("digest"),
        ddl.timestamp("expires_at"),
        ddl.unique("digest"),
    )
    ddl.table(
        "console_session",
        ddl.generated_id(),
        ddl.ref("user_id", "console_user.id", index=True),
        ddl.text("digest"),
        ddl.timestamp("started_at", "seen_at", "expires_at"),
        ddl.timestamp("ended_at", null=True),
        ddl.unique("digest"),
    )
    ddl.index("console_session", "ix_console_session_expires_at", "expires_at")
    ddl.table(
        "console_action",
        ddl.generated_id(),
        ddl.timestamp("at"),
        ddl.ref("user_id", "console_user.id", index=True),
        ddl.text("action", "object", "outcome"),
    )
    ddl.append_only("console_action", "what was done is not changed")
