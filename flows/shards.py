"""Common parts of the flows: shards, retries, redaction, and the table of results."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run
from sqlalchemy.exc import DBAPIError

from flows.other_runs import end_stale_runs, share_round
from flows.task_runners import open_task_runner
from nurture.app import App, open_app
from nurture.clock import parse_time
from nurture.db import clock_row, last_rounds
from nurture.errors import ClockWentBackwards, InvalidDefinitions, Misconfigured, format_error_chain
from nurture.journey.leads.due_queries import find_due_stages, is_more_due
from nurture.runtime.context import AppContext
from nurture.versions import require_installed

logging.getLogger("prefect.task_runs").addFilter(
    # Prefect warns for every task with a timeout, which only matters for one long call; a shard calls per batch.
    lambda record: "running in a worker thread" not in str(record.msg)
)

Counts = dict[str, int]
"""The counts of a run, by name. Never rows of leads: Prefect stores results."""

Result = TypeVar("Result")
ShardArgs = ParamSpec("ShardArgs")
_CLAIMING: Final = frozenset({"intake", "advance", "deliver"})
"""Stages that only claim due rows; the others also ask a mailbox or a CRM, or keep hours."""
_TRANSIENT_SQLSTATES: Final = (
    "08",
    "40",
    "53300",
    "57P",
)  # PostgreSQL: connection, serialization and deadlock, full, stopping


def shard_task(
    name: str, *, minutes: int
) -> Callable[[Callable[[int, str | None], Result]], Task[[int, str | None], Result]]:
    """Return a decorator that makes a shard function a task, retried while the database is busy."""
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
    """A stage failed. It has error types and places only; `nurture run` on a terminal shows the message."""

    def __init__(self, message: str, is_transient: bool) -> None:  # noqa: FBT001 - pickled between processes
        super().__init__(message, is_transient)
        self.is_transient = is_transient

    def __str__(self) -> str:
        return str(self.args[0])


def redact_errors(shard: Callable[ShardArgs, Result]) -> Callable[ShardArgs, Result]:
    """Wrap *shard* so that no error message can quote a lead: Prefect's logs and database keep messages.

    Errors of set-up, clock and definitions pass unchanged.
    """

    @wraps(shard)
    def run_redacted(*args: ShardArgs.args, **named: ShardArgs.kwargs) -> Result:
        try:
            return shard(*args, **named)
        except (Misconfigured, ClockWentBackwards, InvalidDefinitions):
            raise
        except Exception as error:  # noqa: BLE001 - any error is raised again without its message
            failed = StageFailed(format_error_chain(error), is_transient(error))
        raise failed

    return run_redacted


async def run_shards(stage: Task[[int, str | None], Counts], shards: int, at: str | None) -> Counts:
    """Run *shards* of *stage* in parallel, add up their counts, and publish them as a table, unless all are zero.

    A run with nothing to claim ends at once, without tasks.
    """
    if at is None:
        await end_stale_runs()
        if stage.name in _CLAIMING:
            if not await asyncio.to_thread(is_due, stage.name):
                get_run_logger().info("nothing was due")
                return {}
            if await asyncio.to_thread(_is_more_due, stage.name):
                await share_round()
    done = await gather(stage, shards, at)
    total: Counter[str] = Counter()
    for counts in done:
        total.update(counts)
    if total:
        rows = [{"shard": number, **counts} for number, counts in enumerate(done, 1)]
        await publish_table(f"nurture-{stage.name}", rows, at)
    return dict(total)


async def gather(stage: Task[[int, str | None], Result], shards: int, at: str | None) -> list[Result]:
    """Run *shards* of *stage* in parallel where NURTURE_TASK_RUNNER says; only one on SQLite, which has one writer."""

    def run() -> list[Result]:
        with open_task_runner(shards) as (runner, count):
            futures = [runner.submit(stage, {"shard": shard, "at": at}) for shard in range(1, count + 1)]
            return [future.result() for future in futures]

    return await asyncio.to_thread(run)


async def publish_table(key: str, rows: list[dict[str, Any]], at: str | None) -> None:
    """Publish *rows* as the newest table artifact of *key*."""
    replay_note = "" if at is None else f" (replayed at {at})"
    await acreate_table_artifact(rows, key=key, description=f"What {flow_run.name} did{replay_note}.")


@contextmanager
def open_context(at: str | None) -> Iterator[tuple[AppContext, datetime]]:
    """Open the context of one shard, and yield it with the time: *at* (ISO) in a virtual database, else now."""
    with open_shard_app(at) as app:
        yield app.ctx, app.clock.now()


@contextmanager
def open_shard_app(at: str | None) -> Iterator[App]:
    """Open the app of one shard, with the database clock advanced."""
    require_installed()
    with open_app(at=parse_time(at) if at else None) as app:
        with app.database.write() as tx:
            clock_row.advance_to(tx, app.clock.now())
        try:
            yield app
        except Exception as error:
            with suppress(Exception), app.database.write() as tx:
                last_rounds.note_failure(tx, flow_run.flow_name or "", app.clock.now(), format_error_chain(error))
            raise
        with app.database.write() as tx:
            last_rounds.note_success(tx, flow_run.flow_name or "", app.clock.now())


def log_counts(shard: int, counts: Mapping[str, int]) -> Counts:
    """Log a shard's counts in one line, and return those that are not zero."""
    nonzero = {name: count for name, count in counts.items() if count}
    what = ", ".join(f"{name} {count}" for name, count in nonzero.items()) or "nothing was due"
    get_run_logger().info("shard %d: %s", shard, what)
    return nonzero


def run_name() -> str:
    """Return the name of a flow run: its flow and its scheduled time."""
    at = flow_run.parameters.get("at")
    scheduled_for: datetime | None = flow_run.scheduled_start_time
    when = at or (f"{scheduled_for:%Y-%m-%d %H:%M:%S}" if scheduled_for else "now")
    return f"{flow_run.flow_name} {when}"


def is_due(stage: str) -> bool:
    """Return whether something is due for *stage*, or that cannot be told: then its task says why."""
    try:
        with open_context(None) as (ctx, now), ctx.database.read() as tx:
            return stage in find_due_stages(tx, now)
    except Exception:  # noqa: BLE001 - the task meets the same error, redacts it and is retried if it is transient
        return True


def _is_more_due(stage: str) -> bool:
    """Return whether more than one batch is due for *stage*."""
    with suppress(Exception), open_context(None) as (ctx, now), ctx.database.read() as tx:
        return is_more_due(tx, stage, now, ctx.batch_size)
    return False


def _should_retry(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether to retry a failed shard: for a lock or a lost connection, not for a refusal."""
    return is_transient(state.result(raise_on_failure=False))


def is_transient(error: object) -> bool:
    """Return whether *error* comes from a busy or unreachable database."""
    if isinstance(error, StageFailed):
        return error.is_transient
    driver = error if isinstance(error, DBAPIError) else getattr(error, "__cause__", None)
    if not isinstance(driver, DBAPIError):
        return False
    code = getattr(driver.orig, "sqlstate", None)
    if code is not None:
        return str(code).startswith(_TRANSIENT_SQLSTATES)
    return driver.connection_invalidated or "locked" in str(driver.orig)
