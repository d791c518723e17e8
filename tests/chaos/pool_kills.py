"""Kill workers of a work pool with all their processes, under a real Prefect server: mail goes on within a minute."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import psycopg

from nurture.clock import RealClock
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.outbox import circuit_breakers
from tests.bench.figures import Figure
from tests.chaos.databases import PostgresSource
from tests.chaos.verdicts import Oracle, Verdict, in_flight, judge, states_in, wait_until_idle
from tests.chaos.worker import drain_outbox
from tests.chaos.worker_pool import PoolWorker, WorkerPool, worker_pool
from tests.doubles.sendgrid import KEY, Account, SendGridDouble
from tests.flows.prefect_api import until

WORKERS: Final = 2
KILLS: Final = 30
PER_SECOND: Final = 15
LATENCY_MS: Final = 1_500
SECONDS_A_KILL: Final = 75
"""Mail falls due for so long per kill."""

TOO_LONG: Final = 150.0
DEAD_RUN_SECONDS: Final = 240.0
"""A run that still runs so long after the last kill, while the longest round takes 90 s, has lost its worker."""

_HELD = "SELECT send_key FROM message WHERE state IN ('claimed', 'sending')"
_SPREAD = """
UPDATE message SET send_at = now() + (r.n * interval '1 second') / %s, expires_at = now() + interval '1 day'
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM message) r WHERE r.id = message.id
"""
_WAITING = "SELECT count(*) FROM message WHERE send_key = ANY(%s) AND state IN ('planned', 'claimed', 'sending')"


@dataclass
class PoolRun:
    """Results. *gaps* are the seconds from each kill until all that was held then had left or was settled.

    *silences* are the seconds from each kill until the next message arrived.
    """

    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    held: int = 0
    gaps: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    dead_runs: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    idle_seconds: list[float] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def pool_run(server: Callable[[str], str], double: SendGridDouble, folder: Path, chance: Random, kills: int) -> PoolRun:
    """Let WORKERS workers send mail that falls due all the time, and kill one of them *kills* times."""
    source = PostgresSource(server, kills * SECONDS_A_KILL * PER_SECOND)
    double.configure(Account(latency_ms=LATENCY_MS))
    settings = {"NURTURE_PROVIDER": "sendgrid", "NURTURE_SENDGRID_KEY": KEY, "NURTURE_SENDGRID_URL": double.url}
    found, may_be_unknown, killed_at = PoolRun(), set[str](), list[float]()
    with source.fresh() as run_db, _connected(run_db.url) as database:
        opened = Database(run_db.url)
        origin = clock_row.read_installation_id(opened)
        oracle = Oracle(double, origin)
        known = set(states_in(run_db.url))
        with worker_pool(folder, run_db.url_of, settings, WORKERS) as pool:
            database.execute(_SPREAD, [PER_SECOND])
            for _ in range(kills):
                until(lambda: {one.name for one in pool.workers} <= pool.online(), TOO_LONG)
                if chance.random() < 0.8:  # most often while messages are held, otherwise at any moment
                    until(lambda: database.execute(_HELD).fetchone(), TOO_LONG)
                victim = _choose_victim(pool, chance)
                killed_at.append(victim.kill())
                pool.workers.remove(victim)
                wait_until_idle(run_db.url, victim.name)
                held = [key for (key,) in database.execute(_HELD)]
                may_be_unknown |= in_flight(states_in(run_db.url))
                pool.start_worker()
                found.kills, found.held = found.kills + 1, found.held + len(held)
                until(lambda held=held: not _waiting(database, held), TOO_LONG)  # type: ignore[misc]
                found.gaps.append(time.monotonic() - killed_at[-1])
                time.sleep(chance.uniform(0, 10))  # the next kill at any moment of a round
            found.dead_runs, found.idle_seconds, found.runs = _judge_runs(pool)
        for worker in pool.workers:
            wait_until_idle(run_db.url, worker.name)
        with opened.read() as tx:
            found.paused = [f"{one.kind} {one.name}: {one.reason}" for one in circuit_breakers.list_active(tx)]
        opened.close()
        drain_outbox(run_db.url, double.url, origin)
        states = {key: state for key, state in states_in(run_db.url).items() if key in known}
        arrivals = oracle.arrivals()
        found.verdict = judge(states, [key for key in oracle.accepted() if key in known], len(known), may_be_unknown)
        found.silences = [min((at for _, at in arrivals if at > kill), default=kill) - kill for kill in killed_at]
    return found


def _choose_victim(pool: WorkerPool, chance: Random) -> PoolWorker:
    """Return a worker that is delivering, if there is one."""
    delivers = pool.running("deliver")
    return chance.choice([one for one in pool.workers if one.has_run(delivers)] or pool.workers)


def _waiting(database: psycopg.Connection[Any], keys: list[str]) -> int:
    row = database.execute(_WAITING, [keys]).fetchone()
    assert row is not None
    return int(row[0])


def _judge_runs(pool: WorkerPool) -> tuple[list[str], list[float], dict[str, int]]:
    """Return which runs stay running without a worker, how long idle runs took, and the runs by state."""

    begun = {
        "state": {"type": {"any_": ["RUNNING", "PENDING"]}},
        "start_time": {"before_": RealClock().now().isoformat()},
    }
    ends = time.monotonic() + DEAD_RUN_SECONDS
    while (left := pool.runs(**begun)) and time.monotonic() < ends:
        time.sleep(2)
    idle = [one["total_run_time"] for one in pool.runs("hand-off", state={"type": {"any_": ["COMPLETED"]}})]
    states: dict[str, int] = {}
    for one in pool.runs():
        states[one["state_name"]] = states.get(one["state_name"], 0) + 1
    return [f"{one['name']}, {one['state_name']} since {one['start_time']}" for one in left], idle, states


def measure(
    server: Callable[[str], str], double: SendGridDouble, folder: Path, seed: int
) -> tuple[list[Figure], list[str]]:
    """Kill workers POOL_KILLS times (default KILLS)."""
    kills = int(os.environ.get("POOL_KILLS") or KILLS)
    found = pool_run(server, double, folder, Random(f"{seed}:pool"), kills)
    gap = max(found.gaps + found.silences)
    wrong = [f"work pool: {one}" for one in found.verdict.wrong]
    wrong += [f"work pool: a run of a dead worker stays: {one}" for one in found.dead_runs]
    note = (
        f"{found.kills} kills, {found.held:,} messages held; median {sorted(found.gaps)[len(found.gaps) // 2]:.0f} s "
        f"until all of them had left, {max(found.silences):.0f} s at most until the next message; "
        f"{found.verdict.states['unknown']} unknown; runs: {found.runs}; paused: {found.paused}"
    )
    return [
        Figure("pool_kills", found.kills, "kills"),
        Figure("pool_kill_duplicates", found.verdict.twice, "messages", maximum=1),
        Figure("pool_kill_lost", found.verdict.lost, "messages", maximum=1),
        Figure("worker_kill_mail_gap_s", gap, "s", maximum=60, note=note),
        Figure("pool_dead_runs", len(found.dead_runs), "runs", maximum=1),
        Figure("pool_idle_run_s", max(found.idle_seconds, default=0), "s", maximum=5, note="of runs with nothing due"),
    ], wrong
