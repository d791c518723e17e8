"""How long a practice world of a thousand leads takes for ninety days."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from nurture.app import open_app
from nurture.journey.run_once import RunResult
from nurture.reporting.audit import run_audit
from nurture.simulation import world
from nurture.simulation.behavior import BehaviorModel
from nurture.simulation.world_folder import new_world
from tests.bench.figures import Figure, Skipped, measure_time
from tests.simulation.worlds import DESCRIPTION, MONDAY
from tests.stories.world import TEMPLATES

LEADS: Final = 1_000
DAYS: Final = 90


def measure(folder: Path) -> list[Figure | Skipped]:
    """Run a world of the shipped templates, with the reactions of the demo, and audit it."""
    home = folder / "world"
    description = replace(DESCRIPTION, templates=str(TEMPLATES))
    settings = world.world_settings(home, description)
    until = MONDAY + timedelta(days=DAYS)
    with new_world(home, description, replace=False), open_app(settings, at=MONDAY, upgrade=True) as app:
        world.fill_world(app.ctx, home, description, None, count=LEADS)
        rounds = 0

        def count_round(_at: object, _done: RunResult) -> None:
            nonlocal rounds
            rounds += 1

        behavior = BehaviorModel(app.ctx, description.seed, MONDAY)
        took = measure_time(lambda: world.run_world(app.ctx, behavior, until, count_round))
        audit = run_audit(app.ctx, until)
    mails = len(world.list_mails(home))
    note = f"s of our CPU ({took.wall:.0f} s on the wall) for {rounds:,} rounds and {mails:,} emails; audit {audit.ok}"
    return [Figure("practice_1000x90_s", took.cpu, "s", maximum=60, note=note)]
