"""Remember which fields of a lead a file changed since a rep answered it, and what the rep wrote."""

import sqlalchemy as sa
from alembic import op

from nurture.db.types import Json

revision = "0010_spent_facts"
down_revision = "0009_offer_tier"


def upgrade() -> None:
    """Add the columns; of earlier answers nothing is known to have changed."""
    op.add_column("offer", sa.Column("note", sa.String, nullable=True))
    op.add_column("lead", sa.Column("restated_fields", Json, nullable=True))
