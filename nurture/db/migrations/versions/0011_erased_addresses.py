"""Index the erased addresses, so that an import hashes its addresses only if there are any."""

import sqlalchemy as sa
from alembic import op

revision = "0011_erased_addresses"
down_revision = "0010_spent_facts"


def upgrade() -> None:
    """Add the index."""
    erased = sa.text("email = ''")
    op.create_index("ix_address_erased", "address", ["id"], sqlite_where=erased, postgresql_where=erased)
