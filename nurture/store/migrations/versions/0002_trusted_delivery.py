"""Trusted delivery: who sends for which domain, what holds mail back, and a name for the installation."""

from __future__ import annotations

from secrets import token_hex

import sqlalchemy as sa
from alembic import op

from nurture.store.types import UtcDateTime

revision = "0002_trusted_delivery"
down_revision = "0001_the_house"

_OPEN = sa.text("released_at is null")
_IN_DOUBT = sa.text("state = 'in_doubt'")
_CLAIMED = sa.text("claimed_at is not null")


def upgrade() -> None:
    """Add the columns, the brakes and their indexes; name this installation."""
    op.add_column("suppression", sa.Column("evidence", sa.String))
    op.add_column("message", sa.Column("sender_domain", sa.String))
    op.add_column("message", sa.Column("claimed_at", UtcDateTime))
    op.create_index(
        "ix_message_in_doubt", "message", ["state_at"], sqlite_where=_IN_DOUBT, postgresql_where=_IN_DOUBT
    )
    op.create_index(
        "ix_message_sender",
        "message",
        ["sender_domain", "claimed_at"],
        sqlite_where=_CLAIMED,
        postgresql_where=_CLAIMED,
    )
    _brake()
    op.add_column("clock", sa.Column("origin", sa.String))
    op.execute(sa.text("UPDATE clock SET origin = :origin").bindparams(origin=token_hex(4)))
    with op.batch_alter_table("clock") as clock:
        clock.alter_column("origin", existing_type=sa.String, nullable=False)


def _brake() -> None:
    op.create_table(
        "brake",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("until", UtcDateTime),
        sa.Column("released_at", UtcDateTime),
        sa.Column("released_by", sa.String),
        sa.CheckConstraint("kind in ('provider', 'domain')", name="kind"),
    )
    op.create_index(
        "uq_brake_on", "brake", ["kind", "name"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
