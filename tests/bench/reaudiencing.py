"""What it costs to ask 20 audiences again for every changed lead, beside advancing the same leads without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from nurture.definitions.folder import Sources, read_folder
from nurture.journey.tracks.advance import advance
from tests.bench import seed_data
from tests.bench.figures import Duration, Figure, Skipped, measure_time

LEADS: Final = int(os.environ.get("BENCH_LEADS", "10000"))
"""Changed leads per run; the full measurement has 100,000: `BENCH_LEADS=100000`."""

REPEATS: Final = 3
TRACKS: Final = 20
_AUDIENCES: Final = (
    "{field: lead_source, is: Fair %d}",
    "{field: plan, in: [trial %d, team]}",
    "{all: [{field: industry, is: Manufacturing}, {did: registered, within: %d days}]}",
    "{all: [{field: country, is: NL}, {did: visited}, {field: employees, at_least: %d}]}",
    "{score: {at_least: 9%d}}",
)
_TRACK: Final = """
name: {name}
goal: Ask
audience: {audience}
priority: 50
takes_over: {takes_over}
steps:
  - email: 01-hello
finally: previous
"""


def _sources(takes_over: str) -> Sources:
    sources = dict(read_folder(seed_data.TEMPLATES))
    for number in range(TRACKS):
        name, audience = f"track-{number}", _AUDIENCES[number % len(_AUDIENCES)] % (number + 10)
        text = _TRACK.format(name=name, audience=audience, takes_over=takes_over)
        sources[f"tracks/{name}/track.yaml"] = text
        sources[f"tracks/{name}/01-hello.md"] = sources["tracks/keep-warm/01-one-idea.md"]
    return sources


def measure(folder: Path) -> list[Figure | Skipped]:
    """Advance changed leads with and without audiences that may take them over, in turn, on SQLite."""
    made = {one: seed_data.make_context(f"sqlite:///{folder / one}.db", _sources(one)) for one in ("yes", "no")}
    times: dict[str, list[Duration]] = {"yes": [], "no": []}
    for turn in range(REPEATS):
        for one, ctx in made.items():
            seed_data.enroll_leads(ctx, LEADS, first=1 + turn * LEADS)
            times[one].append(measure_time(lambda ctx=ctx: advance(ctx, seed_data.START)))  # type: ignore[misc]
    for ctx in made.values():
        ctx.database.close()
    asked, plain = (min(one.cpu for one in times[name]) for name in ("yes", "no"))
    note = f"{LEADS / asked:,.0f} leads per s of our CPU with {TRACKS} audiences, {LEADS / plain:,.0f} without"
    return [Figure("reaudience_ratio", plain / asked, "times", minimum=0.9, note=note)]
