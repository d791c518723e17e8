"""Tell the CRM of hand-offs."""

from __future__ import annotations

from prefect import flow

from flows.shell import Counts, opened_app, run_name, run_shards, shard_task, told
from nurture.journey.handback import hand_back


@shard_task("crm", minutes=10)
def crm_shard(shard: int, at: str | None) -> Counts:
    """Tell what the CRM should know by now; a CRM that is down is tried again later."""
    with opened_app(at) as app:
        return told(shard, hand_back(app.house, app.clock))


@flow(name="crm", flow_run_name=run_name, timeout_seconds=900)
async def sync_crm(at: str | None = None) -> Counts:
    """Tell the CRM. One shard: hand-offs of a lead keep their order. *at* replays a moment."""
    return await run_shards(crm_shard, 1, at)
