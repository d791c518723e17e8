"""Send the mail whose time has come."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.concurrency.sync import concurrency

from flows.deployments import SENDERS
from flows.progress import progress
from flows.shell import THREADS, Counts, opened_app, run_name, run_shards, shard_task, told
from nurture.journey.delivery.run import deliver
from nurture.runtime import quarantine


@shard_task("deliver", minutes=60)
def deliver_shard(shard: int, at: str | None) -> Counts:
    """Send due messages, batch after batch, until none is due. Never more senders at once than the limit."""
    with opened_app(at) as app:
        shown = progress(shard, app.house, app.clock.now())
        with concurrency(SENDERS, strict=True):
            done = deliver(app.house, app.clock, shown)
        shown()  # what this shard left, others have taken by now
        if done.quarantine:
            get_run_logger().error(
                "nothing was sent: %s. %s", done.quarantine, quarantine.ends(done.quarantine)
            )
        return told(shard, done.states)


@flow(
    name="deliver",
    flow_run_name=run_name,
    timeout_seconds=3_700,
    task_runner=THREADS,
)
async def deliver_due_mail(shards: int = 4, at: str | None = None) -> Counts:
    """Send every message that is due. *at* replays a moment (ISO) of a virtual clock."""
    return await run_shards(deliver_shard, shards, at)
