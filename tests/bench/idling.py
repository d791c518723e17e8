"""What a run costs that finds nothing to do, with ever more leads enrolled."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from statistics import median

from nurture.journey.run_once import run_once
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, measure_time

FEW, MANY = 10_000, 1_000_000
RUNS = 40
DUE = seed_data.START + timedelta(days=30)


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure an idle run with few and with many leads on SQLite, the usual one of many."""
    path = folder / "idle.db"
    made = seed_data.make_context(f"sqlite:///{path}")
    seed_data.enroll_leads(made, FEW, due=DUE)
    few = _median_run(made)
    filling = measure_time(lambda: seed_data.enroll_leads(made, MANY - FEW, first=FEW + 1, due=DUE))
    many = _median_run(made)
    made.database.close()
    loop = _probe(path)
    note = (
        f"median of {RUNS}; {few:.2f} ms with {FEW:,}; a bare write and probe {loop:.2f} ms; "
        f"filled in {filling.wall:.0f} s"
    )
    return [
        Figure("idle_run_1m_ms", many, "ms", loop / many, maximum=20, note=note),
        Figure("idle_run_growth", many / few, "times", maximum=3, note=f"from {FEW:,} to {MANY:,} enrolled"),
    ]


def _median_run(made: seed_data.AppContext) -> float:
    for _ in range(10):  # the first runs build their statements
        run_once(made, seed_data.START)
    return 1_000 * median(measure_time(lambda: run_once(made, seed_data.START)).wall for _ in range(RUNS))


def _probe(path: Path) -> float:
    """Return the milliseconds of one durable write and one look at the index of what is due."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    probe = "SELECT lead_id FROM custody WHERE kind = 'track' AND due_at <= ? ORDER BY due_at LIMIT 2000"
    at = seed_data.START.isoformat()

    def once() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE clock SET seen_at = ?", (at,))
        connection.execute(probe, (at,)).fetchall()
        connection.execute("COMMIT")

    usual = median(measure_time(once).wall for _ in range(RUNS))
    connection.close()
    return 1_000 * usual
