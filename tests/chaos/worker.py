"""A worker process that is killed at a given checkpoint."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Event, Lock, Timer
from typing import Any, Final, NamedTuple

import orjson
from pydantic import SecretStr

from nurture.app import make_machine
from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.journey.delivery.run import deliver
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.outbox.lease_queue import BEAT_INTERVAL
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from tests.chaos.databases import BASE_URL
from tests.doubles.sendgrid import KEY

WORKER_POINTS: Final = (
    "render",
    "claim",
    "claimed",
    "last check",
    "before the call",
    "after the call",
    "write-back",
    "written back",
)
HEARTBEAT_POINTS: Final = ("heartbeat", "renewed")
"""Inside and after the transaction that extends the leases."""

FAST_BEAT: Final = timedelta(milliseconds=2)
LINE_POINTS: Final = ("bytes sent", "response read")
PAST_LEASE: Final = 120.0
"""Seconds by which the clock of a later worker is ahead, so that the leases of the dead one are over."""
WAIT: Final = 120.0
"""Seconds after which a worker counts as hanging, which fails the run."""

_forks = get_context("forkserver")  # forking a process with threads would copy locks that are never released
_forks.set_forkserver_preload(
    [
        "__main__",
        "tests.chaos.worker",
        "tests.chaos.handoff_kills",
        "psycopg",
        "sqlalchemy.dialects.postgresql",
        "sqlalchemy.dialects.sqlite",
    ]
)


class OffsetClock:
    """The real clock, some seconds *ahead*, so that tests need not wait for leases."""

    is_live = True

    def __init__(self, ahead: float = 0) -> None:
        self._real = RealClock()
        self._ahead = timedelta(seconds=ahead)

    def now(self) -> datetime:
        return self._real.now() + self._ahead

    def wait(self, until: datetime, max_wait: timedelta) -> bool:
        return self._real.wait(until - self._ahead, max_wait)


class Death(NamedTuple):
    """Where a worker ends: the *nth* time it passes *point*, or after *seconds* wherever it is.

    SIGSTOP as *signal* stops it until it is resumed.
    """

    point: str = ""
    nth: int = 1
    seconds: float | None = None
    signal: int = signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job of a worker: drain the outbox at *url* into the double at *api*, noting in *notes*.

    With *machine*, a folder for the private files of a machine, it detects a copied or restored database.
    """

    name: str
    url: str
    api: str
    origin: str
    notes: Path
    ahead: float = 0
    batch: int = 12
    at_once: int = 8
    read_timeout: float = 20.0
    total_timeout: float = 25.0
    death: Death | None = None
    machine: Path | None = None


def start(work: Callable[..., None], *given: object) -> ForkServerProcess:
    """Run *work* in a separate process."""
    process: ForkServerProcess = _forks.Process(target=work, args=given, daemon=True)
    process.start()
    return process


def pipe() -> tuple[Connection, Connection]:
    """Return the two ends of a pipe that works in both directions."""
    return _forks.Pipe()


class Note(NamedTuple):
    """One point passed, when (CLOCK_MONOTONIC), and the send keys concerned."""

    point: str
    at: float
    keys: tuple[str, ...]


class Worker:
    """A worker process that starts its job at `go`."""

    def __init__(self, job: Any, work: Callable[[Any, Connection], None] | None = None) -> None:
        self.job = job
        receiver, self._sender = _forks.Pipe(duplex=False)
        given = (job, receiver)
        self.process: ForkServerProcess = _forks.Process(target=work or _run_job, args=given, daemon=True)
        self.process.start()
        receiver.close()

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self.process.pid is not None
        return self.process.pid

    def go(self) -> Worker:
        """Start the job."""
        self._sender.send_bytes(b"go")
        return self

    def end(self, seconds: float = WAIT) -> int:
        """Wait for the end; return the exit code, negative for a signal. Raises if it hangs."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise RuntimeError(f"worker {self.job.name} hung for {seconds} s: {self.job}")
        return self.process.exitcode

    def is_asleep(self) -> bool:
        """Return whether a signal stopped it."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    def wake(self) -> None:
        """Resume it."""
        os.kill(self.pid, signal.SIGCONT)

    def passed(self, *points: str) -> list[Note]:
        """Return the notes of *points*, or all of them."""
        return passed(self.job.notes, points)


def passed(notes: Path, points: Collection[str] = ()) -> list[Note]:
    """Read the notes of a worker, of *points* or all; a line that the kill cut short is ignored."""
    whole = notes.read_bytes().rpartition(b"\n")[0] if notes.exists() else b""
    found = [orjson.loads(line) for line in whole.split(b"\n") if line]
    return [Note(point, at, tuple(keys)) for point, at, keys in found if not points or point in points]


class Notes:
    """Appends notes to a file, where they survive the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, point: str, keys: Sequence[str]) -> None:
        """Note that *point* is passed now."""
        line = [point, time.monotonic(), list(keys)]
        os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class Observer:
    """Notes each point before anything else happens there, and kills the process at its point."""

    def __init__(self, notes: Path, death: Death | None) -> None:
        self.notes = Notes(notes)
        self._death = death
        self._seen: Counter[str] = Counter()
        self._lock = Lock()
        self._has_beaten = Event()

    @property
    def beat_interval(self) -> timedelta:
        """Return the time between heartbeats, short if the process ends in one."""
        return FAST_BEAT if self._death is not None and self._death.point in HEARTBEAT_POINTS else BEAT_INTERVAL

    def __call__(self, point: str, keys: Sequence[str] = ()) -> None:
        self.notes.write(point, keys)
        death = self._death
        if point == "renewed":
            self._has_beaten.set()
        if death is None or death.point != point:
            if point == "before the call" and self.beat_interval == FAST_BEAT:
                self._has_beaten.clear()  # each call lasts for at least one heartbeat
                self._has_beaten.wait(WAIT)
            return
        with self._lock:
            self._seen[point] += 1
            if self._seen[point] == death.nth:
                os.kill(os.getpid(), death.signal)


def drain_outbox(url: str, api: str, origin: str, definitions: PublishedDefinitions | None = None) -> None:
    """Deliver the remaining messages in this process, after every lease is over."""
    provider = SendGridProvider(SecretStr(KEY), url=api)
    ctx = AppContext(
        Database(url),
        provider,
        base_url=BASE_URL,
        installation_id=origin,
        definitions=definitions or PublishedDefinitions(),
        message_kinds=MESSAGE_KINDS,
    )
    try:
        deliver(ctx, OffsetClock(2 * PAST_LEASE))
    finally:
        provider.close()
        ctx.database.close()


def _run_job(job: Job, start_signal: Connection) -> None:
    start_signal.recv_bytes()
    observer = Observer(job.notes, job.death)
    if job.death is not None and job.death.seconds is not None:
        timer = Timer(job.death.seconds, os.kill, (os.getpid(), job.death.signal))
        timer.daemon = True
        timer.start()
    with working_context(job, observer) as ctx:
        deliver(ctx, OffsetClock(job.ahead), observe=observer)


@contextmanager
def working_context(job: Job, observer: Observer) -> Iterator[AppContext]:
    """Give a worker its context; note why it failed, and end the process."""
    ctx = make_context(job, observer)
    try:
        yield ctx
    except BaseException:  # noqa: BLE001 - said to whoever judges
        observer("failed", [traceback.format_exc()])
        raise SystemExit(1) from None
    finally:
        ctx.provider.close()
        ctx.database.close()


def make_context(job: Job, observer: Observer) -> AppContext:
    """Return the context of a worker that notes what its provider does."""
    provider = SendGridProvider(
        SecretStr(KEY),
        url=job.api,
        max_concurrency=job.at_once,
        read_timeout=job.read_timeout,
        total_timeout=job.total_timeout,
        observe=observer,
    )
    database = Database(job.url)
    if job.machine is not None:
        database.machine = make_machine(database, job.machine, OffsetClock(job.ahead))
    return AppContext(
        database,
        provider,
        base_url=BASE_URL,
        installation_id=job.origin,
        batch_size=job.batch,
        message_kinds=MESSAGE_KINDS,
        beat_interval=observer.beat_interval,
    )
