"""A progress bar among Prefect's artifacts, for sends that take more than one batch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from nurture.outbox import messages
from nurture.runtime.context import House


def progress(shard: int, house: House, now: datetime) -> Callable[[], None]:
    """Return what to call after each batch. The first shard shows all; one batch needs no progress bar."""
    total = _waiting(house, now) if shard == 1 else 0
    if total <= house.batch:
        return lambda: None
    made = create_progress_artifact(
        0.0, key="nurture-deliver-progress", description=f"{total} messages are due."
    )
    assert isinstance(made, UUID)  # a coroutine only where there is an event loop
    return partial(_show, house, now, total, made)


def _show(house: House, now: datetime, total: int, artifact: UUID) -> None:
    left = min(_waiting(house, now), total)  # other shards send too
    update_progress_artifact(artifact, 100.0 * (total - left) / total)


def _waiting(house: House, now: datetime) -> int:
    with house.database.read() as connection:
        return messages.count_due(connection, now)
