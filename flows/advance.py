"""Advance the leads that are due on their track."""

from prefect import flow

from flows.shards import Counts, log_counts, open_context, run_name, run_shards, shard_task
from nurture.journey.tracks.advance import advance


@shard_task("advance", minutes=10)
def advance_shard(shard: int, at: str | None) -> Counts:
    """Advance due leads in batches until none is due."""
    with open_context(at) as (ctx, now):
        return log_counts(shard, advance(ctx, now).events)


@flow(name="advance", flow_run_name=run_name, timeout_seconds=900)
async def advance_due_leads(shards: int = 4, at: str | None = None) -> Counts:
    """Advance every lead on a track that is due. *at* is a time (ISO) on a virtual clock."""
    return await run_shards(advance_shard, shards, at)
