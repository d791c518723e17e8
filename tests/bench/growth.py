"""How the cost of a lead grows with their number, on PostgreSQL: the slopes of docs/scale.md."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

import psycopg
from sqlalchemy import text

from nurture.journey.leads.due_queries import find_due_stages
from nurture.journey.tracks.advance import advance
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, measure_time
from tests.postgres import postgres

FEW, MANY, DUE = 20_000, 200_000, 4_000
LOOKS: Final = 50
LATER: Final = seed_data.START + timedelta(days=30)


def measure(_folder: Path) -> list[Figure | Skipped]:
    """Measure with FEW and with MANY enrolled leads, of which DUE are due."""
    with postgres(durable=True) as url:
        made = seed_data.make_context(url("postgres"))
        seed_data.enroll_leads(made, FEW, due=LATER)
        few = _measure(made, FEW)
        seed_data.enroll_leads(made, MANY - FEW - DUE, first=FEW + DUE + 1, due=LATER)
        many = _measure(made, MANY)
        size = _bytes(url("postgres")) / MANY
        made.database.close()
    looks = f"milliseconds of a look at what is due: {few[0]:.2f} with {FEW:,} leads, {many[0]:.2f} with {MANY:,}"
    sweeps = f"CPU of our process per 1,000 leads: {few[1]:.0f} ms with {FEW:,} leads, {many[1]:.0f} ms with {MANY:,}"
    return [
        Figure("growth_due_look", many[0] / few[0], "times", note=looks),
        Figure("growth_advance", many[1] / few[1], "times", maximum=1.3, note=sweeps),
        Figure("growth_bytes_per_lead", size, "bytes", note="enrolled, indexes included, before the first touch"),
    ]


def _measure(made: AppContext, enrolled: int) -> tuple[float, float]:
    """Return the milliseconds of a look at what is due, and of CPU per 1,000 leads of a sweep over DUE."""
    first = FEW + 1 if enrolled == FEW else enrolled + 1
    seed_data.enroll_leads(made, DUE, first=first)
    with made.database.write() as tx:
        tx.execute(text("ANALYZE"))

    def look() -> None:
        with made.database.read() as tx:
            find_due_stages(tx, seed_data.START - timedelta(days=1))

    looked = 1_000 * median(measure_time(look).wall for _ in range(LOOKS))
    swept = measure_time(lambda: advance(made, seed_data.START))
    return looked, 1e6 * swept.cpu / DUE


def _bytes(url: str) -> int:
    with psycopg.connect(url) as connection:
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
    return int(size)
