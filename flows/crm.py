"""Tell the CRM of hand-offs, and read what sales did there."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.shell import Counts, opened_app, run_name, run_shards, shard_task, told
from nurture.journey.crm_sync.pull import read_back
from nurture.journey.crm_sync.push import hand_back


@shard_task("crm", minutes=10)
def crm_shard(shard: int, at: str | None) -> Counts:
    """Tell what the CRM should know by now, and read its changes; one that is down is tried again later."""
    with opened_app(at) as app:
        done = hand_back(app.house, app.clock)
        read = read_back(app.house, app.clock.now())
        for unused in read.unused:
            get_run_logger().warning("not read: %s", unused)
        counts = {**done, **read.did, "unknown statuses": read.unknown.total(), "faults": len(read.faults)}
        return told(shard, counts)


@flow(name="crm", flow_run_name=run_name, timeout_seconds=900)
async def sync_crm(at: str | None = None) -> Counts:
    """Tell the CRM, and read it. One shard: hand-offs of a lead keep their order. *at* replays a moment."""
    return await run_shards(crm_shard, 1, at)
