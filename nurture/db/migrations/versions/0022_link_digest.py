"""Keep one digest per message for all its links, instead of a row for each. Links that were sent before keep theirs."""

import sqlalchemy as sa
from alembic import op

from nurture.db.migrations import ddl

revision = "0022_link_digest"
down_revision = "0021_console_filters"


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("message", sa.Column("link_digest", sa.String(), nullable=True))
    ddl.index("message", "ix_message_link_digest", "link_digest", where="link_digest is not null")
