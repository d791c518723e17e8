"""Look at every new lead: to sales, to a track, or out with a reason."""

from __future__ import annotations

from prefect import flow

from flows.shell import THREADS, Counts, opened, run_name, run_shards, shard_task, told
from nurture.journey.tracks.enroll import classify


@shard_task("intake", minutes=10)
def intake_shard(shard: int, at: str | None) -> Counts:
    """Classify new leads, batch after batch, until none waits."""
    with opened(at) as (house, now):
        return told(shard, classify(house, now))


@flow(
    name="intake",
    flow_run_name=run_name,
    timeout_seconds=900,
    task_runner=THREADS,
)
async def classify_new_leads(shards: int = 2, at: str | None = None) -> Counts:
    """Classify every new lead by the readiness rules and the audiences. *at* replays a moment (ISO)."""
    return await run_shards(intake_shard, shards, at)
