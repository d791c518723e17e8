"""Keep the URL of a link as it was written, where the destination has utm parameters besides."""

import sqlalchemy as sa
from alembic import op

revision = "0006_link_name"
down_revision = "0005_leads_in_hand"


def upgrade() -> None:
    """Add the name; older links lead where they were written."""
    op.add_column("link_destination", sa.Column("name", sa.String, nullable=True))
