"""Send the messages that are due."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.concurrency.sync import concurrency

from flows.deployments import SENDER_LIMIT
from flows.shards import TASK_RUNNER, Counts, log_counts, open_shard_app, run_name, run_shards, shard_task
from nurture.journey.broadcasts.plan import plan_due
from nurture.journey.delivery.run import deliver
from nurture.outbox import messages
from nurture.runtime.context import AppContext

SLOT_LEASE: Final = 60.0
"""Seconds after which the slot of a worker that died is free again."""


def track_progress(shard: int, ctx: AppContext, now: datetime) -> Callable[[], None]:
    """Return a function to call after each batch. Only the first shard reports, and only for several batches."""
    total = _count_due(ctx, now) if shard == 1 else 0
    if total <= ctx.batch_size:
        return lambda: None
    made = create_progress_artifact(0.0, key="nurture-deliver-progress", description=f"{total} messages are due.")
    assert isinstance(made, UUID)  # a coroutine only inside an event loop
    return partial(_update_progress, ctx, now, total, made)


def _update_progress(ctx: AppContext, now: datetime, total: int, artifact: UUID) -> None:
    left = min(_count_due(ctx, now), total)  # other shards send too
    update_progress_artifact(artifact, 100.0 * (total - left) / total)


def _count_due(ctx: AppContext, now: datetime) -> int:
    with ctx.database.read() as tx:
        return messages.count_due(tx, now)


@shard_task("deliver", minutes=60)
def deliver_shard(shard: int, at: str | None) -> Counts:
    """Plan due broadcasts, and send due messages in batches. SENDER_LIMIT limits the concurrent senders."""
    with open_shard_app(at) as app:
        plan_due(app.ctx, app.clock.now())
        shown = track_progress(shard, app.ctx, app.clock.now())
        with concurrency(SENDER_LIMIT, strict=True, lease_duration=SLOT_LEASE):
            done = deliver(app.ctx, app.clock, shown)
        shown()  # the other shards have sent the rest by now
        if done.refusal:
            get_run_logger().error(done.refusal)
        return log_counts(shard, done.states)


@flow(name="deliver", flow_run_name=run_name, timeout_seconds=3_700, task_runner=TASK_RUNNER)
async def deliver_due_mail(shards: int = 4, at: str | None = None) -> Counts:
    """Send every message that is due. *at* is a time (ISO) on a virtual clock."""
    return await run_shards(deliver_shard, shards, at)
