"""Send the messages that are due."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.concurrency.sync import concurrency

from flows.deployments import SENDER_LIMIT
from flows.progress import track_progress
from flows.shards import TASK_RUNNER, Counts, log_counts, open_shard_app, run_name, run_shards, shard_task
from nurture.journey.delivery.run import deliver


@shard_task("deliver", minutes=60)
def deliver_shard(shard: int, at: str | None) -> Counts:
    """Send due messages in batches until none is due. SENDER_LIMIT limits the concurrent senders."""
    with open_shard_app(at) as app:
        shown = track_progress(shard, app.ctx, app.clock.now())
        with concurrency(SENDER_LIMIT, strict=True):
            done = deliver(app.ctx, app.clock, shown)
        shown()  # the other shards have sent the rest by now
        if done.refusal:
            get_run_logger().error(done.refusal)
        return log_counts(shard, done.states)


@flow(name="deliver", flow_run_name=run_name, timeout_seconds=3_700, task_runner=TASK_RUNNER)
async def deliver_due_mail(shards: int = 4, at: str | None = None) -> Counts:
    """Send every message that is due. *at* is a time (ISO) on a virtual clock."""
    return await run_shards(deliver_shard, shards, at)
