"""Index what the pages of the console count and list: leads by step, stays that ended, answers of people."""

from nurture.db.migrations import ddl

revision = "0019_console_indexes"
down_revision = "0018_console"


def upgrade() -> None:
    """Add the indexes."""
    active, ended = "ended_at is null and suspended_at is null", "ended_at is not null"
    counted = ("track", "step", "lead_id", "suspended_at", "ended_at")  # no row of the table is read
    ddl.index("enrollment", "ix_enrollment_step", *counted, where=active)
    ddl.index("enrollment", "ix_enrollment_ended_at", "ended_at", where=ended)
    answers = "verdict = 'human' and kind in ('clicked', 'replied')"
    columns = ("occurred_at", "kind", "track", "step", "lead_id", "verdict")
    ddl.index("signal", "ix_signal_answers", *columns, where=answers)
