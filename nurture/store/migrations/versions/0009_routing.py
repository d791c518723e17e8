"""Routing: accounts, leave, turns of pools, decisions, and facts that are asked for by mail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from nurture.store.types import Json, UtcDateTime

revision = "0009_routing"
down_revision = "0008_replies"


def upgrade() -> None:
    """Add the tables; let the outbox hold questions to leads, and notices to reps."""
    with op.batch_alter_table("message") as message:  # SQLite changes no constraint in place
        message.drop_constraint("kind", type_="check")
        message.create_check_constraint("kind", "kind in ('touch', 'ask', 'brief', 'sla', 'notice')")
    _accounts()
    _reps()
    _decisions()


def _accounts() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("external_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("domains", Json, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("parent_id", sa.Integer, sa.ForeignKey("account.id")),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("source", "external_id"),
        sa.CheckConstraint("kind in ('customer', 'prospect', 'partner')", name="kind"),
        sa.CheckConstraint("name <> ''", name="name"),
    )
    op.create_index("ix_account_parent_id", "account", ["parent_id"])
    op.create_table(
        "lead_account",
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("account.id")),
        sa.Column("how", sa.String, nullable=False),
        sa.Column("because", sa.String, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.CheckConstraint("how in ('matched', 'settled')", name="how"),
        sa.CheckConstraint("account_id is not null or how = 'settled'", name="account_id"),
    )
    op.create_index("ix_lead_account_account_id", "lead_account", ["account_id"])


def _reps() -> None:
    op.create_table(
        "leave",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("rep", sa.String, nullable=False),
        sa.Column("first_day", sa.Date, nullable=False),
        sa.Column("last_day", sa.Date, nullable=False),
        sa.Column("deputy", sa.String),
        sa.Column("recorded_at", UtcDateTime, nullable=False),
        sa.Column("cancelled_at", UtcDateTime),
        sa.CheckConstraint("first_day <= last_day", name="days"),
    )
    op.create_index("ix_leave_last_day", "leave", ["last_day"])
    op.create_table(
        "pool_turn",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("rep", sa.String, primary_key=True),
        sa.Column("given", sa.Integer, nullable=False),
    )


def _decisions() -> None:
    op.create_table(
        "routing",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), nullable=False),
        sa.Column("offer_id", sa.Integer, sa.ForeignKey("offer.id")),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("policy_version", sa.Integer, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("rep", sa.String),
        sa.Column("queue", sa.String),
        sa.Column("because", Json, nullable=False),
        sa.Column("asked", Json, nullable=False),
        sa.CheckConstraint("(rep is null) <> (queue is null)", name="result"),
    )
    op.create_index("ix_routing_lead_id", "routing", ["lead_id", "id"])
    of_offer = sa.text("offer_id is not null")
    op.create_index(
        "ix_routing_offer_id", "routing", ["offer_id"], sqlite_where=of_offer, postgresql_where=of_offer
    )
    op.create_table(
        "fact_wanted",
        sa.Column("lead_id", sa.Integer, sa.ForeignKey("lead.id"), primary_key=True, autoincrement=False),
        sa.Column("field", sa.String, primary_key=True),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("wanted_at", UtcDateTime, nullable=False),
        sa.Column("overdue_at", UtcDateTime, nullable=False),
        sa.Column("filled_at", UtcDateTime),
        sa.Column("filled_by", sa.String),
        sa.CheckConstraint("(filled_at is null) = (filled_by is null)", name="filled"),
        sa.CheckConstraint("filled_by in ('lead', 'source')", name="filled_by"),
    )
    op.create_index("ix_fact_wanted_field", "fact_wanted", ["field"])
