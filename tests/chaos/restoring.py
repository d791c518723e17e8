"""Kill, back up, restore and copy at random times: no message is sent twice, and no opt-out is lost."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Final

from pydantic import SecretStr
from sqlalchemy import text

from nurture.app import make_machine
from nurture.db.engine import Database
from nurture.journey.consent import suppression_files
from nurture.journey.consent.suppression import suppress
from nurture.journey.delivery.run import deliver
from nurture.journey.erasures import ERASURES
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.tracks import advance
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.operations.restore import restore
from nurture.runtime.context import AppContext
from tests.backups import backups_of
from tests.bench.figures import Figure
from tests.chaos.databases import BASE_URL, DatabaseSource, PostgresSource, RunDatabase, SqliteSource, now
from tests.chaos.verdicts import Oracle, wait_until_idle
from tests.chaos.worker import Death, Job, OffsetClock, Worker
from tests.doubles.sendgrid import KEY, SendGridDouble

SCENARIOS: Final = {"restored at once": 1, "restored after a look": 1, "restored twice": 2, "copied": 0}
"""Each scenario with the number of restores in it."""
ROUND_LENGTH: Final = timedelta(days=9)
"""The time between two rounds, in which the next email of the track falls due."""
SECONDS: Final = 0.6
"""About the duration of a worker; the kill and the backup happen at a random time in it."""
_numbers: Final = itertools.count(1)
_PEOPLE: Final = "SELECT a.email FROM message m JOIN lead l ON l.id = m.lead_id JOIN address a ON a.id = l.address_id"


@dataclass
class RestoreRuns:
    """Results of runs: messages sent twice, opt-outs lost, and a description of each violation."""

    runs: int = 0
    sent: int = 0
    opted_out: int = 0
    twice: int = 0
    forgotten: int = 0
    scenarios: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: RestoreRuns) -> RestoreRuns:
        return RestoreRuns(
            self.runs + other.runs,
            self.sent + other.sent,
            self.opted_out + other.opted_out,
            self.twice + other.twice,
            self.forgotten + other.forgotten,
            self.scenarios + other.scenarios,
            self.wrong + other.wrong,
        )


@dataclass
class _Run:
    """One machine with its private folder in *folder* and its database at *url*."""

    url: str
    double: SendGridDouble
    provider: SendGridProvider
    origin: str
    folder: Path
    rng: Random
    ahead: timedelta = timedelta()
    opted_out: set[str] = field(default_factory=set)

    @property
    def now(self) -> datetime:
        return now() + self.ahead

    @property
    def clock(self) -> OffsetClock:
        return OffsetClock(self.ahead.total_seconds())

    @contextmanager
    def make_context(self, url: str = "") -> Iterator[AppContext]:
        """Open the database, or the one at *url*, with the identity of this machine."""
        database = Database(url or self.url)
        database.machine = make_machine(database, self.folder / "machine", self.clock)
        ctx = AppContext(
            database,
            self.provider,
            base_url=BASE_URL,
            installation_id=self.origin,
            message_kinds=MESSAGE_KINDS,
            erasures=ERASURES,
        )
        try:
            yield ctx
        finally:
            database.close()

    def opt_out(self, max_people: int = 3) -> None:
        """Opt out a few recipients."""
        with self.make_context() as ctx:
            with ctx.database.read() as tx:
                people = sorted(set(tx.execute(text(_PEOPLE)).scalars()) - self.opted_out)
            chosen = self.rng.sample(people, min(self.rng.randint(0, max_people), len(people)))
            if chosen:
                suppress(ctx, chosen, self.now)
                self.opted_out |= set(chosen)

    def resume(self, url: str = "") -> None:
        """Advance the clock, and send what is due."""
        self.ahead += ROUND_LENGTH
        with self.make_context(url) as ctx:
            advance.advance(ctx, self.now)
            deliver(ctx, self.clock)


def restore_run(
    source: DatabaseSource, double: SendGridDouble, folder: Path, scenario: str, rng: Random
) -> RestoreRuns:
    """Back up while a worker sends and may be killed, continue for a while, restore or copy by *scenario*."""
    origin = f"restore-{source.name}-{next(_numbers)}"
    home = folder / origin
    (home / "here").mkdir(parents=True)
    oracle = Oracle(double, origin)
    provider = SendGridProvider(SecretStr(KEY), url=double.url)
    with _fresh(source, home / "here") as run_db:
        run = _Run(run_db.url, double, provider, origin, home, rng)
        here = backups_of(run_db.url)
        run.opt_out()
        worker = _start(run, run_db, double)
        time.sleep(rng.uniform(0, SECONDS))
        since = now()
        backup = here.back_up(home)
        run.opt_out()
        code = worker.end()
        wait_until_idle(run_db.url, worker.job.name)
        wrong = [] if code in (0, -SIGKILL) else [f"the worker failed: {worker.passed('failed')}"]
        for _ in range(rng.randint(0, 3)):
            run.resume()
        run.opt_out()
        if scenario == "copied":
            wrong += _copy(run, oracle)
        for _ in range(SCENARIOS[scenario]):
            here.restore(backup)
            wrong += _restore(run, since, oracle, work_first=scenario != "restored at once")
            run.resume()
        run.resume()
        oracle.lines()  # the double has read what was in flight
        found = _judge(run)
    provider.close()
    found.scenarios[scenario] += 1
    found.wrong = [f"{source.name}, {scenario}, {origin}: {one}" for one in wrong + found.wrong]
    return found


def _start(run: _Run, run_db: RunDatabase, double: SendGridDouble) -> Worker:
    """Start a worker process, which may be killed at a random time."""
    death = Death(seconds=run.rng.uniform(0, SECONDS)) if run.rng.random() < 0.6 else None
    job = Job(
        name="victim",
        url=run_db.url_of("victim"),
        api=double.url,
        origin=run.origin,
        notes=run.folder / "victim.notes",
        batch=4,
        machine=run.folder / "machine",
        death=death,
    )
    return Worker(job).go()


@contextmanager
def _fresh(source: DatabaseSource, folder: Path) -> Iterator[RunDatabase]:
    with source.fresh(folder) if isinstance(source, SqliteSource) else source.fresh() as run_db:
        yield run_db


def _copy(run: _Run, oracle: Oracle) -> list[str]:
    """Run this machine on a copy, which must send nothing."""
    before, ahead = len(oracle.accepted()), run.ahead
    with backups_of(run.url).copied(run.folder) as url:
        run.resume(url)
    run.ahead = ahead
    sent = len(oracle.accepted()) - before
    return [f"a copy sent {sent}"] if sent else []


def _restore(run: _Run, since: datetime, oracle: Oracle, *, work_first: bool) -> list[str]:
    """Bring the restored database to today; with *work_first*, run the machine on it before."""
    before = len(oracle.accepted())
    if work_first:
        run.resume()
        run.opt_out(1)
    with run.make_context() as ctx:
        restore(ctx, since, run.now, by="chaos")
    sent = len(oracle.accepted()) - before
    return [f"a restored database sent {sent} before it was brought to today"] if sent else []


def _sent_emails(run: _Run) -> list[tuple[str, str]]:
    """Return (address, email and visit) of each accepted message; ids differ after a restore."""
    sent = [one for one in run.double.accepted() if (one.ref or "").startswith(f"{run.origin}:touch:")]
    return [(one.to, (one.ref or "").split(":", 3)[3]) for one in sent]


def _judge(run: _Run) -> RestoreRuns:
    accepted = Counter(_sent_emails(run))
    twice = sorted(email for email, count in accepted.items() if count > 1)
    with run.make_context() as ctx:
        suppressed = {one.email for one in suppression_files.list_current(ctx)}
    forgotten = sorted(run.opted_out - suppressed)
    wrong = [*(f"sent twice: {email}" for email in twice), *(f"forgotten: {email}" for email in forgotten)]
    return RestoreRuns(1, accepted.total(), len(run.opted_out), len(twice), len(forgotten), wrong=wrong)


def measure(
    sources: Sequence[SqliteSource | PostgresSource], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Run *wanted* times on each of *sources*, each scenario in turn."""
    whole, fewest = RestoreRuns(), wanted
    for source in sources:
        done = RestoreRuns()
        for number, scenario in zip(range(wanted), itertools.cycle(SCENARIOS), strict=False):
            done += restore_run(source, double, folder, scenario, Random(f"{seed}:restore:{source.name}:{number}"))
        done.wrong += [] if done.sent else [f"{source.name}: nothing was sent at all"]
        fewest = min(fewest, done.runs)
        whole += done
    scenarios = ", ".join(f"{count} {scenario}" for scenario, count in whole.scenarios.items())
    note = f"on each database; {whole.sent:,} messages, {whole.opted_out:,} opt-outs; {scenarios}"
    return [
        Figure("restore_runs", fewest, "runs", minimum=wanted, note=note),
        Figure("restore_duplicates", whole.twice, "messages", maximum=1),
        Figure("restore_lost_optouts", whole.forgotten, "opt-outs", maximum=1),
    ], whole.wrong
