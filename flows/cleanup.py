"""Delete every night what is older than its retention."""

from prefect import flow, get_run_logger

from flows.shards import Counts, open_context, run_name, run_shards, shard_task
from nurture.operations.cleanup import clean_up


@shard_task("cleanup", minutes=60)
def cleanup_shard(shard: int, at: str | None) -> Counts:
    """Delete what is past its retention; return how many rows of each kind."""
    with open_context(at) as (ctx, now):
        deleted = {one.name: one.rows for one in clean_up(ctx, now).cleaned}
    get_run_logger().info("shard %d: %s", shard, deleted)
    return deleted


@flow(name="cleanup", flow_run_name=run_name, timeout_seconds=7_200)
async def delete_old_data(at: str | None = None) -> Counts:
    """Delete what is past its retention. *at* is a time (ISO) on a virtual clock."""
    return await run_shards(cleanup_shard, 1, at)
