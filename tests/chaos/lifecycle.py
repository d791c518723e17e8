"""Random histories of leads under two workers, restores and a clock that goes back: the laws of tracks hold."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Final

from pydantic import SecretStr

from nurture.app import make_machine
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.journey.erasures import ERASURES
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.operations.restore import restore
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.backups import backups_of
from tests.bench.figures import Figure
from tests.chaos.databases import BASE_URL, PostgresSource, now
from tests.chaos.lifecycle_laws import Calls, judge_state
from tests.chaos.lifecycle_world import Happenings, Sweep, SweepDone, rules, serve_sweeps
from tests.chaos.verdicts import Oracle
from tests.chaos.worker import WAIT, Job, OffsetClock, passed, pipe, start
from tests.doubles.sendgrid import KEY, SendGridDouble

ROUNDS: Final = 14
PER_ROUND: Final = 8
"""Things that happen in a round, while both workers sweep."""
STEPS: Final = (timedelta(minutes=20), timedelta(hours=5), timedelta(days=1), timedelta(days=1), timedelta(days=2))
BACKWARD: Final = (timedelta(minutes=-2), timedelta(hours=-3))
"""How far the clock of a worker goes back: as time servers correct it, and too far."""
TOO_FAR: Final = timedelta(minutes=-10)
MAX_SWEEPS: Final = 12
_numbers: Final = itertools.count(1)


@dataclass
class LifecycleRun:
    """Results of histories; *wrong* describes each violation."""

    histories: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    restores: int = 0
    clocks_back: int = 0
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: LifecycleRun) -> LifecycleRun:
        return LifecycleRun(
            self.histories + other.histories,
            self.happened + other.happened,
            self.sent + other.sent,
            self.restores + other.restores,
            self.clocks_back + other.clocks_back,
            self.wrong + other.wrong,
        )


class _Crew:
    """Two worker processes on one database."""

    def __init__(self, url: str, double: SendGridDouble, origin: str, folder: Path) -> None:
        self.notes = [folder / f"{name}.notes" for name in ("w1", "w2")]
        self._ends: list[Connection] = []
        self._processes = []
        for notes in self.notes:
            job = Job(
                name=notes.stem,
                url=url,
                api=double.url,
                origin=origin,
                notes=notes,
                batch=5,
                machine=folder / "machine",
            )
            here, there = pipe()
            self._processes.append(start(serve_sweeps, job, there))
            there.close()
            self._ends.append(here)

    def order(self, *ahead: timedelta | None) -> None:
        """Let the workers sweep at once, each at its time."""
        for end, one in zip(self._ends, ahead, strict=False):
            end.send(Sweep(ahead=one.total_seconds() if one is not None else None))

    def results(self, count: int = 2) -> list[SweepDone]:
        """Wait for the results of the first *count* workers."""
        found = []
        for end in self._ends[:count]:
            if not end.poll(WAIT):
                raise RuntimeError("a sweep hangs")
            found.append(end.recv())
        return found

    def close(self) -> None:
        """Let the workers end."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(WAIT)


def lifecycle_run(
    source: PostgresSource, double: SendGridDouble, folder: Path, rng: Random, rounds: int = ROUNDS
) -> LifecycleRun:
    """Live through one random history of *rounds* rounds, restore an older copy in the middle of it, and judge."""
    origin = f"lifecycle-{next(_numbers)}"
    home = folder / origin
    home.mkdir()
    provider = SendGridProvider(SecretStr(KEY), url=double.url)
    with source.fresh() as run_db, _context(run_db.url, provider, origin, home / "machine") as ctx:
        happenings = Happenings(ctx, home, rng)
        clock_row.bind_mode(ctx.database, "live", now())
        publish(ctx, rules(), now())
        history = _History(double, Oracle(double, origin), _Crew(run_db.url, double, origin, home), happenings)
        try:
            history.live(run_db.url, rounds)
        finally:
            history.crew.close()
    provider.close()
    found = history.found
    found.wrong = [f"{origin}: {one}" for one in found.wrong]
    return found


@contextmanager
def _context(url: str, provider: SendGridProvider, origin: str, machine: Path) -> Iterator[AppContext]:
    database = Database(url)
    database.machine = make_machine(database, machine, OffsetClock())
    more = {"base_url": BASE_URL, "installation_id": origin, "message_kinds": MESSAGE_KINDS, "erasures": ERASURES}
    try:
        yield AppContext(database, provider, **more)  # type: ignore[arg-type]
    finally:
        database.close()


@dataclass
class _History:
    """One history while it goes on."""

    double: SendGridDouble
    oracle: Oracle
    crew: _Crew
    happenings: Happenings
    calls: Calls = field(default_factory=Calls)
    found: LifecycleRun = field(default_factory=lambda: LifecycleRun(1))
    restored_at: float = inf
    restored_to: datetime | None = None
    changed_in_gap: set[str] = field(default_factory=set)
    """Addresses about which something came in between the backup and its restore: that is lost."""
    offered_again: set[str] = field(default_factory=set)
    """Emails to sales that a manager had sent again with the restore."""

    def live(self, url: str, rounds: int) -> None:
        """Let *rounds* rounds pass, restore the database at *url* in the middle, and judge after each."""
        rng = self.happenings.rng
        backup_at = rng.randrange(1, rounds - 2)
        restore_at = backup_at + rng.randint(1, 2)
        backups, backup, since = backups_of(url), Path(), now()
        in_gap = set[str]()
        for number in range(rounds):
            if number == backup_at:
                self.happenings.touched.clear()
                backup, since = backups.back_up(self.happenings.folder), self.happenings.now
                before = set(self._accepted())
            if number == restore_at:
                in_gap = set(self._accepted()) - before
                self._restore(backups, backup, since)
            self._round()
            if self.found.wrong:
                return
        self._judge_calls(in_gap)

    def _round(self) -> None:
        """Let time pass, both workers sweep, and things happen meanwhile; then judge the database."""
        things, rng = self.happenings, self.happenings.rng
        things.ahead += rng.choice(STEPS)
        back = rng.choice(BACKWARD) if rng.random() < 0.3 else timedelta()
        self.crew.order(things.ahead, things.ahead)
        for _ in range(PER_ROUND):
            things.happen()
        self._take(self.crew.results())
        if back:
            self.found.clocks_back += 1
            self.crew.order(things.ahead + back, things.ahead)
            late, _ = self._take(self.crew.results(), may_be_refused=back < TOO_FAR)
            if late.refused != (back < TOO_FAR):
                self.found.wrong.append(f"a clock that goes back by {back} was {'' if late.refused else 'not '}refused")
        for _ in range(MAX_SWEEPS):
            self.crew.order(things.ahead)
            (done,) = self._take(self.crew.results(1))
            if not done.handled:
                break
        else:
            self.found.wrong.append(f"a sweep finds something to do after {MAX_SWEEPS} sweeps")
        self.calls.learn(things.ctx)
        self.found.wrong += judge_state(things.ctx, things.now)

    def _take(self, results: Sequence[SweepDone], *, may_be_refused: bool = False) -> Sequence[SweepDone]:
        self.found.wrong += [f"a sweep failed: {one.failed}" for one in results if one.failed]
        if not may_be_refused:
            self.found.wrong += ["a sweep was refused for its clock" for one in results if one.refused]
        return results

    def _restore(self, backups: object, backup: Path, since: datetime) -> None:
        """Put an older copy in the place of the database: it sends nothing until it is brought up to date."""
        things = self.happenings
        self.crew.order(None, None)
        self.crew.results()
        things.ctx.database.close()
        backups.restore(backup)  # type: ignore[attr-defined]
        before = len(self._accepted())
        self.crew.order(things.ahead, things.ahead)
        self._take(self.crew.results())
        sent = len(self._accepted()) - before
        if sent:
            self.found.wrong.append(f"a restored database sent {sent} emails before it was brought up to date")
        choice = things.rng.choice(("reoffer", "leave"))
        restore(things.ctx, since, things.now, by="chaos", choice=choice)  # type: ignore[arg-type]
        if choice == "reoffer":
            self.offered_again = {key for key in self._accepted() if not key.startswith("touch:")}
        self.restored_at, self.restored_to, self.changed_in_gap = time.monotonic(), things.now, set(things.touched)
        self.found.restores += 1

    def _accepted(self) -> list[str]:
        return self.oracle.accepted()

    def _judge_calls(self, in_gap: set[str]) -> None:
        things = self.happenings
        arrivals = self.oracle.arrivals()
        work = sorted((note for notes in self.crew.notes for note in passed(notes)), key=lambda note: note.at)
        lost = {key for key in in_gap if self.calls.content(key)[0] in self.changed_in_gap}
        lost |= {key for key in in_gap if not key.startswith("touch:")}  # lists for sales are sent again
        lost |= self.offered_again
        self.found.wrong += self.calls.judge(arrivals, work, self._stops(), things.refused, lost)
        self.found.wrong += self._sent_again(arrivals, in_gap)
        self.found.sent += len(arrivals)
        self.found.happened += things.done

    def _stops(self) -> list[tuple[str, float, float]]:
        """Return each stop with its begin and end; a restore brings back those that are newer than the backup."""
        things, found = self.happenings, []
        for track, at, _ in things.stops:
            ends = [start for name, start in things.starts if name == track and start > at]
            found.append((track, at, min(ends, default=inf)))
        return found

    def _sent_again(self, arrivals: Sequence[tuple[str, float]], in_gap: set[str]) -> list[str]:
        """Return what was sent again after the restore to people about whom nothing came in since the backup."""
        if self.restored_at == inf:
            return []
        known = {self.calls.content(key): key for key in in_gap}
        again = []
        for key, at in arrivals:
            first = known.get(self.calls.content(key))
            entered = self.calls.entered.get(key)
            is_old = entered is not None and self.restored_to is not None and entered < self.restored_to
            is_known = self.calls.content(key)[0] not in self.changed_in_gap
            if at > self.restored_at and first is not None and is_old and is_known:
                again.append(f"sent again after a restore: {first} as {key}")
        return again


def measure(
    source: PostgresSource, double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Live through *wanted* histories."""
    folder.mkdir(exist_ok=True)
    whole = LifecycleRun()
    for number in range(wanted):
        whole += lifecycle_run(source, double, folder, Random(f"{seed}:lifecycle:{number}"))
        if whole.wrong:
            break
    things = ", ".join(f"{count:,} {name}" for name, count in whole.happened.most_common())
    note = f"{whole.sent:,} emails, {whole.restores} restores, {whole.clocks_back} clocks back; {things}"
    return [
        Figure("lifecycle_histories", whole.histories, "histories", minimum=wanted, note=note),
        Figure("lifecycle_violations", len(whole.wrong), "violations", maximum=1),
    ], whole.wrong


def histories_wanted(usual: int) -> int:
    """Return how many histories are wanted: `LIFECYCLE_HISTORIES`, or *usual*."""
    return int(os.environ.get("LIFECYCLE_HISTORIES") or usual)
