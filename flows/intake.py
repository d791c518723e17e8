"""Classify new leads: to sales, to a track, or discarded with a reason."""

from prefect import flow

from flows.shards import Counts, log_counts, open_context, run_name, run_shards, shard_task
from nurture.journey.tracks.enroll import classify


@shard_task("intake", minutes=10)
def intake_shard(shard: int, at: str | None) -> Counts:
    """Classify new leads in batches until none waits."""
    with open_context(at) as (ctx, now):
        return log_counts(shard, classify(ctx, now))


@flow(name="intake", flow_run_name=run_name, timeout_seconds=900)
async def classify_new_leads(shards: int = 2, at: str | None = None) -> Counts:
    """Classify every new lead by the readiness rules and the audiences. *at* is a time (ISO) on a virtual clock."""
    return await run_shards(intake_shard, shards, at)
