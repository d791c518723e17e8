"""Keep who published a version."""

import sqlalchemy as sa
from alembic import op

revision = "0020_published_by"
down_revision = "0019_console_indexes"


def upgrade() -> None:
    """Add the column; who published earlier versions is not known."""
    op.add_column("publication", sa.Column("published_by", sa.String(), nullable=False, server_default=""))
