"""Synchronize with the CRM: push hand-offs, pull what sales did."""

from prefect import flow, get_run_logger

from flows.shards import Counts, log_counts, open_shard_app, run_name, run_shards, shard_task
from nurture.journey.crm_sync.pull import pull
from nurture.journey.crm_sync.push import push


@shard_task("crm", minutes=10)
def crm_shard(shard: int, at: str | None) -> Counts:
    """Push due hand-offs and pull changes. A CRM that is down is tried again by a later run."""
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
    """Run CRM sync in one shard, so that a lead's hand-offs keep their order. *at* is a time on a virtual clock."""
    return await run_shards(crm_shard, 1, at)
