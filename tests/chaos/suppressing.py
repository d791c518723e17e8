"""Opt-outs at any moment while workers deliver: a no that came before the last look stops the mail."""

from __future__ import annotations

import itertools
import time
import traceback
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from sqlalchemy import text

from nurture.db.engine import Database
from nurture.journey.consent.suppression import suppress
from nurture.runtime.context import House
from nurture.simulation.engine import NoMail
from tests.bench.figures import Figure
from tests.chaos.grounds import Ground, now
from tests.chaos.judging import Oracle, Verdict, judge, states_in
from tests.chaos.working import Job, Note, Notes, Worker, passed, start
from tests.doubles.sendgrid import SendGridDouble

FRONT: Final = 300
"""The victims are drawn from so many messages that go next, or are going."""
LATER_RUNS: Final = 5
PAUSE: Final = 0.004
"""The longest time, in seconds, between two opt-outs."""
_FRONT = """
SELECT a.email FROM message m JOIN lead l ON l.id = m.lead_id JOIN address a ON a.id = l.address_id
WHERE m.state IN ('planned', 'claimed', 'sending') ORDER BY m.send_at, m.id LIMIT :front
"""
_KEYS = """
SELECT a.email, m.send_key FROM message m JOIN lead l ON l.id = m.lead_id
JOIN address a ON a.id = l.address_id
"""


@dataclass
class Interleaved:
    """What came of opt-outs: when they were committed, seen from their message; seconds from look to call."""

    verdict: Verdict = field(default_factory=Verdict)
    when: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    violations: int = 0

    def __add__(self, other: Interleaved) -> Interleaved:
        return Interleaved(
            self.verdict + other.verdict,
            self.when + other.when,
            self.gaps + other.gaps,
            self.violations + other.violations,
        )


def suppressed_run(
    ground: Ground, double: SendGridDouble, folder: Path, rng: Random, workers: int = 1
) -> Interleaved:
    """Let *workers* deliver everything, while addresses near the front opt out at random moments."""
    seed = rng.getrandbits(32)
    origin = f"suppressed-{ground.name}-{seed:08x}"
    with ground.fresh() as spot:
        oracle = Oracle(double, origin)
        crew = [Worker(_job(spot.url, double, origin, folder, number)) for number in range(workers)]
        log = folder / f"{origin}-optouts.notes"
        people = start(_opt_out, spot.url, seed, log)
        while not passed(log):
            time.sleep(0.002)
            assert people.exitcode is None
        for worker in crew:
            worker.go()
        failed = [f"worker {worker.job.name}: {worker.passed('failed')}" for worker in crew if worker.end()]
        # A worker steps over rows that whoever opts out holds, and leaves them to a later run.
        while "planned" in states_in(spot.url).values() and len(crew) < workers + LATER_RUNS:
            crew.append(Worker(_job(spot.url, double, origin, folder, len(crew))).go())
            failed += [f"a later run: {crew[-1].passed('failed')}"] if crew[-1].end() else []
        people.join(60)
        failed += [f"opting out: {note.keys}" for note in passed(log, ["failed"])]
        failed += [] if people.exitcode == 0 else [f"who opts out ended with {people.exitcode}"]
        states = states_in(spot.url)
        notes = [note for worker in crew for note in worker.passed("claimed", "last check")]
        found = _weigh(passed(log, ["committed"]), _keys(spot.url), notes, oracle.arrivals())
        found.verdict += judge(states, oracle.accepted(), ground.count, ())
    found.verdict.wrong = [
        f"{ground.name}, opt-outs of {seed}: {one}" for one in failed + found.verdict.wrong
    ]
    return found


def _job(url: str, double: SendGridDouble, origin: str, folder: Path, number: int) -> Job:
    notes = folder / f"{origin}-{number}.notes"
    return Job(name=f"w{number}", url=url, api=double.url, origin=origin, notes=notes, batch=200, at_once=32)


def _opt_out(url: str, seed: int, log: Path) -> None:
    """Let people at the front opt out, a few at a time, until nothing waits any more."""
    rng, notes = Random(seed), Notes(log)
    house = House(Database(url), NoMail())
    try:
        notes.write("ready", [])
        while front := _front(house):
            rng.shuffle(front)
            for _ in range(5):
                chosen = [front.pop() for _ in range(min(rng.randint(1, 8), len(front)))]
                time.sleep(rng.uniform(0, PAUSE))
                if chosen:
                    suppress(house, chosen, now())
                    notes.write("committed", chosen)
    except BaseException:  # noqa: BLE001 - said to whoever judges
        notes.write("failed", [traceback.format_exc()])
        raise SystemExit(1) from None


def _front(house: House) -> list[str]:
    with house.database.read() as connection:
        return list(connection.execute(text(_FRONT), {"front": FRONT}).scalars())


def _keys(url: str) -> dict[str, str]:
    database = Database(url)
    try:
        with database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(text(_KEYS))}
    finally:
        database.close()


def _weigh(
    committed: Sequence[Note],
    keys: dict[str, str],
    notes: Sequence[Note],
    arrivals: Sequence[tuple[str, float]],
) -> Interleaved:
    """Hold each opt-out against the last look before its call."""
    found = Interleaved()
    arrived = dict(arrivals)
    claims, checks = _times(notes, "claimed"), _times(notes, "last check")
    looked = {key: _last_before(checks.get(key, []), at) for key, at in arrived.items()}
    found.gaps = [arrived[key] - at for key, at in looked.items() if at is not None]
    found.verdict.wrong += [f"called without a last look: {key}" for key, at in looked.items() if at is None]
    said_no: dict[str, float] = {}
    for note in committed:
        for email in note.keys:
            said_no.setdefault(keys[email], note.at)
    for key, at in said_no.items():
        found.when[_moment(at, claims.get(key), looked.get(key), arrived.get(key))] += 1
        look = looked.get(key)
        if look is not None and look > at:
            found.violations += 1
            found.verdict.wrong.append(
                f"called, though opted out {look - at:.6f} s before the last look: {key}"
            )
    return found


def _times(notes: Sequence[Note], point: str) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for note in notes:
        if note.point == point:
            for key in note.keys:
                times.setdefault(key, []).append(note.at)
    return times


def _last_before(times: Sequence[float], moment: float) -> float | None:
    place = bisect_right(times, moment)
    return times[place - 1] if place else None


def _moment(at: float, claims: Sequence[float] | None, look: float | None, arrived: float | None) -> str:
    if claims is None:
        return "before the claim"
    if arrived is None:
        return "before the last look"
    if look is None or at < look:
        return "too early to be called"
    return "between look and call" if at < arrived else "after the call"


def measure(
    grounds: Sequence[Ground], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Let people opt out until *wanted* have, as many on each of *grounds*."""
    whole, gaps = Interleaved(), []
    for place, ground in enumerate(grounds, 1):
        rng = Random(f"{seed}:suppress:{ground.name}")
        for number in itertools.count():
            done = suppressed_run(ground, double, folder, rng, workers=1 + number % 2)
            whole += done
            if (
                number % 2 == 0
            ):  # two workers on two cores wait for each other: that is no gap of the worker's
                gaps += [1_000 * gap for gap in done.gaps]
            if whole.verdict.wrong or whole.when.total() >= wanted * place / len(grounds):
                break
    gaps.sort()
    p50, p99 = (gaps[int(len(gaps) * share)] for share in (0.5, 0.99))
    when = ", ".join(f"{count:,} {moment}" for moment, count in whole.when.most_common())
    said = f"from the last look of one worker to the arrival of its call, {len(gaps):,} times"
    return [
        Figure("suppression_interleavings", whole.when.total(), "opt-outs", at_least=wanted, note=when),
        Figure("suppression_violations", whole.violations, "calls", below=1),
        Figure("check_to_call_p50_ms", p50, "ms"),
        Figure("check_to_call_p99_ms", p99, "ms", below=50, note=said),
        Figure("check_to_call_max_ms", gaps[-1], "ms"),
    ], whole.verdict.wrong
