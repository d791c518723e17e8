"""Leads per second through a sweep: claim, decide, write back, message and journal rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event, text

from nurture.journey.tracks.advance import advance, advance_batch
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Duration, Figure, Skipped, best_of, measure_time
from tests.postgres import postgres

LEADS = 20_000
BATCH = 2_000
REPEATS = 3

_SELECT_DUE = """
SELECT c.lead_id, c.version, l.fields, l.zone, l.country, e.id, e.step, e.visit, e.anchor_at
FROM custody c JOIN lead l ON l.id = c.lead_id
JOIN enrollment e ON e.lead_id = c.lead_id AND e.ended_at IS NULL
WHERE c.kind = 'track' AND c.due_at <= {m} ORDER BY c.due_at LIMIT {m}
"""
_UPDATE_CUSTODY = """
UPDATE custody SET due_at = {m}, next_action = 'x', version = version + 1
WHERE lead_id = {m} AND version = {m}
"""
_INSERT_MESSAGE = """
INSERT INTO message (send_key, kind, recipient, lead_id, enrollment_id, track, track_version, step, visit, email,
  planned_at, send_at, expires_at, state, state_at, attempts)
VALUES ({m}, 'touch', 'lead', {m}, {m}, 'webinar-attended', 1, {m}, {m}, '01-recording', {m}, {m}, {m},
  'planned', {m}, 0)
"""
_INSERT_JOURNAL = """
INSERT INTO journal (lead_id, at, stage, event, reason, enrollment_id, track, track_version, policy_version,
  step)
VALUES ({m}, {m}, 'advance', 'touch', 'due', {m}, 'webinar-attended', 1, 1, {m})
"""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure the sweep on both databases."""
    figures: list[Figure | Skipped] = [_sqlite(folder)]
    with postgres(durable=True) as url:
        figures.append(_on_postgres(url("postgres")))
    return figures


def _sqlite(folder: Path) -> Figure:
    made = seed_data.make_context(f"sqlite:///{folder / 'engine.db'}")
    engine, statements = _engine(made)
    made.database.close()
    path = folder / "loop.db"
    made = seed_data.make_context(f"sqlite:///{path}")
    seed_data.enroll_leads(made, LEADS * REPEATS)
    made.database.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")
    loop = best_of(lambda: _loop_on_sqlite(connection), REPEATS)
    connection.close()
    return _figure("advance_sqlite_leads_per_s", engine, loop, 10_000, statements)


def _on_postgres(url: str) -> Figure:
    made = seed_data.make_context(url)
    engine, statements = _engine(made)
    seed_data.enroll_leads(made, LEADS * REPEATS, first=1 + (REPEATS + 1) * LEADS)
    _analyse(made)
    made.database.close()
    with psycopg.connect(url, autocommit=True) as connection:
        loop = best_of(lambda: _loop_on_postgres(connection), REPEATS)
    return _figure("advance_postgres_leads_per_s", engine, loop, 6_000, statements)


def _figure(name: str, engine: Duration, loop: Duration, target: float, statements: int) -> Figure:
    note = (
        f"{statements} statements per batch of {BATCH:,}; {LEADS / engine.cpu:,.0f} per s of our CPU; "
        f"the loop does {LEADS / loop.wall:,.0f}"
    )
    return Figure(name, LEADS / engine.wall, "leads/s", loop.wall / engine.wall, minimum=target, note=note)


def _engine(made: AppContext) -> tuple[Duration, int]:
    """Return the best sweep over LEADS leads, and how many statements one batch takes."""
    done = []
    for turn in range(REPEATS):
        seed_data.enroll_leads(made, LEADS, first=1 + turn * LEADS)
        _analyse(made)
        done.append(measure_time(lambda: advance(made, seed_data.START)))
    seed_data.enroll_leads(made, BATCH, first=1 + REPEATS * LEADS)
    statements = _count(made, lambda: advance_batch(made, seed_data.START, BATCH))
    return min(done, key=lambda one: one.wall), statements


def _analyse(made: AppContext) -> None:
    """Tell PostgreSQL how many rows there are, as its autovacuum does a minute after a bulk load."""
    if not made.database.is_sqlite:
        with made.database.write() as tx:
            tx.execute(text("ANALYZE"))


def _count(made: AppContext, work: Callable[[], object]) -> int:
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    event.listen(made.database.engine, "before_cursor_execute", note)
    work()
    event.remove(made.database.engine, "before_cursor_execute", note)
    return len(statements)


def _loop_on_sqlite(connection: sqlite3.Connection) -> None:
    for _ in range(LEADS // BATCH):
        connection.execute("BEGIN IMMEDIATE")
        due = connection.execute(_SELECT_DUE.format(m="?"), (seed_data.START.isoformat(), BATCH)).fetchall()
        moves, sends, notes = _plain_rows(due, str)
        connection.executemany(_UPDATE_CUSTODY.format(m="?"), moves)
        connection.executemany(_INSERT_MESSAGE.format(m="?"), sends)
        connection.executemany(_INSERT_JOURNAL.format(m="?"), notes)
        connection.execute("COMMIT")


def _loop_on_postgres(connection: psycopg.Connection[Any]) -> None:
    for _ in range(LEADS // BATCH):
        with connection.transaction(), connection.cursor() as cursor:
            wanted = _SELECT_DUE.format(m="%s") + " FOR UPDATE OF c SKIP LOCKED"
            due = cursor.execute(wanted, (seed_data.START, BATCH)).fetchall()  # type: ignore[arg-type]
            moves, sends, notes = _plain_rows(due, lambda value: value)
            cursor.executemany(_UPDATE_CUSTODY.format(m="%s"), moves)  # type: ignore[arg-type]
            cursor.executemany(_INSERT_MESSAGE.format(m="%s"), sends)  # type: ignore[arg-type]
            cursor.executemany(_INSERT_JOURNAL.format(m="%s"), notes)  # type: ignore[arg-type]


def _plain_rows(due: list[Any], to_column: Callable[[datetime], Any]) -> tuple[list[Any], list[Any], list[Any]]:
    now, later = to_column(seed_data.START), to_column(seed_data.START + timedelta(hours=72))
    moves = [(later, row[0], row[1]) for row in due]
    sends = [(f"touch:{row[5]}:{row[6]}:{row[7]}", row[0], row[5], row[6], row[7], now, now, later, now) for row in due]
    return moves, sends, [(row[0], now, row[5], row[6]) for row in due]
