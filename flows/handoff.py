"""Offer ready leads to reps, and expire unanswered offers."""

from prefect import flow

from flows.shards import Counts, log_counts, open_context, run_name, run_shards, shard_task
from nurture.journey.handoff.sweep import hand_off


@shard_task("hand-off", minutes=10)
def hand_off_shard(shard: int, at: str | None) -> Counts:
    """Expire unanswered offers, then offer waiting leads to reps with capacity."""
    with open_context(at) as (ctx, now):
        return log_counts(shard, hand_off(ctx, now))


@flow(name="hand-off", flow_run_name=run_name, timeout_seconds=900)
async def offer_ready_leads(at: str | None = None) -> Counts:
    """Offer ready leads in one shard, so that each rep's capacity is counted once. *at* is a virtual time."""
    return await run_shards(hand_off_shard, 1, at)
