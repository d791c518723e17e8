"""What a second worker adds on PostgreSQL: touches where the provider's latency is the limit, and the sweep."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from typing import Final

import psycopg
from pydantic import SecretStr
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.delivery.run import deliver
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.tracks.advance import advance
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.bench import seed_data
from tests.bench.delivering import BASE_URL
from tests.bench.figures import Figure, Skipped
from tests.bench.running import cpu_seconds, process_tree
from tests.doubles.sendgrid import KEY, Account, SendGridDouble
from tests.postgres import postgres

MESSAGES: Final = 4_000
LEADS: Final = 24_000
BATCH: Final = 500
REPEATS: Final = 3
AT_ONCE: Final = 20
LATENCY_MS: Final = 50
SATURATED: Final = 0.9
"""Share of the machine's CPU time from which on it, and not the workers, is the limit."""

_SAMPLE_SECONDS: Final = 0.02
_spawn = get_context("spawn")
Work = Callable[[str, str, Connection], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds on the wall, CPU seconds of workers and database, share of the machine's CPU that was busy.

    *lock_waits* is the mean number of sessions that wait for a lock of any kind.
    """

    wall: float
    cpu: float
    busy: float
    lock_waits: float


def measure(folder: Path) -> list[Figure | Skipped]:
    """Compare two workers with one, in turns, each a process of its own; the best run of each counts."""
    with postgres(durable=True) as url, SendGridDouble(folder / "sendgrid.log") as double:
        double.configure(Account(latency_ms=LATENCY_MS))
        touches: dict[int, list[Run]] = {1: [], 2: []}
        sweeps: dict[int, list[Run]] = {1: [], 2: []}
        for _ in range(REPEATS):
            for workers in (1, 2):
                touches[workers].append(_run(url, _planned, _send, double.url, workers))
                sweeps[workers].append(_run(url, _enrolled, _advance, "", workers))
    return [*_touch_figures(*_best(touches)), *_sweep_figures(*_best(sweeps))]


def _best(runs: dict[int, list[Run]]) -> tuple[Run, Run]:
    one, two = (min(runs[workers], key=lambda run: run.wall) for workers in (1, 2))
    return one, two


def _touch_figures(one: Run, two: Run) -> list[Figure]:
    note = (
        f"{MESSAGES / one.wall:,.0f} and {MESSAGES / two.wall:,.0f} touches/s, at most {AT_ONCE} calls of {LATENCY_MS} "
        f"ms each at once; {_describe(one)}; {_describe(two)}"
    )
    return [Figure("scale_out_touch_ratio", one.wall / two.wall, "times", minimum=1.7, note=note)]


def _sweep_figures(one: Run, two: Run) -> list[Figure]:
    is_saturated = two.busy >= SATURATED
    note = (
        f"{LEADS / one.wall:,.0f} and {LEADS / two.wall:,.0f} leads/s; {_describe(one)}; {_describe(two)}"
        f"{'; the cores are saturated, so CPU time per lead is the target' if is_saturated else ''}"
    )
    per_lead = f"{1e6 * one.cpu / LEADS:,.0f} and {1e6 * two.cpu / LEADS:,.0f} ms per 1,000 leads, database included"
    return [
        Figure(
            "scale_out_advance_ratio", one.wall / two.wall, "times", minimum=None if is_saturated else 1.5, note=note
        ),
        Figure(
            "scale_out_advance_cpu", two.cpu / one.cpu, "times", maximum=1.1 if is_saturated else None, note=per_lead
        ),
        Figure("scale_out_advance_lock_waits", two.lock_waits, "sessions"),
    ]


def _describe(run: Run) -> str:
    return f"{run.busy:.0%} of the machine busy, {run.lock_waits:.2f} sessions wait for a lock"


def _run(url: Callable[[str], str], prepare: Callable[[str], None], work: Work, api: str, workers: int) -> Run:
    """Let *workers* processes do *work* on a fresh database."""
    name = f"scale_{secrets.token_hex(4)}"
    with psycopg.connect(url("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        postmaster = _postmaster(server)
        try:
            prepare(url(name))
            return _measure(url(name), work, api, workers, postmaster)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _measure(url: str, work: Work, api: str, workers: int, postmaster: int) -> Run:
    pipes = [_spawn.Pipe() for _ in range(workers)]
    processes = [_spawn.Process(target=work, args=(url, api, theirs), daemon=True) for _, theirs in pipes]
    for process in processes:
        process.start()
    for ours, _ in pipes:
        ours.recv()  # it is ready
    with _sampled_lock_waits(url) as waits:
        before, machine = _database_cpu(postmaster), _machine_ticks()
        began = time.perf_counter()
        for ours, _ in pipes:
            ours.send(None)
        cpu = sum(ours.recv() for ours, _ in pipes)
        wall = time.perf_counter() - began
        busy, total = (after - then for after, then in zip(_machine_ticks(), machine, strict=True))
        cpu += _database_cpu(postmaster) - before
    for process in processes:
        process.join()
    return Run(wall, cpu, busy / total, mean(waits or [0.0]))


def _planned(url: str) -> None:
    made = seed_data.make_context(url)
    seed_data.enroll_leads(made, MESSAGES)
    advance(made, seed_data.START)
    _close(made)


def _enrolled(url: str) -> None:
    made = seed_data.make_context(url)
    seed_data.enroll_leads(made, LEADS)
    _close(made)


def _close(made: AppContext) -> None:
    with made.database.write() as tx:
        tx.execute(text("ANALYZE"))
    made.database.close()


def _send(url: str, api: str, control: Connection) -> None:
    provider = SendGridProvider(SecretStr(KEY), url=api, max_concurrency=AT_ONCE)
    made = AppContext(Database(url), provider, base_url=BASE_URL, batch_size=BATCH, message_kinds=MESSAGE_KINDS)
    _work(control, lambda: deliver(made, VirtualClock(seed_data.START)))


def _advance(url: str, _api: str, control: Connection) -> None:
    made = AppContext(Database(url), DiscardingProvider(), message_kinds=MESSAGE_KINDS)
    _work(control, lambda: advance(made, seed_data.START))


def _work(control: Connection, work: Callable[[], object]) -> None:
    control.send("ready")
    control.recv()
    began = time.process_time()
    work()
    control.send(time.process_time() - began)


@contextmanager
def _sampled_lock_waits(url: str) -> Iterator[list[float]]:
    """Yield a list that fills with the number of sessions of the database that wait for a lock."""
    waits: list[float] = []
    stop = threading.Event()
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type IN ('Lock', 'LWLock')"
    )

    def sample() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(_SAMPLE_SECONDS):
                (count,) = connection.execute(query).fetchone() or (0,)
                waits.append(float(count))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join()


def _postmaster(server: psycopg.Connection[tuple[object, ...]]) -> int:
    (home,) = server.execute("SHOW data_directory").fetchone() or ("",)
    return int(Path(str(home), "postmaster.pid").read_text().split()[0])


def _database_cpu(postmaster: int) -> float:
    return sum(cpu_seconds(process_tree(postmaster)).values())


def _machine_ticks() -> tuple[int, int]:
    """Return the busy and all ticks of the machine's cores."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
