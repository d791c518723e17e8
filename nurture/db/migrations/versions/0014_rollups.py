"""Keep daily counts and stage intervals with the facts, and fill them from those that are there."""

from __future__ import annotations

from alembic import op

from nurture.db.migrations.ddl import count, day, id_or_count, table, text

revision = "0014_rollups"
down_revision = "0013_message_mention"

_MINUTE, _HOUR, _DAYS = 60, 3_600, 86_400
_LENGTHS = (
    *(0, 15, 30),
    *(number * _MINUTE for number in (1, 2, 5, 10, 15, 30)),
    *(number * _HOUR for number in (1, 2, 4, 8, 12)),
    *(number * _DAYS for number in (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 182, 273, 365, 547, 730, 1_095)),
)
_DAY = {"sqlite": "substr({0}, 1, 10)", "postgresql": "({0} AT TIME ZONE 'UTC')::date"}
_SECONDS = {
    "sqlite": "max(unixepoch(at) - unixepoch(entered_at), 0)",
    "postgresql": "greatest(floor(extract(epoch FROM at)) - floor(extract(epoch FROM entered_at)), 0)::bigint",
}
_COUNTS = """
INSERT INTO daily_count (day, track, version, step, source, measure, shard, n)
SELECT {day}, coalesce(of.track, ''), coalesce(of.track_version, 0), coalesce(of.step, ''), lead.source, {measure}, 0,
  count(*) FROM {table} AS of JOIN lead ON lead.id = of.lead_id WHERE {where} GROUP BY 1, 2, 3, 4, 5, 6
"""
_INTERVALS = """
INSERT INTO stage_interval (day, stage, next_stage, length, shard, n, seconds)
SELECT {day}, custody_from, custody_to, CASE {lengths} ELSE 0 END, 0, count(*), sum(seconds) FROM (
  SELECT at, custody_from, custody_to, {seconds} AS seconds FROM (
    SELECT at, custody_from, custody_to, lag(at) OVER (PARTITION BY lead_id ORDER BY id) AS entered_at
    FROM journal WHERE custody_to IS NOT NULL
  ) AS moves WHERE custody_from IS NOT NULL AND entered_at IS NOT NULL
) AS stays GROUP BY 1, 2, 3, 4
"""


def upgrade() -> None:
    """Create the tables, and count what the journal and the outbox hold."""
    place = (text("track", key=True), count("version", key=True), text("step", "source", "measure", key=True))
    table("daily_count", day("day", key=True), *place, count("shard", key=True), id_or_count("n"))
    stay = (day("day", key=True), text("stage", "next_stage", key=True), count("length", "shard", key=True))
    table("stage_interval", *stay, id_or_count("n", "seconds"))
    dialect = op.get_context().dialect.name
    days, lengths = _DAY[dialect], " ".join(f"WHEN seconds >= {one} THEN {one}" for one in reversed(_LENGTHS))
    touches = {"table": "message", "measure": "'sent'", "where": "of.kind = 'touch' AND of.accepted_at IS NOT NULL"}
    entries = {"table": "journal", "measure": "of.event", "where": "1 = 1"}
    op.execute(_COUNTS.format(day=days.format("of.at"), **entries))
    op.execute(_COUNTS.format(day=days.format("of.accepted_at"), **touches))
    op.execute(_INTERVALS.format(day=days.format("at"), lengths=lengths, seconds=_SECONDS[dialect]))
