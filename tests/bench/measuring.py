"""How much CPU the report on all measures takes, on a million leads with five million messages."""

from __future__ import annotations

from pathlib import Path

from nurture.reporting.measures.report import MeasureReport, report_measures
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, measure_time
from tests.bench.large_database import build_large_database

LEADS = 1_000_000


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure one report of everything on SQLite, the best of three, by CPU: reading the file depends on its cache."""
    made = build_large_database(folder / "measures.db", LEADS)
    found: list[MeasureReport] = []
    run = min(
        (measure_time(lambda: found.append(report_measures(made, seed_data.START))) for _ in range(3)),
        key=lambda one: one.cpu,
    )
    made.database.close()
    figures = {one.measure.id: one for one in found[0].figures}
    if figures["R3"].whole != LEADS or not figures["R18"].part or not figures["R58"].whole:
        raise RuntimeError(f"the report did not count what it is measured for: {figures['R3']}")
    note = f"{run.wall:.1f} s on the wall; {len(figures)} measures, {figures['R58'].whole:,} touches"
    return [Figure("measures_1m_s", run.cpu, "s of CPU", maximum=10, note=note)]
