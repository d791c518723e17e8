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
from tests.chaos.grounds import Ground, Spot
from tests.chaos.judging import Oracle, Verdict, in_flight, judge, settle_down, states_in
from tests.chaos.working import LINE_POINTS, WAIT, WORKER_POINTS, Death, Job, Worker, finish
from tests.doubles.sendgrid import SendGridDouble

WORKERS: Final = 4
BATCH: Final = 50
AT_ONCE: Final = 16
PER_SECOND: Final = 300
KILLS: Final = 30


@dataclass
class Crowd:
    """What came of one crowd. *in_flight*: calls without an answer at the kills."""

    verdict: Verdict = field(default_factory=Verdict)
    kills: int = 0
    in_flight: int = 0
    seconds: float = 0


def crowd(ground: Ground, double: SendGridDouble, folder: Path, rng: Random, kills: int) -> Crowd:
    """Let WORKERS drain the outbox, of whom *kills* die on the way; replace the dead, and count."""
    origin = f"crowd-{ground.name}-{rng.getrandbits(32):08x}"
    deaths = [_death(rng, ground.count // kills) for _ in range(kills)]
    found, doubtful, began = Crowd(), set[str](), time.monotonic()
    with ground.fresh() as spot:
        oracle = Oracle(double, origin)
        job = Job(
            name="", url=spot.url, api=double.url, origin=origin, notes=folder, batch=BATCH, at_once=AT_ONCE
        )
        living = [_hired(job, number, deaths) for number in range(WORKERS)]
        hired = WORKERS
        while living:
            dead = _first_to_end(living)
            living.remove(dead)
            code = dead.end()
            if code == 0:
                continue
            if dead.passed("failed"):
                found.verdict.wrong.append(f"worker {dead.job.name} failed: {dead.passed('failed')}")
                continue
            settle_down(spot.url, dead.job.name)
            held = {key for note in dead.passed("claimed") for key in note.keys}
            flying = held & in_flight(states_in(spot.url))
            doubtful |= flying
            found.kills, found.in_flight = found.kills + 1, found.in_flight + len(flying)
            living.append(_hired(job, hired, deaths))
            hired += 1
        found.seconds = time.monotonic() - began
        finish(spot.url, double.url, origin)
        found.verdict += judge(states_in(spot.url), oracle.accepted(), ground.count, doubtful)
    found.verdict.wrong = [f"{ground.name}, crowd: {one}" for one in found.verdict.wrong]
    return found


def _death(rng: Random, messages: int) -> Death:
    """Draw where a worker dies, before it has sent about so many *messages*: at a point, or at any moment."""
    point = rng.choice((*WORKER_POINTS, *LINE_POINTS, "", ""))
    if not point:
        return Death(seconds=rng.uniform(0, messages / PER_SECOND))
    at_a_time = {"render": BATCH, "claim": BATCH, "claimed": BATCH} | dict.fromkeys(LINE_POINTS, 1)
    return Death(point, rng.randint(1, max(1, messages // at_a_time.get(point, AT_ONCE // 2))))


def _hired(job: Job, number: int, deaths: list[Death]) -> Worker:
    name = f"w{number}"
    notes = job.notes / f"{job.origin}-{name}.notes"
    death = deaths.pop() if deaths else None
    return Worker(replace(job, name=name, url=Spot(job.url).url_of(name), notes=notes, death=death)).go()


def _first_to_end(living: Sequence[Worker]) -> Worker:
    ended = wait([worker.process.sentinel for worker in living], WAIT)
    if not ended:
        for worker in living:
            worker.process.kill()
        raise RuntimeError(f"none of {len(living)} workers came to an end in {WAIT:.0f} s")
    return next(worker for worker in living if worker.process.sentinel in ended)


def measure(
    grounds: Sequence[Ground], double: SendGridDouble, folder: Path, seed: int
) -> tuple[list[Figure], list[str]]:
    """Let a crowd deliver on each of *grounds*, its workers dying KILLS times."""
    found = {
        ground.name: crowd(ground, double, folder, Random(f"{seed}:crowd:{ground.name}"), KILLS)
        for ground in grounds
    }
    note = "; ".join(
        f"{name}: {one.kills} kills in {one.seconds:.0f} s, {one.in_flight} in flight, "
        f"{one.verdict.states['in_doubt']} in doubt"
        for name, one in found.items()
    )
    verdict = sum((one.verdict for one in found.values()), Verdict())
    messages = verdict.states.total()
    flying = sum(one.in_flight for one in found.values())
    return [
        Figure("crowd_messages", messages, "messages", at_least=sum(one.count for one in grounds), note=note),
        Figure("crowd_kills", sum(one.kills for one in found.values()), "kills"),
        Figure("crowd_accepted_twice", verdict.twice, "messages", below=1),
        Figure("crowd_lost", verdict.lost, "messages", below=1),
        Figure("crowd_in_doubt", verdict.states["in_doubt"], "messages", below=flying + 1),
        Figure("crowd_in_flight_at_kills", flying, "messages"),
    ], verdict.wrong
