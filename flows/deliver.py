"""Send the messages that are due."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.shards import Counts, is_due, log_counts, open_context, open_shard_app, run_name, run_shards, shard_task
from nurture.journey.broadcasts.plan import plan_due
from nurture.journey.delivery.run import deliver
from nurture.journey.stages import note_batch
from nurture.outbox import messages
from nurture.runtime.context import AppContext

ROUND_SECONDS: Final = 60.0
"""Seconds after which a run does not begin anew, nor a shard a further batch: later runs go on, so that few overlap."""


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


@shard_task("deliver", minutes=30)
def deliver_shard(shard: int, at: str | None) -> Counts:
    """Plan due broadcasts, and send due messages in batches."""
    ends = time.monotonic() + ROUND_SECONDS
    with open_shard_app(at) as app:
        plan_due(app.ctx, app.clock.now())
        shown = track_progress(shard, app.ctx, app.clock.now())

        def after_batch() -> None:
            note_batch(app.ctx, app.clock)
            shown()

        done = deliver(app.ctx, app.clock, after_batch, should_stop=lambda: time.monotonic() > ends)
        shown()  # the other shards have sent the rest by now
        if done.refusal:
            get_run_logger().error(done.refusal)
        return log_counts(shard, done.states)


@flow(name="deliver", flow_run_name=run_name, timeout_seconds=1_900)
async def deliver_due_mail(shards: int = 4, at: str | None = None) -> Counts:
    """Send every message that is due. *at* is a time (ISO) on a virtual clock.

    While another run is sending, this one stays: should that one's worker die, it takes over when the leases end.
    """
    ends = time.monotonic() + ROUND_SECONDS
    counts = Counter(await run_shards(deliver_shard, shards, at))
    while at is None and time.monotonic() < ends and await asyncio.to_thread(_is_another_sending):
        await asyncio.sleep(1)
        if await asyncio.to_thread(is_due, "deliver"):
            counts.update(await run_shards(deliver_shard, shards, at))
    return dict(counts)


def _is_another_sending() -> bool:
    with open_context(None) as (ctx, _), ctx.database.read() as tx:
        return messages.QUEUE.has_leases(tx)
