"""Index the leads in queues, so that a run with nothing to do does not read the custody of every lead."""

import sqlalchemy as sa
from alembic import op

revision = "0004_queue_index"
down_revision = "0003_no_track"


def upgrade() -> None:
    """Add the index."""
    in_queue = sa.text("kind = 'queue'")
    op.create_index("ix_custody_queue", "custody", ["ref", "since"], sqlite_where=in_queue, postgresql_where=in_queue)
