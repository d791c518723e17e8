"""Tell the CRM of hand-offs, and read what sales did there."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.shards import Counts, log_counts, open_shard_app, run_name, run_shards, shard_task
from nurture.journey.crm_sync.pull import pull
from nurture.journey.crm_sync.push import push


@shard_task("crm", minutes=10)
def crm_shard(shard: int, at: str | None) -> Counts:
    """Tell what the CRM should know by now, and read its changes; one that is down is tried again later."""
    with open_shard_app(at) as app:
        done = push(app.ctx, app.clock)
        read = pull(app.ctx, app.clock.now())
        for unused in read.skipped:
            get_run_logger().warning("skipped: %s", unused)
        counts = {
            **done,
            **read.counts,
            "unknown statuses": read.unknown_statuses.total(),
            "problems": len(read.problems),
        }
        return log_counts(shard, counts)


@flow(name="crm", flow_run_name=run_name, timeout_seconds=900)
async def sync_crm(at: str | None = None) -> Counts:
    """Tell the CRM, and read it. One shard: hand-offs of a lead keep their order. *at* replays a moment."""
    return await run_shards(crm_shard, 1, at)
