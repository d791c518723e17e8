"""Four workers on one outbox, killed at random and replaced."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from random import Random
from typing import Final

from tests.bench.figures import Figure
from tests.chaos.databases import DatabaseSource, RunDatabase
from tests.chaos.verdicts import Oracle, Verdict, in_flight, judge, states_in, wait_until_idle
from tests.chaos.worker import LINE_POINTS, WAIT, WORKER_POINTS, Death, Job, Worker, drain_outbox
from tests.doubles.sendgrid import SendGridDouble

WORKERS: Final = 4
BATCH: Final = 50
AT_ONCE: Final = 16
PER_SECOND: Final = 300
KILLS: Final = 30


@dataclass
class ConcurrentRun:
    """Results of one run. *in_flight* counts calls without an answer at the kills."""

    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    in_flight: int = 0
    seconds: float = 0


def concurrent_run(
    source: DatabaseSource, double: SendGridDouble, folder: Path, rng: Random, kills: int
) -> ConcurrentRun:
    """Let WORKERS drain the outbox, kill *kills* of them, replace each, and count the results."""
    origin = f"concurrent-{source.name}-{rng.getrandbits(32):08x}"
    deaths = [_choose_death(rng, source.count // kills) for _ in range(kills)]
    found, may_be_unknown, began = ConcurrentRun(), set[str](), time.monotonic()
    with source.fresh() as run_db:
        oracle = Oracle(double, origin)
        job = Job(name="", url=run_db.url, api=double.url, origin=origin, notes=folder, batch=BATCH, at_once=AT_ONCE)
        living = [_start_worker(job, number, deaths) for number in range(WORKERS)]
        started = WORKERS
        while living:
            dead = _wait_for_any(living)
            living.remove(dead)
            code = dead.end()
            if code == 0:
                continue
            if dead.passed("failed"):
                found.verdict.wrong.append(f"worker {dead.job.name} failed: {dead.passed('failed')}")
                continue
            wait_until_idle(run_db.url, dead.job.name)
            held = {key for note in dead.passed("claimed") for key in note.keys}
            calls_in_flight = held & in_flight(states_in(run_db.url))
            may_be_unknown |= calls_in_flight
            found.kills, found.in_flight = found.kills + 1, found.in_flight + len(calls_in_flight)
            living.append(_start_worker(job, started, deaths))
            started += 1
        found.seconds = time.monotonic() - began
        drain_outbox(run_db.url, double.url, origin)
        found.verdict += judge(states_in(run_db.url), oracle.accepted(), source.count, may_be_unknown)
    found.verdict.wrong = [f"{source.name}, concurrent workers: {one}" for one in found.verdict.wrong]
    return found


def _choose_death(rng: Random, messages: int) -> Death:
    """Choose where a worker is killed, before about *messages* messages: at a checkpoint, or at a random time."""
    point = rng.choice((*WORKER_POINTS, *LINE_POINTS, "", ""))
    if not point:
        return Death(seconds=rng.uniform(0, messages / PER_SECOND))
    at_a_time = {"render": BATCH, "claim": BATCH, "claimed": BATCH} | dict.fromkeys(LINE_POINTS, 1)
    return Death(point, rng.randint(1, max(1, messages // at_a_time.get(point, AT_ONCE // 2))))


def _start_worker(job: Job, number: int, deaths: list[Death]) -> Worker:
    name = f"w{number}"
    notes = job.notes / f"{job.origin}-{name}.notes"
    death = deaths.pop() if deaths else None
    return Worker(replace(job, name=name, url=RunDatabase(job.url).url_of(name), notes=notes, death=death)).go()


def _wait_for_any(living: Sequence[Worker]) -> Worker:
    ended = wait([worker.process.sentinel for worker in living], WAIT)
    if not ended:
        for worker in living:
            worker.process.kill()
        raise RuntimeError(f"none of {len(living)} workers came to an end in {WAIT:.0f} s")
    return next(worker for worker in living if worker.process.sentinel in ended)


def measure(
    sources: Sequence[DatabaseSource], double: SendGridDouble, folder: Path, seed: int
) -> tuple[list[Figure], list[str]]:
    """Let several workers deliver on each of *sources*, with KILLS kills each."""
    found = {
        source.name: concurrent_run(source, double, folder, Random(f"{seed}:concurrent:{source.name}"), KILLS)
        for source in sources
    }
    note = "; ".join(
        f"{name}: {one.kills} kills in {one.seconds:.0f} s, {one.in_flight} in flight, "
        f"{one.verdict.states['unknown']} unknown"
        for name, one in found.items()
    )
    verdict = sum((one.verdict for one in found.values()), Verdict())
    messages = verdict.states.total()
    calls_in_flight = sum(one.in_flight for one in found.values())
    return [
        Figure("concurrent_messages", messages, "messages", minimum=sum(one.count for one in sources), note=note),
        Figure("concurrent_kills", sum(one.kills for one in found.values()), "kills"),
        Figure("concurrent_accepted_twice", verdict.twice, "messages", maximum=1),
        Figure("concurrent_lost", verdict.lost, "messages", maximum=1),
        Figure("concurrent_unknown", verdict.states["unknown"], "messages", maximum=calls_in_flight + 1),
        Figure("concurrent_in_flight_at_kills", calls_in_flight, "messages"),
    ], verdict.wrong
