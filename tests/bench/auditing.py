"""How long the audit of a million leads takes, each with a history."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from nurture.reporting.audit import AuditReport, run_audit
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, measure_time

LEADS = 1_000_000
AT = seed_data.START + timedelta(minutes=30)  # nobody is overdue yet

# Leads of seven sources, in batches of a thousand over a year, as imports bring them.
_SET_SOURCES = """
UPDATE lead SET source = 'source ' || (id % 7),
  created_at = strftime('%Y-%m-%dT%H:%M:00+00:00', '2025-03-01', '+' || (id / 1000 * 500) || ' minutes')
"""
_INSERT_INTAKE = """
INSERT INTO journal (lead_id, at, stage, event, reason, custody_from, custody_to)
SELECT id, created_at, 'intake', 'imported', 'from a file of registrants, row ' || id, NULL, 'intake'
FROM lead
"""
_INSERT_ENROLLED = """
INSERT INTO journal (lead_id, at, stage, event, reason, track, policy_version, custody_from, custody_to)
SELECT id, created_at, 'intake', 'enrolled', 'attended is yes; its track has the highest priority',
  'webinar-attended', 1, 'intake', 'track' FROM lead
"""
_INSERT_TOUCHED = """
INSERT INTO journal (lead_id, at, stage, event, reason, track, policy_version, step)
SELECT id, created_at, 'advance', 'touch', 'the step is due; window and cap allow it',
  'webinar-attended', 1, '01-recording' FROM lead
"""
_INSERT_MESSAGES = """
INSERT INTO message (send_key, kind, recipient, lead_id, enrollment_id, track, track_version, step, visit, email,
  planned_at, send_at, expires_at, state, state_at, accepted_at, attempts, provider, provider_message_id)
SELECT 'touch:' || id || ':01-recording:1', 'touch', 'lead', lead_id, id, 'webinar-attended', 1, '01-recording', 1,
  '01-recording', entered_at, entered_at, entered_at, 'delivered', entered_at, entered_at, 1, 'sendgrid',
  'id' || id FROM enrollment
"""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure one audit of everything on SQLite, beside reading the same tables once from end to end."""
    path = folder / "audit.db"
    made = seed_data.make_context(f"sqlite:///{path}")
    seed_data.enroll_leads(made, LEADS)
    made.database.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for statement in (
        "BEGIN",
        _SET_SOURCES,
        _INSERT_INTAKE,
        _INSERT_ENROLLED,
        _INSERT_TOUCHED,
        _INSERT_MESSAGES,
        "COMMIT",
    ):
        connection.execute(statement)
    reading = measure_time(lambda: _read(connection))
    connection.close()
    found: list[AuditReport] = []
    run = min((measure_time(lambda: found.append(run_audit(made, AT))) for _ in range(3)), key=lambda one: one.wall)
    made.database.close()
    if not all(one.ok and one.total.leads == LEADS for one in found):
        raise RuntimeError(f"the audit did not find what it is measured for: {found[0].findings}")
    note = f"{run.cpu:.1f} s of CPU; reading four of its tables once takes {reading.wall:.1f} s"
    return [Figure("audit_1m_s", run.wall, "s", reading.wall / run.wall, maximum=10, note=note)]


def _read(connection: sqlite3.Connection) -> None:
    """Read each row's last column, and so each row from end to end."""
    lasts = {"lead": "updated_at", "custody": "version", "enrollment": "ended_at", "journal": "ref"}
    for table, last in lasts.items():
        connection.execute(f"SELECT count({last}) FROM {table}").fetchall()
