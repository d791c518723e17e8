"""Count signals of people with the facts, and index what measures read of messages and signals."""

from __future__ import annotations

from alembic import op

from nurture.db.migrations import ddl

revision = "0023_signal_counts"
down_revision = "0022_link_digest"

_MINUTE, _HOUR, _DAYS = 60, 3_600, 86_400
_LENGTHS = (
    *(0, 15, 30),
    *(number * _MINUTE for number in (1, 2, 5, 10, 15, 30)),
    *(number * _HOUR for number in (1, 2, 4, 8, 12)),
    *(number * _DAYS for number in (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 182, 273, 365, 547, 730, 1_095)),
)
_DAY = {"sqlite": "substr({0}, 1, 10)", "postgresql": "({0} AT TIME ZONE 'UTC')::date"}
_SECONDS = {
    "sqlite": "max(unixepoch(applied_at) - unixepoch(recorded_at), 0)",
    "postgresql": "greatest(floor(extract(epoch FROM applied_at)) - floor(extract(epoch FROM recorded_at)), 0)::bigint",
}
_COUNTS = """
INSERT INTO daily_count (day, track, version, step, source, measure, shard, n)
SELECT {day}, '', 0, '', lead.source, 'signal ' || signal.kind, 0, count(*)
FROM signal JOIN lead ON lead.id = signal.lead_id WHERE verdict = 'human' AND applied_at IS NOT NULL
GROUP BY 1, lead.source, signal.kind
"""
_WAITS = """
INSERT INTO stage_interval (day, stage, next_stage, length, shard, n, seconds)
SELECT day, 'signal', 'applied', CASE {lengths} ELSE 0 END, 0, count(*), sum(seconds) FROM (
  SELECT {day} AS day, {seconds} AS seconds FROM signal WHERE applied_at IS NOT NULL
) AS waits GROUP BY 1, 4
"""


def upgrade() -> None:
    """Count the signals that are there, and add the indexes."""
    dialect = op.get_context().dialect.name
    lengths = " ".join(f"WHEN seconds >= {one} THEN {one}" for one in reversed(_LENGTHS))
    op.execute(_COUNTS.format(day=_DAY[dialect].format("occurred_at")))
    op.execute(_WAITS.format(day=_DAY[dialect].format("applied_at"), seconds=_SECONDS[dialect], lengths=lengths))
    stated = "kind in ('registered', 'attended', 'deciding')"
    ddl.index("signal", "ix_signal_stated", "lead_id", "kind", "occurred_at", "value", where=stated)
    ddl.index("message", "ix_message_offer", "offer_id", "kind", "accepted_at", where="offer_id is not null")
