"""Let old decisions of the planner be deleted from the journal, and keep from which day on it is complete."""

import sqlalchemy as sa
from alembic import op

from nurture.db.migrations.ddl import allow_deleting
from nurture.db.types import UtcDateTime

revision = "0017_journal_since"
down_revision = "0016_alerts"

_MESSAGE = "journal is append-only: what was recorded is never changed or deleted; add a newer row instead"
_DELETABLE = "OLD.stage = 'advance' AND OLD.custody_to IS NULL AND OLD.at < (SELECT journal_since FROM clock)"
"""An entry that does not say who had the lead, of a day of which the journal is no longer complete."""


def upgrade() -> None:
    """Add the column, and let the trigger that refuses to delete read it."""
    op.add_column("clock", sa.Column("journal_since", UtcDateTime(), nullable=True))
    allow_deleting("journal", _MESSAGE, when=_DELETABLE, erasable=("reason", "detail"))
