"""What a tick costs that finds nothing to do, with ever more leads enrolled."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from statistics import median

from nurture.journey.run_once import tick
from tests.bench import worlds
from tests.bench.figures import Figure, Skipped, took

FEW, MANY = 10_000, 1_000_000
TICKS = 40
DUE = worlds.START + timedelta(days=30)


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure an idle tick with few and with many leads on SQLite, the usual one of many."""
    path = folder / "idle.db"
    made = worlds.house(f"sqlite:///{path}")
    worlds.enrol(made, FEW, due=DUE)
    few = _usual(made)
    filling = took(lambda: worlds.enrol(made, MANY - FEW, first=FEW + 1, due=DUE))
    many = _usual(made)
    made.database.close()
    loop = _probe(path)
    note = (
        f"median of {TICKS}; {few:.2f} ms with {FEW:,}; a bare write and probe {loop:.2f} ms; "
        f"filled in {filling.wall:.0f} s"
    )
    return [
        Figure("idle_tick_1m_ms", many, "ms", loop / many, below=20, note=note),
        Figure("idle_tick_growth", many / few, "times", below=3, note=f"from {FEW:,} to {MANY:,} enrolled"),
    ]


def _usual(made: worlds.House) -> float:
    for _ in range(10):  # the first ticks build their statements
        tick(made, worlds.START)
    return 1_000 * median(took(lambda: tick(made, worlds.START)).wall for _ in range(TICKS))


def _probe(path: Path) -> float:
    """Return the milliseconds of one durable write and one look at the index of what is due."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    probe = "SELECT lead_id FROM custody WHERE kind = 'track' AND due_at <= ? ORDER BY due_at LIMIT 2000"
    moment = worlds.START.isoformat()

    def once() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE clock SET seen_at = ?", (moment,))
        connection.execute(probe, (moment,)).fetchall()
        connection.execute("COMMIT")

    usual = median(took(once).wall for _ in range(TICKS))
    connection.close()
    return 1_000 * usual
