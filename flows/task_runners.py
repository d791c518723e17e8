"""Choose where the shards of a run work: in threads or processes of its machine, or on a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from nurture.db.engine import Database
from nurture.errors import Misconfigured
from nurture.settings import PROCESSES, THREADS, Settings

MAX_SHARDS: Final = 16

AnyTaskRunner: TypeAlias = TaskRunner[PrefectFuture[Any]]


@contextmanager
def open_task_runner(shards: int) -> Iterator[tuple[AnyTaskRunner, int]]:
    """Yield what NURTURE_TASK_RUNNER names, and how many of *shards* to run: one on SQLite, which has one writer.

    Raises Misconfigured if it names a Dask cluster and the extra `dask` is not installed.
    """
    settings = Settings.read()
    database = Database(settings.database_url.get_secret_value())
    count = 1 if database.is_sqlite else min(max(shards, 1), MAX_SHARDS)
    with _make_task_runner(THREADS if count == 1 else settings.task_runner, count) as runner:
        yield runner, count


def _make_task_runner(kind: str, count: int) -> AnyTaskRunner:
    made: Any
    if kind == THREADS:
        made = ThreadPoolTaskRunner(max_workers=count)
    elif kind == PROCESSES:
        made = ProcessPoolTaskRunner(max_workers=count)
    else:
        try:
            from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415 - an extra
        except ImportError:
            raise Misconfigured(
                f"NURTURE_TASK_RUNNER names a Dask cluster, {kind}, and prefect-dask is not installed. "
                "Install nurture with the extra `dask`, or set NURTURE_TASK_RUNNER=processes."
            ) from None
        made = DaskTaskRunner(address=kind)
    runner: AnyTaskRunner = made
    return runner
