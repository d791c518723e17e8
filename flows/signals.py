"""Apply signals: what leads did."""

from prefect import flow

from flows.shards import Counts, log_counts, open_context, run_name, run_shards, shard_task
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.signals import apply_pending_signals
from nurture.journey.intake.api import idempotency


@shard_task("signals", minutes=10)
def signals_shard(shard: int, at: str | None) -> Counts:
    """Apply pending provider events, replies and recorded signals until none waits."""
    with open_context(at) as (ctx, now):
        idempotency.delete_expired(ctx, now)
        inbound = {"events": provider_events.process_pending(ctx, now).new, "replies": replies.poll_inbox(ctx, now).new}
        return log_counts(shard, {**inbound, "signals": apply_pending_signals(ctx, now)})


@flow(name="signals", flow_run_name=run_name, timeout_seconds=900)
async def apply_signals(at: str | None = None) -> Counts:
    """Apply all pending signals in one shard, so that a lead's signals keep their order. *at* is a virtual time."""
    return await run_shards(signals_shard, 1, at)
