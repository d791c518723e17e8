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
from nurture.errors import ClockWentBackwards, Misconfigured, Refused, RulesFaulty, traced
from nurture.runtime.context import House
from nurture.settings import Settings
from nurture.versions import require_installed

logging.getLogger("prefect.task_runs").addFilter(
    # Said of every task with a timeout. It holds for one long call; a shard's calls are a batch each.
    lambda record: "running in a worker thread" not in str(record.msg)
)

Counts = dict[str, int]
"""What a run did, by name. Never rows of leads: Prefect keeps results."""

Told = TypeVar("Told")
Shard = ParamSpec("Shard")
MAX_SHARDS: Final = 16
THREADS: Final[TaskRunner[PrefectFuture[Any]]] = ThreadPoolTaskRunner(  # type: ignore[assignment]
    max_workers=MAX_SHARDS
)
_PASSING: Final = (
    "08",
    "40",
    "53300",
    "57P",
)  # PostgreSQL: connection, serialization and deadlock, full, stopping


def shard_task(
    name: str, *, minutes: int
) -> Callable[[Callable[[int, str | None], Told]], Task[[int, str | None], Told]]:
    """Make a shard (its number, its moment) a task that tries again while the database is busy."""
    as_task: Any = task(
        name=name,
        task_run_name=name + "-{shard}",
        retries=3,
        retry_delay_seconds=[2, 10, 30],
        retry_jitter_factor=0.5,
        retry_condition_fn=_may_pass,
        timeout_seconds=minutes * 60,
    )
    return lambda shard: as_task(without_messages(shard))


class StageFailed(Exception):
    """A stage failed. Its types and places are here; `nurture run` on a terminal shows its message."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(traced(error))
        self.passes = may_pass(error)


def without_messages(shard: Callable[Shard, Told]) -> Callable[Shard, Told]:
    """Let no message out of *shard* that may quote a lead: Prefect's logs and its database keep them all.

    What is wrong with the set-up, the clock or the rules is said as it is.
    """

    @wraps(shard)
    def failing_without(*args: Shard.args, **named: Shard.kwargs) -> Told:
        try:
            return shard(*args, **named)
        except (Misconfigured, ClockWentBackwards, RulesFaulty):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said again without its message
            failed = StageFailed(error)
        raise failed

    return failing_without


async def run_shards(stage: Task[[int, str | None], Counts], shards: int, at: str | None) -> Counts:
    """Run *shards* of *stage* side by side, add up what they did, and leave it as a table."""
    done = await gather(stage, shards, at)
    total: Counter[str] = Counter()
    for counts in done:
        total.update(counts)
    rows = [{"shard": number, **counts} for number, counts in enumerate(done, 1)]
    await leave_table(f"nurture-{stage.name}", rows, at)
    return dict(total)


async def gather(stage: Task[[int, str | None], Told], shards: int, at: str | None) -> list[Told]:
    """Run *shards* of *stage* side by side; one on SQLite, which has one writer."""
    futures = [stage.submit(shard, at) for shard in range(1, _usable(shards) + 1)]
    return await asyncio.to_thread(lambda: [future.result() for future in futures])


async def leave_table(key: str, rows: list[dict[str, Any]], at: str | None) -> None:
    """Leave *rows* as the newest table artifact of this *key*."""
    when = "" if at is None else f" (replayed at {at})"
    await acreate_table_artifact(rows, key=key, description=f"What {flow_run.name} did{when}.")


@contextmanager
def opened(at: str | None) -> Iterator[tuple[House, datetime]]:
    """Open the house for one shard and say what time it is: *at* (ISO) in a virtual database, else now."""
    with opened_app(at) as app:
        yield app.house, app.clock.now()


@contextmanager
def opened_app(at: str | None) -> Iterator[App]:
    """Open the app for one shard whose work takes time; its clock has been noted."""
    require_installed()
    with open_app(at=_moment(at)) as app:
        with app.database.write() as connection:
            clock_row.note(connection, app.clock.now())
        yield app


def told(shard: int, counts: Mapping[str, int]) -> Counts:
    """Log what a shard did, in one line, and return it without the zeros."""
    done = {name: count for name, count in counts.items() if count}
    what = ", ".join(f"{name} {count}" for name, count in done.items()) or "nothing was due"
    get_run_logger().info("shard %d: %s", shard, what)
    return done


def run_name() -> str:
    """Name a flow run after its flow and the time that it was meant for."""
    at = flow_run.parameters.get("at")
    meant: datetime | None = flow_run.scheduled_start_time
    when = at or (f"{meant:%Y-%m-%d %H:%M:%S}" if meant else "now")
    return f"{flow_run.flow_name} {when}"


def _usable(shards: int) -> int:
    database = Database(Settings.read().database_url.get_secret_value())
    return min(max(shards, 1), MAX_SHARDS) if database.skips_locked else 1


def _moment(at: str | None) -> datetime | None:
    if at is None:
        return None
    try:
        read = datetime.fromisoformat(at)
    except ValueError:
        raise Refused(f"{at!r} is not a time. Write it as 2027-03-31 or 2027-03-31T09:00.") from None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Say whether a failed shard is worth another try: a lock or a lost connection, not a refusal."""
    return may_pass(state.result(raise_on_failure=False))


def may_pass(error: object) -> bool:
    """Say whether *error* comes from a busy or absent database, which may be free or back soon."""
    if isinstance(error, StageFailed):
        return error.passes
    driver = error if isinstance(error, DBAPIError) else getattr(error, "__cause__", None)
    if not isinstance(driver, DBAPIError):
        return False
    code = getattr(driver.orig, "sqlstate", None)
    if code is not None:
        return str(code).startswith(_PASSING)
    return driver.connection_invalidated or "locked" in str(driver.orig)
