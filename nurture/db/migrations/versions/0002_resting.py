"""Let customers rest, with a due time, instead of closing them as won."""

import sqlalchemy as sa
from alembic import op

from nurture.db.migrations.ddl import reject_changes
from nurture.db.types import UtcDateTime

revision = "0002_resting"
down_revision = "0001_initial"

_BECOME_CUSTOMERS = """
UPDATE lead SET customer_since = custody.since, signals_since = custody.since, points_key = '',
    decides_on = NULL, call_on = NULL
FROM custody
WHERE custody.lead_id = lead.id AND custody.kind = 'closed' AND custody.ref = 'won' AND lead.erased_at IS NULL
"""
# An upgrade reads no clock of the machine: the next run looks for a track for each.
_NOTE_IN_JOURNAL = """
INSERT INTO journal (lead_id, at, stage, event, reason, custody_from, custody_to, ref)
SELECT custody.lead_id, coalesce((SELECT seen_at FROM clock), custody.since), 'upgrade', 'moved',
    'a customer rests until a track for customers takes it', 'closed', 'resting', 'customer'
FROM custody JOIN lead ON lead.id = custody.lead_id
WHERE lead.customer_since IS NOT NULL ORDER BY custody.lead_id
"""
_REST = """
UPDATE custody SET kind = 'resting', ref = 'customer', next_action = 'look for a track for customers',
    since = coalesce((SELECT seen_at FROM clock), since), due_at = coalesce((SELECT seen_at FROM clock), since),
    version = version + 1
WHERE lead_id IN (SELECT id FROM lead WHERE customer_since IS NOT NULL)
"""
_FORGET_WINS_ON_ARRIVAL = """
DELETE FROM outcome WHERE closing = 'won' AND source = 'import'
    AND recorded_at = (SELECT created_at FROM lead WHERE lead.id = outcome.lead_id)
"""


def upgrade() -> None:
    """Add the kind and the customers, then move who is closed as won; a customer on arrival was no win."""
    op.add_column("lead", sa.Column("customer_since", UtcDateTime, nullable=True))
    with op.batch_alter_table("custody") as custody:
        custody.drop_constraint(op.f("ck_custody_kind"), type_="check")
        kinds = "kind in ('intake', 'track', 'queue', 'offer', 'rep', 'resting', 'closed')"
        custody.create_check_constraint(op.f("ck_custody_kind"), kinds)
    if op.get_context().dialect.name == "sqlite":  # altered by copying it, without its trigger
        reject_changes(
            "custody_version_guard",
            "UPDATE ON custody",
            "custody moves one version at a time: add 1 to the version that was read",
            when="NEW.version <> OLD.version + 1",
        )
    for statement in (_BECOME_CUSTOMERS, _NOTE_IN_JOURNAL, _REST, _FORGET_WINS_ON_ARRIVAL):
        op.execute(statement)
