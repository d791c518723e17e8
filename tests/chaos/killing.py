"""Kill a worker at a named point and let another finish: no message is sent twice or lost."""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from nurture.runtime.published import PublishedDefinitions
from tests.bench.figures import Figure
from tests.chaos.databases import DatabaseSource
from tests.chaos.verdicts import Oracle, Verdict, find_uncovered, in_flight, judge, states_in, wait_until_idle
from tests.chaos.worker import (
    HEARTBEAT_POINTS,
    LINE_POINTS,
    PAST_LEASE,
    WORKER_POINTS,
    Death,
    Job,
    Worker,
    drain_outbox,
)
from tests.doubles.sendgrid import Fault, SendGridDouble

ANY: Final = "any moment"
DOUBLE_POINTS: Final = {"request read": False, "accepted": True}
"""Where the double kills the worker: before or after it accepts the message."""
POINTS: Final = (*WORKER_POINTS, *HEARTBEAT_POINTS, *LINE_POINTS, *DOUBLE_POINTS, ANY)
SLEEP_POINTS: Final = ("claimed", "last check", "before the call", "after the call", "written back", *LINE_POINTS)
_numbers = itertools.count(1)


@dataclass
class KillRun:
    """Results of kill runs. *in_flight* counts calls without an answer at the kills."""

    verdict: Verdict = field(default_factory=Verdict)
    runs: int = 0
    in_flight: int = 0

    def __add__(self, other: KillRun) -> KillRun:
        return KillRun(self.verdict + other.verdict, self.runs + other.runs, self.in_flight + other.in_flight)


@dataclass(frozen=True)
class KillSetup:
    """A database source, the double, a folder for notes, and how often a worker passes each point."""

    source: DatabaseSource
    double: SendGridDouble
    folder: Path
    passes: Counter[str]
    seconds: float
    definitions: PublishedDefinitions = field(default_factory=PublishedDefinitions)

    @classmethod
    def of(cls, source: DatabaseSource, double: SendGridDouble, folder: Path) -> KillSetup:
        """Run one worker to its end and count how often it passes each point."""
        first = cls(source, double, folder, Counter(), 0)
        with source.fresh() as run_db:
            worker = Worker(first.job(run_db.url, "first", f"{source.name}-{next(_numbers)}"))
            began = time.monotonic()
            assert worker.go().end() == 0, worker.passed("failed")
            passed = worker.passed()
        passes = Counter(note.point for note in passed)
        passes.update(dict.fromkeys(DOUBLE_POINTS, passes["bytes sent"]) | dict.fromkeys(HEARTBEAT_POINTS, 3))
        return cls(source, double, folder, passes, passed[-1].at - began)

    def job(self, url: str, name: str, origin: str, death: Death | None = None, ahead: float = 0) -> Job:
        """Return a worker's job on the database at *url*."""
        return Job(
            name=name,
            url=url,
            api=self.double.url,
            origin=origin,
            notes=self.folder / f"{origin}-{name}.notes",
            ahead=ahead,
            death=death,
        )


def kill_run(setup: KillSetup, point: str, rng: Random) -> KillRun:
    """Kill one worker at *point*, at a random one of its passes, and let another one finish."""
    death, after = _death(setup, point, rng)
    origin = f"{setup.source.name}-{next(_numbers)}"
    with setup.source.fresh() as run_db:
        oracle = Oracle(setup.double, origin)
        victim = Worker(setup.job(run_db.url_of("victim"), "victim", origin, death))
        if after is not None:
            killing = Fault(what="kill", pid=victim.pid, after=after)
            setup.double.add_faults(*[Fault(what="pass")] * (death.nth - 1), killing)
        code = victim.go().end()
        setup.double.add_faults()
        wait_until_idle(run_db.url, "victim")
        wrong = [] if code in (0, -signal.SIGKILL) else [f"the worker failed: {victim.passed('failed')}"]
        states = states_in(run_db.url)
        calls_in_flight = in_flight(states)
        wrong += find_uncovered(states, oracle.accepted())
        drain_outbox(run_db.url, setup.double.url, origin, setup.definitions)
        verdict = judge(states_in(run_db.url), oracle.accepted(), setup.source.count, calls_in_flight)
    verdict.wrong = [f"{setup.source.name}, killed at {_describe_death(death)}: {one}" for one in wrong + verdict.wrong]
    return KillRun(verdict, int(code == -signal.SIGKILL), len(calls_in_flight))


def sleep_run(setup: KillSetup, point: str, rng: Random) -> KillRun:
    """Stop one worker at *point* for longer than its lease, let another one finish, and wake it again."""
    death, _ = _death(setup, point, rng)
    death = death._replace(signal=signal.SIGSTOP)
    origin = f"{setup.source.name}-{next(_numbers)}"
    with setup.source.fresh() as run_db:
        oracle = Oracle(setup.double, origin)
        sleeper = Worker(setup.job(run_db.url_of("sleeper"), "sleeper", origin, death)).go()
        asleep = _wait_until_asleep(sleeper)
        other = Worker(setup.job(run_db.url_of("other"), "other", origin, ahead=PAST_LEASE)).go()
        other.process.join(2)  # on SQLite it waits if the stopped worker holds the write lock
        if asleep:
            sleeper.wake()
        codes = {"sleeper": sleeper.end(), "other": other.end()}
        wrong = [f"the {name} ended with {code}" for name, code in codes.items() if code]
        drain_outbox(run_db.url, setup.double.url, origin, setup.definitions)
        verdict = judge(states_in(run_db.url), oracle.accepted(), setup.source.count, ())
    verdict.wrong = [f"{setup.source.name}, asleep at {_describe_death(death)}: {one}" for one in wrong + verdict.wrong]
    return KillRun(verdict, int(asleep))


def _death(setup: KillSetup, point: str, rng: Random) -> tuple[Death, bool | None]:
    """Return where the worker dies, and for the double whether before or after it accepts."""
    if point == ANY:
        return Death(seconds=rng.uniform(0, setup.seconds)), None
    return Death(point, rng.randint(1, setup.passes[point])), DOUBLE_POINTS.get(point)


def _describe_death(death: Death) -> str:
    return f"{death.point} {death.nth}" if death.seconds is None else f"{death.seconds:.4f} s"


def _wait_until_asleep(sleeper: Worker) -> bool:
    while not sleeper.is_asleep():
        if sleeper.process.exitcode is not None:
            return False
        time.sleep(0.002)
    return True


def measure(
    sources: Sequence[DatabaseSource], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Kill on each of *sources* until *wanted* workers died; stop an eighth as many for longer than their lease."""
    figures, whole = [], Verdict()
    for source in sources:
        setup = KillSetup.of(source, double, folder)
        killed = repeat_runs(kill_run, setup, f"{seed}:kill:{source.name}", POINTS, wanted)
        slept = repeat_runs(sleep_run, setup, f"{seed}:sleep:{source.name}", SLEEP_POINTS, wanted // 8)
        note = (
            f"{killed.verdict.states.total():,} messages; {killed.in_flight} in flight at the kills, "
            f"{killed.verdict.states['unknown']} unknown for good; {slept.runs} more workers slept through "
            f"their lease, {slept.verdict.states['unknown']} unknown"
        )
        figures.append(Figure(f"kill_runs_{source.name}", killed.runs, "runs", minimum=wanted, note=note))
        whole += killed.verdict + slept.verdict
    return [
        *figures,
        Figure("kill_accepted_twice", whole.twice, "messages", maximum=1),
        Figure("kill_lost", whole.lost, "messages", maximum=1),
    ], whole.wrong


def repeat_runs(
    run: Callable[[KillSetup, str, Random], KillRun], setup: KillSetup, seed: str, points: Sequence[str], wanted: int
) -> KillRun:
    """Run at each of *points* in turn, until *wanted* workers were hit; a few end before their point."""
    found = KillRun()
    for number, point in enumerate(itertools.cycle(points)):
        if found.runs >= wanted or number > 2 * wanted:
            break
        found += run(setup, point, Random(f"{seed}:{number}"))
    return found
