"""Store the tier of speed of each offer."""

import sqlalchemy as sa
from alembic import op

revision = "0009_offer_tier"
down_revision = "0008_missing_field"


def upgrade() -> None:
    """Add the column; offers made before have no tier."""
    op.add_column("offer", sa.Column("tier", sa.String, nullable=True))
