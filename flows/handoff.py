"""Offer ready leads to reps, and take back what nobody answered in time."""

from __future__ import annotations

from prefect import flow

from flows.shards import Counts, log_counts, open_context, run_name, run_shards, shard_task
from nurture.journey.handoff.sweep import hand_off


@shard_task("hand-off", minutes=10)
def hand_off_shard(shard: int, at: str | None) -> Counts:
    """Take unanswered offers back, then offer waiting leads to reps with room."""
    with open_context(at) as (ctx, now):
        return log_counts(shard, hand_off(ctx, now))


@flow(name="hand-off", flow_run_name=run_name, timeout_seconds=900)
async def offer_ready_leads(at: str | None = None) -> Counts:
    """Offer ready leads. One shard: a rep's capacity is counted once. *at* replays a moment."""
    return await run_shards(hand_off_shard, 1, at)
