"""Opt-outs at random times while workers deliver: an opt-out before the last check stops the message."""

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
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.bench.figures import Figure
from tests.chaos.databases import DatabaseSource, now
from tests.chaos.verdicts import Oracle, Verdict, judge, states_in
from tests.chaos.worker import Job, Note, Notes, Worker, passed, start
from tests.doubles.sendgrid import SendGridDouble

NEXT_COUNT: Final = 300
"""Recipients are drawn from this many messages that are next or in flight."""
LATER_RUNS: Final = 5
PAUSE: Final = 0.004
"""The longest time, in seconds, between two opt-outs."""
_SELECT_NEXT = """
SELECT a.email FROM message m JOIN lead l ON l.id = m.lead_id JOIN address a ON a.id = l.address_id
WHERE m.state IN ('planned', 'claimed', 'sending') ORDER BY m.send_at, m.id LIMIT :front
"""
_SELECT_SEND_KEYS = """
SELECT a.email, m.send_key FROM message m JOIN lead l ON l.id = m.lead_id
JOIN address a ON a.id = l.address_id
"""


@dataclass
class SuppressionRun:
    """Opt-outs by when they were committed relative to their message, and seconds from check to call."""

    verdict: Verdict = field(default_factory=Verdict)
    when: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    violations: int = 0

    def __add__(self, other: SuppressionRun) -> SuppressionRun:
        return SuppressionRun(
            self.verdict + other.verdict,
            self.when + other.when,
            self.gaps + other.gaps,
            self.violations + other.violations,
        )


def suppressed_run(
    source: DatabaseSource, double: SendGridDouble, folder: Path, rng: Random, workers: int = 1
) -> SuppressionRun:
    """Let *workers* deliver all messages while the next recipients opt out at random times."""
    seed = rng.getrandbits(32)
    origin = f"suppressed-{source.name}-{seed:08x}"
    with source.fresh() as run_db:
        oracle = Oracle(double, origin)
        crew = [Worker(_job(run_db.url, double, origin, folder, number)) for number in range(workers)]
        log = folder / f"{origin}-optouts.notes"
        people = start(_opt_out, run_db.url, seed, log)
        while not passed(log):
            time.sleep(0.002)
            assert people.exitcode is None
        for worker in crew:
            worker.go()
        failed = [f"worker {worker.job.name}: {worker.passed('failed')}" for worker in crew if worker.end()]
        # A worker skips rows that an opt-out locks, and leaves them to a later run.
        while "planned" in states_in(run_db.url).values() and len(crew) < workers + LATER_RUNS:
            crew.append(Worker(_job(run_db.url, double, origin, folder, len(crew))).go())
            failed += [f"a later run: {crew[-1].passed('failed')}"] if crew[-1].end() else []
        people.join(60)
        failed += [f"opting out: {note.keys}" for note in passed(log, ["failed"])]
        failed += [] if people.exitcode == 0 else [f"who opts out ended with {people.exitcode}"]
        states = states_in(run_db.url)
        notes = [note for worker in crew for note in worker.passed("claimed", "last check")]
        found = _classify(passed(log, ["committed"]), _keys(run_db.url), notes, oracle.arrivals())
        found.verdict += judge(states, oracle.accepted(), source.count, ())
    found.verdict.wrong = [f"{source.name}, opt-outs of {seed}: {one}" for one in failed + found.verdict.wrong]
    return found


def _job(url: str, double: SendGridDouble, origin: str, folder: Path, number: int) -> Job:
    notes = folder / f"{origin}-{number}.notes"
    return Job(name=f"w{number}", url=url, api=double.url, origin=origin, notes=notes, batch=200, at_once=32)


def _opt_out(url: str, seed: int, log: Path) -> None:
    """Opt out the next recipients, a few at a time, until no message is waiting."""
    rng, notes = Random(seed), Notes(log)
    ctx = AppContext(Database(url), DiscardingProvider())
    try:
        notes.write("ready", [])
        while next_addresses := _next_addresses(ctx):
            rng.shuffle(next_addresses)
            for _ in range(5):
                chosen = [next_addresses.pop() for _ in range(min(rng.randint(1, 8), len(next_addresses)))]
                time.sleep(rng.uniform(0, PAUSE))
                if chosen:
                    suppress(ctx, chosen, now())
                    notes.write("committed", chosen)
    except BaseException:  # noqa: BLE001 - said to whoever judges
        notes.write("failed", [traceback.format_exc()])
        raise SystemExit(1) from None


def _next_addresses(ctx: AppContext) -> list[str]:
    with ctx.database.read() as tx:
        return list(tx.execute(text(_SELECT_NEXT), {"front": NEXT_COUNT}).scalars())


def _keys(url: str) -> dict[str, str]:
    database = Database(url)
    try:
        with database.read() as tx:
            return {row[0]: row[1] for row in tx.execute(text(_SELECT_SEND_KEYS))}
    finally:
        database.close()


def _classify(
    committed: Sequence[Note], keys: dict[str, str], notes: Sequence[Note], arrivals: Sequence[tuple[str, float]]
) -> SuppressionRun:
    """Compare the time of each opt-out with the last check before its call."""
    found = SuppressionRun()
    arrived = dict(arrivals)
    claims, checks = times_of(notes, "claimed"), times_of(notes, "last check")
    last_checks = {key: last_before(checks.get(key, []), at) for key, at in arrived.items()}
    found.gaps = [arrived[key] - at for key, at in last_checks.items() if at is not None]
    found.verdict.wrong += [f"called without a last look: {key}" for key, at in last_checks.items() if at is None]
    opted_out: dict[str, float] = {}
    for note in committed:
        for email in note.keys:
            opted_out.setdefault(keys[email], note.at)
    for key, at in opted_out.items():
        found.when[_classify_timing(at, claims.get(key), last_checks.get(key), arrived.get(key))] += 1
        checked_at = last_checks.get(key)
        if checked_at is not None and checked_at > at:
            found.violations += 1
            found.verdict.wrong.append(f"called, though opted out {checked_at - at:.6f} s before the last look: {key}")
    return found


def times_of(notes: Sequence[Note], point: str) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for note in notes:
        if note.point == point:
            for key in note.keys:
                times.setdefault(key, []).append(note.at)
    return times


def last_before(times: Sequence[float], at: float) -> float | None:
    place = bisect_right(times, at)
    return times[place - 1] if place else None


def _classify_timing(at: float, claims: Sequence[float] | None, checked_at: float | None, arrived: float | None) -> str:
    if claims is None:
        return "before the claim"
    if arrived is None:
        return "before the last look"
    if checked_at is None or at < checked_at:
        return "too early to be called"
    return "between look and call" if at < arrived else "after the call"


def measure(
    sources: Sequence[DatabaseSource], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Run until *wanted* recipients have opted out, spread evenly over *sources*."""
    whole, gaps = SuppressionRun(), []
    for place, source in enumerate(sources, 1):
        rng = Random(f"{seed}:suppress:{source.name}")
        for number in itertools.count():
            done = suppressed_run(source, double, folder, rng, workers=1 + number % 2)
            whole += done
            if number % 2 == 0:  # two workers on two cores wait for each other, which is no gap of a worker
                gaps += [1_000 * gap for gap in done.gaps]
            if whole.verdict.wrong or whole.when.total() >= wanted * place / len(sources):
                break
    gaps.sort()
    p50, p99 = (gaps[int(len(gaps) * share)] for share in (0.5, 0.99))
    when = ", ".join(f"{count:,} {timing}" for timing, count in whole.when.most_common())
    note_text = f"from the last look of one worker to the arrival of its call, {len(gaps):,} times"
    return [
        Figure("suppression_interleavings", whole.when.total(), "opt-outs", minimum=wanted, note=when),
        Figure("suppression_violations", whole.violations, "calls", maximum=1),
        Figure("check_to_call_p50_ms", p50, "ms"),
        Figure("check_to_call_p99_ms", p99, "ms", maximum=50, note=note_text),
        Figure("check_to_call_max_ms", gaps[-1], "ms"),
    ], whole.verdict.wrong
