"""Apply signals: what leads did."""

from prefect import flow

from flows.shards import Counts, log_counts, open_shard_app, run_name, run_shards, shard_task
from nurture.journey import stages


@shard_task("signals", minutes=10)
def signals_shard(shard: int, at: str | None) -> Counts:
    """Apply pending provider events, replies and recorded signals until none waits."""
    with open_shard_app(at) as app:
        return log_counts(shard, stages.apply_signals(app.ctx, app.clock, lambda: False))


@flow(name="signals", flow_run_name=run_name, timeout_seconds=900)
async def apply_signals(at: str | None = None) -> Counts:
    """Apply all pending signals in one shard, so that a lead's signals keep their order. *at* is a virtual time."""
    return await run_shards(signals_shard, 1, at)
