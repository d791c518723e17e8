"""Keep consent statements whose import was undone, marked as retracted."""

import sqlalchemy as sa
from alembic import op

from nurture.db.types import UtcDateTime

revision = "0012_retracted_consent"
down_revision = "0011_erased_addresses"


def upgrade() -> None:
    """Add the column; every statement counts."""
    op.add_column("consent_statement", sa.Column("retracted_at", UtcDateTime(), nullable=True))
