"""Keep counts of leads by first contact, source, readiness rule and custodian, and fill them."""

from __future__ import annotations

from alembic import op

from nurture.db.migrations.ddl import count, day, id_or_count, table, text

revision = "0024_lead_counts"
down_revision = "0023_signal_counts"

_DAY = {"sqlite": "substr(first_contact_at, 1, 10)", "postgresql": "(first_contact_at AT TIME ZONE 'UTC')::date"}
_COUNTS = """
INSERT INTO lead_count (day, source, readiness, kind, ref, shard, n)
SELECT {day}, source, readiness, kind, CASE WHEN kind = 'queue' THEN ref ELSE '' END, 0, count(*)
FROM lead JOIN custody ON custody.lead_id = lead.id GROUP BY 1, 2, 3, 4, 5
"""


def upgrade() -> None:
    """Create the table, and count the leads that are there."""
    key = text("source", "readiness", "kind", "ref", key=True)
    table("lead_count", day("day", key=True), key, count("shard", key=True), id_or_count("n"))
    op.execute(_COUNTS.format(day=_DAY[op.get_context().dialect.name]))
