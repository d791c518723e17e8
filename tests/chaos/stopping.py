"""Stops and starts at random times while workers deliver: after a stop is committed, no call begins."""

from __future__ import annotations

import itertools
import time
import traceback
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Final

from nurture.db.engine import Database
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.journey.delivery import stopping
from nurture.journey.delivery.run import deliver
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.bench.figures import Figure
from tests.chaos.databases import DatabaseSource, now
from tests.chaos.suppressing import last_before, times_of
from tests.chaos.verdicts import Oracle, Verdict, judge, states_in
from tests.chaos.worker import Job, Note, Notes, Observer, OffsetClock, Worker, passed, start, working_context
from tests.doubles.sendgrid import SendGridDouble

STOPPED: Final = 0.02
"""The longest time, in seconds, for which mail is stopped."""
STARTED: Final = 0.05
"""The longest time, in seconds, between two stops."""
MESSAGES_PER_STOP: Final = 8
SLOWEST: Final = 900.0
"""Seconds after which a worker counts as hanging: it waits out every stop of its run."""
_ENDED: Final = "ended"


@dataclass
class StopRun:
    """Stops and starts by what a worker did last before them; *late* calls were with the provider before their stop."""

    verdict: Verdict = field(default_factory=Verdict)
    when: Counter[str] = field(default_factory=Counter)
    late: int = 0
    violations: int = 0

    def __add__(self, other: StopRun) -> StopRun:
        return StopRun(
            self.verdict + other.verdict,
            self.when + other.when,
            self.late + other.late,
            self.violations + other.violations,
        )


def stopped_run(source: DatabaseSource, double: SendGridDouble, folder: Path, rng: Random, workers: int = 1) -> StopRun:
    """Let *workers* deliver all messages while their track, or all mail, is stopped and started at random times."""
    seed = rng.getrandbits(32)
    origin = f"stopped-{source.name}-{seed:08x}"
    with source.fresh() as run_db:
        oracle = Oracle(double, origin)
        log = folder / f"{origin}-stops.notes"
        crew = [Worker(_job(run_db.url, double, origin, folder, number), _work) for number in range(workers)]
        person = start(_stop_and_start, run_db.url, seed, source.count // MESSAGES_PER_STOP, log)
        while not passed(log):
            time.sleep(0.002)
            assert person.exitcode is None
        for worker in crew:
            worker.go()
        failed = [f"worker {worker.job.name}: {worker.passed('failed')}" for worker in crew if worker.end(SLOWEST)]
        person.join(60)
        failed += [f"stopping: {note.keys}" for note in passed(log, ["failed"])]
        failed += [] if person.exitcode == 0 else [f"who stops ended with {person.exitcode}"]
        states = states_in(run_db.url)
        found = _judge_stops(passed(log), [note for worker in crew for note in worker.passed()], oracle.arrivals())
        found.verdict += judge(states, oracle.accepted(), source.count, ())
    found.verdict.wrong = [f"{source.name}, stops of {seed}: {one}" for one in failed + found.verdict.wrong]
    return found


def _job(url: str, double: SendGridDouble, origin: str, folder: Path, number: int) -> Job:
    notes = folder / f"{origin}-{number}.notes"
    return Job(name=f"w{number}", url=url, api=double.url, origin=origin, notes=notes, batch=100, at_once=16)


def _work(job: Job, start_signal: Connection) -> None:
    """Deliver again and again, until the stops are over and nothing is planned."""
    start_signal.recv_bytes()
    observer = Observer(job.notes, None)
    log = job.notes.with_name(f"{job.origin}-stops.notes")
    with working_context(job, observer) as ctx:
        while True:
            is_last = bool(passed(log, [_ENDED]))
            done = deliver(ctx, OffsetClock(), observe=observer)
            if is_last and not done.messages:
                break


def _stop_and_start(url: str, seed: int, stops: int, log: Path) -> None:
    """Stop and start at random times, *stops* times; note the calls that each stop came too late for."""
    rng, notes = Random(seed), Notes(log)
    ctx = AppContext(Database(url), DiscardingProvider())
    try:
        notes.write("ready", [])
        for _ in range(stops):
            time.sleep(rng.uniform(0, STARTED))
            track = rng.choice(("welcome", ALL_TRACKS))
            done = stopping.stop(ctx, track, "chaos", "chaos", now(), to_sales=not track and rng.random() < 0.5)
            notes.write("stopped", [str(done.sending)])
            time.sleep(rng.uniform(0, STOPPED))
            notes.write("starting", [])
            stopping.start(ctx, track, "", "chaos", now())
            notes.write("started", [])
        notes.write(_ENDED, [])
    except BaseException:  # noqa: BLE001 - said to whoever judges
        notes.write("failed", [traceback.format_exc()])
        notes.write(_ENDED, [])
        raise SystemExit(1) from None


def _judge_stops(log: Sequence[Note], work: Sequence[Note], arrivals: Sequence[tuple[str, float]]) -> StopRun:
    """Count the calls that arrived while mail was stopped: at most those that were with the provider before."""
    found = StopRun()
    looks, points = times_of(work, "last check"), sorted((note.at, note.point) for note in work)
    stops = [note for note in log if note.point == "stopped"]
    starts = [note for note in log if note.point == "starting"]
    for stop, begins in zip(stops, starts, strict=True):
        late = [(key, at) for key, at in arrivals if stop.at < at < begins.at]
        found.late += len(late)
        for at in (stop.at, begins.at):
            found.when[_last_point(points, at)] += 1
        begun = int(stop.keys[0])
        checked = [last_before(looks.get(key, []), at) for key, at in late]
        wrong = max(len(late) - begun, sum(looked is None or looked > stop.at for looked in checked))
        if wrong > 0:
            found.violations += wrong
            found.verdict.wrong.append(f"{len(late)} calls arrived in a stop, {begun} had begun before it: {checked}")
    return found


def _last_point(points: Sequence[tuple[float, str]], at: float) -> str:
    place = bisect_left(points, (at, ""))
    return points[place - 1][1] if place else "the start"


def measure(
    sources: Sequence[DatabaseSource], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Run until mail was stopped or started *wanted* times, spread evenly over *sources*."""
    whole = StopRun()
    for place, source in enumerate(sources, 1):
        rng = Random(f"{seed}:stops:{source.name}")
        for number in itertools.count():
            whole += stopped_run(source, double, folder, rng, workers=1 + number % 2)
            if whole.verdict.wrong or whole.when.total() >= wanted * place / len(sources):
                break
    when = ", ".join(f"{count:,} after {point}" for point, count in whole.when.most_common())
    return [
        Figure("stop_races", whole.when.total(), "stops and starts", minimum=wanted, note=when),
        Figure("stop_violations", whole.violations, "calls", maximum=1),
        Figure("stop_late_calls", whole.late, "calls", note="with the provider before the stop was committed"),
    ], whole.verdict.wrong
