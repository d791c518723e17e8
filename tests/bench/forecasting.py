"""How long a dry run takes to say what a change does to the leads on a track, and whether that then happens."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import update

from nurture.db.tables.tracks import enrollment
from nurture.definitions.folder import Sources, read_folder
from nurture.publishing.publish import preview_effects
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, best_of, measure_time
from tests.stories import population
from tests.stories.test_forecast import UNTIL, forecast_as_is, publish_forecast_change

LEADS: Final = int(os.environ.get("BENCH_FORECAST_LEADS", "10000"))
CHECKED_LEADS: Final = int(os.environ.get("BENCH_CHECKED_LEADS", "1000"))
"""Leads whose forecast is compared with what then happens."""

WAVES: Final = 100
"""Leads come in waves, such as the attendees of a webinar; those of a wave and a country are alike."""

REPEATS: Final = 2
_DISTINCT: Final = 300
_ATTENDED: Final = "tracks/webinar-attended/track.yaml"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Preview a change for leads in waves, and for some of which none are alike; check forecasts of other leads."""
    ctx = seed_data.make_context(f"sqlite:///{folder / 'forecast'}.db")
    seed_data.enroll_leads(ctx, LEADS)
    _spread(ctx, WAVES)
    waves = best_of(lambda: preview_effects(ctx, _changed_sources(), seed_data.START), REPEATS)
    ctx.database.close()
    distinct = seed_data.make_context(f"sqlite:///{folder / 'distinct'}.db")
    seed_data.enroll_leads(distinct, _DISTINCT)
    _spread(distinct, _DISTINCT)
    each = measure_time(lambda: preview_effects(distinct, _changed_sources(), seed_data.START)).cpu / _DISTINCT
    distinct.database.close()
    note = f"s of our CPU for {LEADS:,} leads in {WAVES} waves; {each * 1_000:.1f} ms for a lead that is like no other"
    checked = f"{CHECKED_LEADS:,} leads, 60 days, each email to the minute, before and after a change"
    wrong, emails = _count_differences()
    return [
        Figure("forecast_10k_leads_s", waves.cpu * 10_000 / LEADS, "s", maximum=10, note=note),
        Figure("forecast_differences", wrong, "leads", maximum=1, note=f"{checked}: {emails:,} emails"),
    ]


def _spread(ctx: AppContext, waves: int) -> None:
    """Let the leads reach their step minute by minute, in *waves*."""
    with ctx.database.write() as tx:
        for wave in range(waves):
            at = seed_data.START - timedelta(hours=1, minutes=wave)
            of_wave = enrollment.c.lead_id % waves == wave
            tx.execute(update(enrollment).where(of_wave).values(anchor_at=at, reached_at=at, entered_at=at))


def _changed_sources() -> Sources:
    sources = dict(read_folder(seed_data.TEMPLATES))
    sources[_ATTENDED] = sources[_ATTENDED].replace("after: 4 hours", "after: 1 day")
    return sources


def _count_differences() -> tuple[int, int]:
    """Return how many leads get other emails than forecast, before and after a change, and the number of emails."""
    found = []
    for forecast in (forecast_as_is, publish_forecast_change):
        ctx = population.make_population(CHECKED_LEADS)
        found.append(population.find_mismatches(ctx, forecast(ctx), UNTIL))
        ctx.database.close()
    return sum(len(one.leads) for one in found), sum(one.emails for one in found)
