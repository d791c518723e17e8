"""Show a progress artifact in Prefect for deliveries of more than one batch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from nurture.outbox import messages
from nurture.runtime.context import AppContext


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
