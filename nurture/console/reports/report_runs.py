"""Long reports for pages: computed in a thread, one at a time, kept for minutes, and shown with their time."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from nurture.clock import RealClock
from nurture.errors import NurtureError, format_error_chain
from nurture.reporting.console.reports import ReportKind
from nurture.runtime.context import AppContext

FRESH: Final = timedelta(minutes=5)
"""How long a result is shown before it is computed again."""

QUICK_SECONDS: Final = 1.0
"""How long a page waits for a result before it says that it is being computed."""

RETRY: Final = timedelta(seconds=10)
"""How long an error is shown before the report is computed again."""

_MAX_KEPT: Final = 32
_MAX_CHOICE: Final = 100
_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """The newest result of one report, when it was asked for, and the computation that runs now."""

    result: Any = None
    now: datetime | None = None
    real_now: datetime | None = None
    running: Future[None] | None = None
    error: str = ""

    @property
    def is_running(self) -> bool:
        """Return whether the report is being computed."""
        return self.running is not None and not self.running.done()


@dataclass(slots=True)
class ReportRuns:
    """The results of a process. At most one report is computed at a time; who asks for it meanwhile shares it."""

    _runs: OrderedDict[tuple[str, ...], Run] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "nurture-report"))

    def get(self, key: tuple[str, ...], compute: Callable[[], Any], now: datetime, real_now: datetime) -> Run:
        """Return the newest result of the report *key*, after a second at most; start *compute* if it is too old.

        *now* is the time of the database, *real_now* that of the machine: a result is old by either.
        """
        with self._lock:
            run = self._runs.setdefault(key, Run())
            self._runs.move_to_end(key)
            if not run.is_running and not _is_fresh(run, now, real_now):
                run.running = self._threads.submit(self._compute, run, compute, now, real_now)
            while len(self._runs) > _MAX_KEPT:
                self._runs.popitem(last=False)
            running = run.running
        if running is not None and run.result is None:
            wait((running,), QUICK_SECONDS)
        return copy(run)

    @staticmethod
    def _compute(run: Run, compute: Callable[[], Any], now: datetime, real_now: datetime) -> None:
        try:
            run.result, run.error = compute(), ""
        except NurtureError as error:
            run.result, run.error = None, str(error)
        except Exception as error:  # noqa: BLE001 - no message may reach the viewer
            _log.error("report_failed: %s", format_error_chain(error))
            run.error = "The report could not be computed. It was logged."
        run.now, run.real_now = now, real_now


def _is_fresh(run: Run, now: datetime, real_now: datetime) -> bool:
    if run.now is None or run.real_now is None:
        return False
    kept = FRESH if not run.error else RETRY
    return timedelta() <= now - run.now < kept and real_now - run.real_now < kept


def choose(kind: ReportKind, values: Mapping[str, str]) -> dict[str, str]:
    """Return those of *values* that the report knows and that are not empty."""
    found = {name: values.get(name, "").strip()[:_MAX_CHOICE] for name in (*kind.choices, *kind.hidden)}
    return {name: value for name, value in found.items() if value}


def run(ctx: AppContext, kind: ReportKind, chosen: Mapping[str, str], now: datetime) -> Run:
    """Return the newest result of a report, after a second at most."""
    key = (kind.name, *(f"{name}={value}" for name, value in sorted(chosen.items())))
    return _RUNS.get(key, lambda: kind.compute(ctx, now, chosen), now, RealClock().now())


_RUNS: Final = ReportRuns()
