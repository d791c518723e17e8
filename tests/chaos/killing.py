"""Kill one worker at a named point, let another one finish, and count: nothing twice, nothing lost."""

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

from nurture.runtime.published import Rulebooks
from tests.bench.figures import Figure
from tests.chaos.grounds import Ground
from tests.chaos.judging import Oracle, Verdict, in_flight, judge, settle_down, states_in, uncovered
from tests.chaos.working import LINE_POINTS, OVER_A_LEASE, WORKER_POINTS, Death, Job, Worker, finish
from tests.doubles.sendgrid import Fault, SendGridDouble

ANY: Final = "any moment"
DOUBLE_POINTS: Final = {"request read": False, "accepted": True}
"""Where the double kills the worker: before or after it accepts the message."""
POINTS: Final = (*WORKER_POINTS, *LINE_POINTS, *DOUBLE_POINTS, ANY)
SLEEPS_AT: Final = (
    "claimed",
    "last check",
    "before the call",
    "after the call",
    "written back",
    *LINE_POINTS,
)
_numbers = itertools.count(1)


@dataclass
class Killed:
    """What came of kill runs. *in_flight* counts calls without an answer at the kills."""

    verdict: Verdict = field(default_factory=Verdict)
    runs: int = 0
    in_flight: int = 0

    def __add__(self, other: Killed) -> Killed:
        return Killed(self.verdict + other.verdict, self.runs + other.runs, self.in_flight + other.in_flight)


@dataclass(frozen=True)
class Arena:
    """A ground, the double, a folder for notes; how often an undisturbed worker passes each point."""

    ground: Ground
    double: SendGridDouble
    folder: Path
    passes: Counter[str]
    seconds: float
    books: Rulebooks = field(default_factory=Rulebooks)

    @classmethod
    def of(cls, ground: Ground, double: SendGridDouble, folder: Path) -> Arena:
        """Let one worker run to its end, to learn how often it passes each point."""
        first = cls(ground, double, folder, Counter(), 0)
        with ground.fresh() as spot:
            worker = Worker(first.job(spot.url, "first", f"{ground.name}-{next(_numbers)}"))
            began = time.monotonic()
            assert worker.go().end() == 0, worker.passed("failed")
            passed = worker.passed()
        passes = Counter(note.point for note in passed)
        passes.update(dict.fromkeys(DOUBLE_POINTS, ground.count))
        return cls(ground, double, folder, passes, passed[-1].at - began)

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


def kill_run(arena: Arena, point: str, rng: Random) -> Killed:
    """Kill one worker at *point*, at a random one of its passes, and let another one finish."""
    death, after = _death(arena, point, rng)
    origin = f"{arena.ground.name}-{next(_numbers)}"
    with arena.ground.fresh() as spot:
        oracle = Oracle(arena.double, origin)
        victim = Worker(arena.job(spot.url_of("victim"), "victim", origin, death))
        if after is not None:
            killing = Fault(what="kill", pid=victim.pid, after=after)
            arena.double.tell(*[Fault(what="pass")] * (death.nth - 1), killing)
        code = victim.go().end()
        arena.double.tell()
        settle_down(spot.url, "victim")
        wrong = [] if code in (0, -signal.SIGKILL) else [f"the worker failed: {victim.passed('failed')}"]
        states = states_in(spot.url)
        flying = in_flight(states)
        wrong += uncovered(states, oracle.accepted())
        finish(spot.url, arena.double.url, origin, arena.books)
        verdict = judge(states_in(spot.url), oracle.accepted(), arena.ground.count, flying)
    verdict.wrong = [
        f"{arena.ground.name}, killed at {_named(death)}: {one}" for one in wrong + verdict.wrong
    ]
    return Killed(verdict, int(code == -signal.SIGKILL), len(flying))


def sleep_run(arena: Arena, point: str, rng: Random) -> Killed:
    """Stop one worker at *point* for longer than its lease, let another one finish, and wake it again."""
    death, _ = _death(arena, point, rng)
    death = death._replace(signal=signal.SIGSTOP)
    origin = f"{arena.ground.name}-{next(_numbers)}"
    with arena.ground.fresh() as spot:
        oracle = Oracle(arena.double, origin)
        sleeper = Worker(arena.job(spot.url_of("sleeper"), "sleeper", origin, death)).go()
        asleep = _fell_asleep(sleeper)
        other = Worker(arena.job(spot.url_of("other"), "other", origin, ahead=OVER_A_LEASE)).go()
        other.process.join(2)  # on SQLite it waits where the sleeper sleeps in the middle of writing
        if asleep:
            sleeper.wake()
        codes = {"sleeper": sleeper.end(), "other": other.end()}
        wrong = [f"the {name} ended with {code}" for name, code in codes.items() if code]
        finish(spot.url, arena.double.url, origin, arena.books)
        verdict = judge(states_in(spot.url), oracle.accepted(), arena.ground.count, ())
    verdict.wrong = [
        f"{arena.ground.name}, asleep at {_named(death)}: {one}" for one in wrong + verdict.wrong
    ]
    return Killed(verdict, int(asleep))


def _death(arena: Arena, point: str, rng: Random) -> tuple[Death, bool | None]:
    """Return where to die, and for the double whether before or after it accepts."""
    if point == ANY:
        return Death(seconds=rng.uniform(0, arena.seconds)), None
    return Death(point, rng.randint(1, arena.passes[point])), DOUBLE_POINTS.get(point)


def _named(death: Death) -> str:
    return f"{death.point} {death.nth}" if death.seconds is None else f"{death.seconds:.4f} s"


def _fell_asleep(sleeper: Worker) -> bool:
    while not sleeper.is_asleep():
        if sleeper.process.exitcode is not None:
            return False
        time.sleep(0.002)
    return True


def measure(
    grounds: Sequence[Ground], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Kill on each of *grounds* until *wanted* workers died; let an eighth as many oversleep."""
    figures, whole = [], Verdict()
    for ground in grounds:
        arena = Arena.of(ground, double, folder)
        killed = repeated(kill_run, arena, f"{seed}:kill:{ground.name}", POINTS, wanted)
        slept = repeated(sleep_run, arena, f"{seed}:sleep:{ground.name}", SLEEPS_AT, wanted // 8)
        note = (
            f"{killed.verdict.states.total():,} messages; {killed.in_flight} in flight at the kills, "
            f"{killed.verdict.states['in_doubt']} in doubt for good; {slept.runs} more workers slept through "
            f"their lease, {slept.verdict.states['in_doubt']} in doubt"
        )
        figures.append(Figure(f"kill_runs_{ground.name}", killed.runs, "runs", at_least=wanted, note=note))
        whole += killed.verdict + slept.verdict
    return [
        *figures,
        Figure("kill_accepted_twice", whole.twice, "messages", below=1),
        Figure("kill_lost", whole.lost, "messages", below=1),
    ], whole.wrong


def repeated(
    run: Callable[[Arena, str, Random], Killed], arena: Arena, seed: str, points: Sequence[str], wanted: int
) -> Killed:
    """Run at each of *points* in turn, until *wanted* workers were struck; a few end before it strikes."""
    found = Killed()
    for number, point in enumerate(itertools.cycle(points)):
        if found.runs >= wanted or number > 2 * wanted:
            break
        found += run(arena, point, Random(f"{seed}:{number}"))
    return found
