"""Let all leads that wait for a field wait in one queue; the table `missing_field` names the field."""

from alembic import op

revision = "0008_missing_field"
down_revision = "0007_ended_hand_offs"

_RENAME_QUEUES = """
UPDATE custody SET ref = 'missing-field', version = version + 1
WHERE kind = 'queue' AND ref LIKE 'needs-%' AND EXISTS (
    SELECT 1 FROM missing_field
    WHERE missing_field.lead_id = custody.lead_id AND 'needs-' || missing_field.field = custody.ref
)
"""


def upgrade() -> None:
    """Rename the queues that routing made, and no other queue with such a name."""
    op.execute(_RENAME_QUEUES)
