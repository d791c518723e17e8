"""The CRM: what it is to know of hand-offs, what was seen there, and outcomes as they were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0012_crm"
down_revision = "0011_pace"


def upgrade() -> None:
    """Add the four tables; hand-offs of before are told to no CRM unless somebody asks for it."""
    op.create_table(
        "crm_record",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("offer_id", sa.Integer, sa.ForeignKey("offer.id"), nullable=False),
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), nullable=False),
        sa.Column("wanted", sa.String, nullable=False),
        sa.Column("wanted_at", UtcDateTime, nullable=False),
        sa.Column("written", sa.String),
        sa.Column("written_at", UtcDateTime),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("state_at", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("lease_token", sa.String),
        sa.Column("lease_until", UtcDateTime),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crm", sa.String),
        sa.Column("crm_id", sa.String),
        sa.Column("reason", sa.String),
        sa.UniqueConstraint("key"),
        sa.UniqueConstraint("offer_id"),
        sa.CheckConstraint(
            "state in ('planned', 'claimed', 'sending', 'done', 'in_doubt', 'refused')", name="state"
        ),
    )
    op.create_index("ix_crm_record_lead_id", "crm_record", ["lead_id", "id"])
    for name, column, clause in (
        ("waiting", "due_at", "state = 'planned'"),
        ("leased", "lease_until", "state in ('claimed', 'sending')"),
        ("unsettled", "state_at", "state in ('in_doubt', 'refused')"),
    ):
        where = sa.text(clause)
        op.create_index(
            f"ix_crm_record_{name}", "crm_record", [column], sqlite_where=where, postgresql_where=where
        )
    op.create_table(
        "crm_link",
        sa.Column("crm", sa.String, primary_key=True),
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), primary_key=True, autoincrement=False),
        sa.Column("crm_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("handoff", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_crm_link_lead_id", "crm_link", ["lead_id"])
    op.create_table(
        "crm_cursor",
        sa.Column("crm", sa.String, primary_key=True),
        sa.Column("cursor", sa.String, nullable=False),
        sa.Column("read_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "outcome_told",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("natural_key", sa.String, nullable=False),
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), nullable=False),
        sa.Column("closing", sa.String, nullable=False),
        sa.Column("happened_at", UtcDateTime, nullable=False),
        sa.Column("amount", sa.Float),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("told_at", UtcDateTime, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("settled", sa.String),
        sa.Column("settled_at", UtcDateTime),
        sa.UniqueConstraint("natural_key"),
        sa.CheckConstraint("verdict in ('closed', 'same', 'completed', 'contradicts')", name="verdict"),
        sa.CheckConstraint("settled in ('took', 'kept')", name="settled"),
    )
    op.create_index("ix_outcome_told_lead_id", "outcome_told", ["lead_id"])
    where = sa.text("verdict = 'contradicts' and settled is null")
    op.create_index(
        "ix_outcome_told_open", "outcome_told", ["id"], sqlite_where=where, postgresql_where=where
    )
