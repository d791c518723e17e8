"""Make of what leads did what it means."""

from __future__ import annotations

from prefect import flow

from flows.shell import Counts, opened, run_name, run_shards, shard_task, told
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.signals import listen
from nurture.journey.intake.api import idempotency


@shard_task("listen", minutes=10)
def listen_shard(shard: int, at: str | None) -> Counts:
    """Apply what webhooks left over, and recorded signals, until none waits."""
    with opened(at) as (house, now):
        idempotency.sweep(house, now)
        heard = {"events": provider_events.sweep(house, now).new, "replies": replies.poll(house, now).new}
        return told(shard, {**heard, "signals": listen(house, now)})


@flow(name="listen", flow_run_name=run_name, timeout_seconds=900)
async def apply_signals(at: str | None = None) -> Counts:
    """Apply every signal that waits. One shard: a lead's signals keep their order. *at* replays a moment."""
    return await run_shards(listen_shard, 1, at)
