"""Random provider faults: no message is sent again that may have been accepted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.bench.figures import Figure
from tests.chaos.databases import DatabaseSource
from tests.chaos.verdicts import Oracle, Verdict, judge, states_in
from tests.chaos.worker import PAST_LEASE, Job, Worker
from tests.doubles.sendgrid import Fault, SendGridDouble

ROUNDS: Final = 60
"""Maximum number of rounds, each OVER_A_LEASE later, so that circuit breakers are closed and retries are due."""
READ, TOTAL = 0.25, 0.5
"""Seconds after which a call to the double times out."""
_PROVABLY_NOT_SENT: Final = "fault:too_many"


@dataclass
class FaultRun:
    """Results of a run. *again* counts calls of messages that an earlier call may have delivered."""

    verdict: Verdict = field(default_factory=Verdict)
    faults: Counter[str] = field(default_factory=Counter)
    again: int = 0
    rounds: int = 0


def faults(seed: int) -> list[Fault]:
    """Return every kind of fault; some 13 % of all calls fail."""
    long = 2 * TOTAL

    def often(chance: float, **how: object) -> Fault:
        return Fault(chance=chance, seed=seed, **how)  # type: ignore[arg-type]

    return [
        often(0.001, what="too_many", seconds=1),
        often(0.01, what="status", status=500),
        often(0.01, what="status", status=500, after=True),
        often(0.01, what="status", status=503),
        often(0.01, what="status", status=502, after=True),
        often(0.01, what="too_large"),
        often(0.005, what="hang", seconds=long),
        often(0.005, what="hang", seconds=long, after=True),
        often(0.01, what="reset"),
        often(0.01, what="reset", after=True),
        often(0.01, what="reset_mid_body"),
        often(0.01, what="close"),
        often(0.01, what="close", after=True),
        often(0.005, what="garbage"),
        often(0.005, what="garbage", after=True),
        often(0.005, what="drip_headers", status=202, seconds=READ / 5, after=True),
        often(0.005, what="drip_body", status=202, seconds=READ / 5, after=True),
        often(0.005, what="drip_body", status=500, seconds=READ / 5),
    ]


def fault_run(source: DatabaseSource, double: SendGridDouble, folder: Path, rng: Random) -> FaultRun:
    """Drain the outbox in rounds while the double fails at random."""
    seed = rng.getrandbits(32)
    origin = f"faulty-{source.name}-{seed:08x}"
    found = FaultRun()
    with source.fresh() as run_db:
        oracle = Oracle(double, origin)
        double.add_faults(*faults(seed))
        for number in range(ROUNDS):
            worker = Worker(_job(run_db.url, double, origin, folder, number))
            if worker.go().end():
                found.verdict.wrong.append(f"the worker failed: {worker.passed('failed')}")
                break
            found.rounds = number + 1
            if "planned" not in states_in(run_db.url).values():
                break
        double.add_faults()
        states, lines = states_in(run_db.url), oracle.lines()
        accepted = [key for kind, keys in lines if kind == "accepted" for key in keys]
        may_be_unknown, again = _read(states, lines, found)
        found.verdict += judge(states, accepted, source.count, may_be_unknown, drained=False)
    found.again = len(again)
    found.verdict.wrong += [f"called again, though it may have gone: {key}" for key in sorted(again)]
    found.verdict.wrong = [f"{source.name}, faults of {seed}: {one}" for one in found.verdict.wrong]
    return found


def _job(url: str, double: SendGridDouble, origin: str, folder: Path, number: int) -> Job:
    return Job(
        name=f"round{number}",
        url=url,
        api=double.url,
        origin=origin,
        notes=folder / f"{origin}-{number}.notes",
        ahead=number * PAST_LEASE,
        batch=200,
        at_once=16,
        read_timeout=READ,
        total_timeout=TOTAL,
    )


def _read(states: dict[str, str], lines: Sequence[tuple[str, list[str]]], found: FaultRun) -> tuple[set[str], set[str]]:
    """Return the messages that may be unknown, and those called again although they may have been sent."""
    calls: dict[str, list[str]] = defaultdict(list)
    unnamed = 0
    for kind, keys in lines:
        if kind.startswith("fault"):
            found.faults[kind.removeprefix("fault:")] += 1
            unnamed += not keys
        for key in keys:
            # An accepted call that fails afterward has two log lines.
            if not (calls[key] and calls[key][-1] == "accepted" and kind.endswith(":after")):
                calls[key].append(kind)
            else:
                calls[key][-1] = kind
    again = {key for key, kinds in calls.items() if any(kind != _PROVABLY_NOT_SENT for kind in kinds[:-1])}
    may_be_unknown = {key for key, kinds in calls.items() if kinds[-1].startswith("fault")}
    strange = {key for key, state in states.items() if state == "unknown" and key not in may_be_unknown}
    if len(strange) <= unnamed:  # calls that were reset before the double had read their key
        may_be_unknown |= strange
    refused = {key for key, state in states.items() if state == "rejected"}
    unfair = {key for key in refused if calls[key][-1] != "fault:too_large"}
    found.verdict.wrong += [f"rejected, though not refused: {key}" for key in sorted(unfair)]
    return may_be_unknown, again


def measure(
    sources: Sequence[DatabaseSource], double: SendGridDouble, folder: Path, seed: int
) -> tuple[list[Figure], list[str]]:
    """Run all faults on each of *sources*."""
    runs = [fault_run(source, double, folder, Random(f"{seed}:faults:{source.name}")) for source in sources]
    verdict = sum((run.verdict for run in runs), Verdict())
    kinds = sum((run.faults for run in runs), Counter[str]())
    played = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    ends = ", ".join(f"{count:,} {state}" for state, count in verdict.states.most_common())
    return [
        Figure("faults_messages", verdict.states.total(), "messages", note=f"{ends}; {played}"),
        Figure("faults_played", kinds.total(), "faults"),
        Figure("faults_called_again", sum(run.again for run in runs), "messages", maximum=1),
        Figure("faults_violations", len(verdict.wrong), "violations", maximum=1),
    ], verdict.wrong
