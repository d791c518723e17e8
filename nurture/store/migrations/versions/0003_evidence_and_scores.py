"""Evidence and scores: how clicks came in, which rules judged them, and sums for up to four half-lives."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0003_evidence_and_scores"
down_revision = "0002_trusted_delivery"

_SCORED = sa.text("scored_under is not null")
_JUDGED = sa.text("judged_under is not null")
_COMPANY = sa.text("company <> ''")


def upgrade() -> None:
    """Add the columns and the visits; every lead that ever did a thing is scored again."""
    for place in (2, 3, 4):
        op.add_column("lead", sa.Column(f"engagement_{place}", sa.Float))
    op.add_column("lead", sa.Column("scored_under", sa.String))
    op.add_column("signal", sa.Column("judged_under", sa.String))
    op.execute(
        sa.text(
            "UPDATE lead SET scored_under = '' WHERE id IN "
            "(SELECT lead_id FROM signal WHERE applied_at IS NOT NULL)"
        )
    )
    op.create_index(
        "ix_lead_scored_under", "lead", ["scored_under"], sqlite_where=_SCORED, postgresql_where=_SCORED
    )
    op.create_index(
        "ix_signal_judged_under", "signal", ["judged_under"], sqlite_where=_JUDGED, postgresql_where=_JUDGED
    )
    _visit()


def _visit() -> None:
    op.create_table(
        "visit",
        sa.Column("signal_id", sa.Integer, sa.ForeignKey("signal.id"), primary_key=True, autoincrement=False),
        sa.Column("message_id", sa.Integer, sa.ForeignKey("message.id"), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("agent", sa.String, nullable=False),
        sa.Column("ip_mark", sa.String, nullable=False),
        sa.Column("agent_mark", sa.String, nullable=False),
        sa.Column("company", sa.String, nullable=False),
        sa.Column("honeypot", sa.Boolean, nullable=False),
        sa.Column("machine", sa.Boolean, nullable=False),
    )
    op.create_index("ix_visit_message_id", "visit", ["message_id"])
    op.create_index(
        "ix_visit_company", "visit", ["company", "at"], sqlite_where=_COMPANY, postgresql_where=_COMPANY
    )
