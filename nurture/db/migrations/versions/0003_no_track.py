"""Let leads rest that fit the audience of no track, instead of waiting in a queue for a person."""

from alembic import op

revision = "0003_no_track"
down_revision = "0002_resting"

# The next run classifies each again, and whoever's track is missing goes to a queue again.
_NOTE_IN_JOURNAL = """
INSERT INTO journal (lead_id, at, stage, event, reason, custody_from, custody_to, ref)
SELECT lead_id, coalesce((SELECT seen_at FROM clock), since), 'upgrade', 'moved',
    'it rests until a track takes it', 'queue', 'resting', 'no-track'
FROM custody WHERE kind = 'queue' AND ref = 'no-track' ORDER BY lead_id
"""
_REST = """
UPDATE custody SET kind = 'resting', next_action = 'look for a track', version = version + 1,
    since = coalesce((SELECT seen_at FROM clock), since), due_at = coalesce((SELECT seen_at FROM clock), since)
WHERE kind = 'queue' AND ref = 'no-track'
"""


def upgrade() -> None:
    """Move the leads of the queue `no-track`."""
    op.execute(_NOTE_IN_JOURNAL)
    op.execute(_REST)
