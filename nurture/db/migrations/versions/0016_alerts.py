"""Keep when each stage last ran, and the problems that the operator was reported about."""

from __future__ import annotations

from nurture.db.migrations.ddl import table, text, timestamp

revision = "0016_alerts"
down_revision = "0015_broadcast"


def upgrade() -> None:
    """Create the tables."""
    times = timestamp("succeeded_at", "failed_at", null=True)
    table("last_round", text("name", key=True), times, text("error"))
    seen = timestamp("since", "seen_at")
    table("alert", text("key", key=True), text("description"), seen, timestamp("reported_at", null=True))
