"""What every flow has in common: a shard of work, what is worth retrying, the table of what was done."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from sqlalchemy.exc import DBAPIError

from nurture.app import App, open_app
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.errors import ClockWentBackwards, InvalidDefinitions, InvalidState, Misconfigured, format_error_chain
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from nurture.versions import require_installed

logging.getLogger("prefect.task_runs").addFilter(
    # Said of every task with a timeout. It holds for one long call; a shard's calls are a batch each.
    lambda record: "running in a worker thread" not in str(record.msg)
)

Counts = dict[str, int]
"""What a run did, by name. Never rows of leads: Prefect keeps results."""

Result = TypeVar("Result")
ShardArgs = ParamSpec("ShardArgs")
MAX_SHARDS: Final = 16
TASK_RUNNER: Final[TaskRunner[PrefectFuture[Any]]] = ThreadPoolTaskRunner(  # type: ignore[assignment]
    max_workers=MAX_SHARDS
)
_TRANSIENT_SQLSTATES: Final = (
    "08",
    "40",
    "53300",
    "57P",
)  # PostgreSQL: connection, serialization and deadlock, full, stopping


def shard_task(
    name: str, *, minutes: int
) -> Callable[[Callable[[int, str | None], Result]], Task[[int, str | None], Result]]:
    """Make a shard (its number, its moment) a task that tries again while the database is busy."""
    as_task: Any = task(
        name=name,
        task_run_name=name + "-{shard}",
        retries=3,
        retry_delay_seconds=[2, 10, 30],
        retry_jitter_factor=0.5,
        retry_condition_fn=_should_retry,
        timeout_seconds=minutes * 60,
    )
    return lambda shard: as_task(redact_errors(shard))


class StageFailed(Exception):
    """A stage failed. Its types and places are here; `nurture run` on a terminal shows its message."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(format_error_chain(error))
        self.is_transient = is_transient(error)


def redact_errors(shard: Callable[ShardArgs, Result]) -> Callable[ShardArgs, Result]:
    """Let no message out of *shard* that may quote a lead: Prefect's logs and its database keep them all.

    What is wrong with the set-up, the clock or the rules is said as it is.
    """

    @wraps(shard)
    def run_redacted(*args: ShardArgs.args, **named: ShardArgs.kwargs) -> Result:
        try:
            return shard(*args, **named)
        except (Misconfigured, ClockWentBackwards, InvalidDefinitions):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said again without its message
            failed = StageFailed(error)
        raise failed

    return run_redacted


async def run_shards(stage: Task[[int, str | None], Counts], shards: int, at: str | None) -> Counts:
    """Run *shards* of *stage* side by side, add up what they did, and leave it as a table."""
    done = await gather(stage, shards, at)
    total: Counter[str] = Counter()
    for counts in done:
        total.update(counts)
    rows = [{"shard": number, **counts} for number, counts in enumerate(done, 1)]
    await publish_table(f"nurture-{stage.name}", rows, at)
    return dict(total)


async def gather(stage: Task[[int, str | None], Result], shards: int, at: str | None) -> list[Result]:
    """Run *shards* of *stage* side by side; one on SQLite, which has one writer."""
    futures = [stage.submit(shard, at) for shard in range(1, _usable_shards(shards) + 1)]
    return await asyncio.to_thread(lambda: [future.result() for future in futures])


async def publish_table(key: str, rows: list[dict[str, Any]], at: str | None) -> None:
    """Leave *rows* as the newest table artifact of this *key*."""
    replay_note = "" if at is None else f" (replayed at {at})"
    await acreate_table_artifact(rows, key=key, description=f"What {flow_run.name} did{replay_note}.")


@contextmanager
def open_context(at: str | None) -> Iterator[tuple[AppContext, datetime]]:
    """Open the context for one shard and say what time it is: *at* (ISO) in a virtual database, else now."""
    with open_shard_app(at) as app:
        yield app.ctx, app.clock.now()


@contextmanager
def open_shard_app(at: str | None) -> Iterator[App]:
    """Open the app for one shard whose work takes time; its clock has been noted."""
    require_installed()
    with open_app(at=_parse_time(at)) as app:
        with app.database.write() as connection:
            clock_row.advance_to(connection, app.clock.now())
        yield app


def log_counts(shard: int, counts: Mapping[str, int]) -> Counts:
    """Log what a shard did, in one line, and return it without the zeros."""
    nonzero = {name: count for name, count in counts.items() if count}
    what = ", ".join(f"{name} {count}" for name, count in nonzero.items()) or "nothing was due"
    get_run_logger().info("shard %d: %s", shard, what)
    return nonzero


def run_name() -> str:
    """Name a flow run after its flow and the time that it was meant for."""
    at = flow_run.parameters.get("at")
    scheduled_for: datetime | None = flow_run.scheduled_start_time
    when = at or (f"{scheduled_for:%Y-%m-%d %H:%M:%S}" if scheduled_for else "now")
    return f"{flow_run.flow_name} {when}"


def _usable_shards(shards: int) -> int:
    database = Database(Settings.read().database_url.get_secret_value())
    return min(max(shards, 1), MAX_SHARDS) if database.skips_locked else 1


def _parse_time(at: str | None) -> datetime | None:
    if at is None:
        return None
    try:
        parsed = datetime.fromisoformat(at)
    except ValueError:
        raise InvalidState(f"{at!r} is not a time. Write it as 2027-03-31 or 2027-03-31T09:00.") from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _should_retry(_task: Any, _run: Any, state: Any) -> bool:
    """Say whether a failed shard is worth another try: a lock or a lost connection, not a refusal."""
    return is_transient(state.result(raise_on_failure=False))


def is_transient(error: object) -> bool:
    """Say whether *error* comes from a busy or absent database, which may be free or back soon."""
    if isinstance(error, StageFailed):
        return error.is_transient
    driver = error if isinstance(error, DBAPIError) else getattr(error, "__cause__", None)
    if not isinstance(driver, DBAPIError):
        return False
    code = getattr(driver.orig, "sqlstate", None)
    if code is not None:
        return str(code).startswith(_TRANSIENT_SQLSTATES)
    return driver.connection_invalidated or "locked" in str(driver.orig)
