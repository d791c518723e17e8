"""Kill, back up, restore, copy at any moment: nothing goes out twice, and no opt-out is forgotten."""

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

from nurture.app import machine_of
from nurture.db.engine import Database
from nurture.journey.consent import suppression_files
from nurture.journey.consent.suppression import suppress
from nurture.journey.delivery.run import deliver
from nurture.journey.tracks import advance
from nurture.mail.providers.sendgrid.provider import SendGrid
from nurture.operations.restore import restored
from nurture.runtime.context import House
from tests.bench.figures import Figure
from tests.chaos.grounds import BASE_URL, Ground, PostgresGround, Spot, SqliteGround, now
from tests.chaos.judging import Oracle, settle_down
from tests.chaos.working import Ahead, Death, Job, Worker
from tests.doubles.sendgrid import KEY, SendGridDouble
from tests.restoring import kept

WAYS: Final = {"restored at once": 1, "restored after a look": 1, "restored twice": 2, "copied": 0}
"""What happens, and how often the backup is put back then."""
ROUND: Final = timedelta(days=9)
"""The time between two rounds: the next email of the track falls due in it."""
SECONDS: Final = 0.6
"""How long a worker takes, about: it is killed, and the backup made, some time in it."""
_numbers: Final = itertools.count(1)
_PEOPLE: Final = (
    "SELECT a.email FROM message m JOIN lead l ON l.id = m.lead_id JOIN address a ON a.id = l.address_id"
)


@dataclass
class Found:
    """What came of runs: messages sent twice, opt-outs forgotten, and each violation in words."""

    runs: int = 0
    sent: int = 0
    said_no: int = 0
    twice: int = 0
    forgotten: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Found) -> Found:
        return Found(
            self.runs + other.runs,
            self.sent + other.sent,
            self.said_no + other.said_no,
            self.twice + other.twice,
            self.forgotten + other.forgotten,
            self.ways + other.ways,
            self.wrong + other.wrong,
        )


@dataclass
class _Run:
    """One machine, whose private folder is in *folder*, and its database at *url*."""

    url: str
    double: SendGridDouble
    provider: SendGrid
    origin: str
    folder: Path
    rng: Random
    ahead: timedelta = timedelta()
    said_no: set[str] = field(default_factory=set)

    @property
    def now(self) -> datetime:
        return now() + self.ahead

    @property
    def clock(self) -> Ahead:
        return Ahead(self.ahead.total_seconds())

    @contextmanager
    def house(self, url: str = "") -> Iterator[House]:
        """Open the database, or that at *url*, as this machine does."""
        database = Database(url or self.url)
        database.machine = machine_of(database, self.folder / "machine", self.clock)
        house = House(database, self.provider, base_url=BASE_URL, origin=self.origin)
        try:
            yield house
        finally:
            database.close()

    def say_no(self, most: int = 3) -> None:
        """Let a few people opt out."""
        with self.house() as house:
            with house.database.read() as connection:
                people = sorted(set(connection.execute(text(_PEOPLE)).scalars()) - self.said_no)
            chosen = self.rng.sample(people, min(self.rng.randint(0, most), len(people)))
            if chosen:
                suppress(house, chosen, self.now)
                self.said_no |= set(chosen)

    def go_on(self, url: str = "") -> None:
        """Let time pass, and send what falls due."""
        self.ahead += ROUND
        with self.house(url) as house:
            advance.advance(house, self.now)
            deliver(house, self.clock)


def restore_run(ground: Ground, double: SendGridDouble, folder: Path, way: str, rng: Random) -> Found:
    """Back up while a worker sends and may be killed, go on for a while, and restore or copy by *way*."""
    origin = f"restore-{ground.name}-{next(_numbers)}"
    home = folder / origin
    (home / "here").mkdir(parents=True)
    oracle = Oracle(double, origin)
    provider = SendGrid(SecretStr(KEY), url=double.url)
    with _fresh(ground, home / "here") as spot:
        run = _Run(spot.url, double, provider, origin, home, rng)
        here = kept(spot.url)
        run.say_no()
        worker = _start(run, spot, double)
        time.sleep(rng.uniform(0, SECONDS))
        since = now()
        backup = here.back_up(home)
        run.say_no()
        code = worker.end()
        settle_down(spot.url, worker.job.name)
        wrong = [] if code in (0, -SIGKILL) else [f"the worker failed: {worker.passed('failed')}"]
        for _ in range(rng.randint(0, 3)):
            run.go_on()
        run.say_no()
        if way == "copied":
            wrong += _copy(run, oracle)
        for _ in range(WAYS[way]):
            here.put_back(backup)
            wrong += _restore(run, since, oracle, look=way != "restored at once")
            run.go_on()
        run.go_on()
        oracle.lines()  # what was on its way has been read
        found = _judge(run)
    provider.close()
    found.ways[way] += 1
    found.wrong = [f"{ground.name}, {way}, {origin}: {one}" for one in wrong + found.wrong]
    return found


def _start(run: _Run, spot: Spot, double: SendGridDouble) -> Worker:
    """Start a worker in a process of its own, which is killed at some moment, or not."""
    death = Death(seconds=run.rng.uniform(0, SECONDS)) if run.rng.random() < 0.6 else None
    job = Job(
        name="victim",
        url=spot.url_of("victim"),
        api=double.url,
        origin=run.origin,
        notes=run.folder / "victim.notes",
        batch=4,
        machine=run.folder / "machine",
        death=death,
    )
    return Worker(job).go()


@contextmanager
def _fresh(ground: Ground, folder: Path) -> Iterator[Spot]:
    with ground.fresh(folder) if isinstance(ground, SqliteGround) else ground.fresh() as spot:
        yield spot


def _copy(run: _Run, oracle: Oracle) -> list[str]:
    """Let this machine work on a copy: it sends nothing."""
    before, ahead = len(oracle.accepted()), run.ahead
    with kept(run.url).copied(run.folder) as url:
        run.go_on(url)
    run.ahead = ahead
    sent = len(oracle.accepted()) - before
    return [f"a copy sent {sent}"] if sent else []


def _restore(run: _Run, since: datetime, oracle: Oracle, *, look: bool) -> list[str]:
    """Bring the restored database to today; before that, with *look*, let the machine work on it."""
    before = len(oracle.accepted())
    if look:
        run.go_on()
        run.say_no(1)
    with run.house() as house:
        restored(house, since, run.now, by="chaos")
    sent = len(oracle.accepted()) - before
    return [f"a restored database sent {sent} before it was brought to today"] if sent else []


def _letters(run: _Run) -> list[tuple[str, str]]:
    """Return (address, email and visit) of all that was accepted; ids are others after a restore."""
    mine = [one for one in run.double.accepted() if (one.ref or "").startswith(f"{run.origin}:touch:")]
    return [(one.to, (one.ref or "").split(":", 3)[3]) for one in mine]


def _judge(run: _Run) -> Found:
    accepted = Counter(_letters(run))
    twice = sorted(letter for letter, count in accepted.items() if count > 1)
    with run.house() as house:
        stands = {one.email for one in suppression_files.listed(house)}
    forgotten = sorted(run.said_no - stands)
    wrong = [*(f"sent twice: {letter}" for letter in twice), *(f"forgotten: {email}" for email in forgotten)]
    return Found(1, accepted.total(), len(run.said_no), len(twice), len(forgotten), wrong=wrong)


def measure(
    grounds: Sequence[SqliteGround | PostgresGround],
    double: SendGridDouble,
    folder: Path,
    seed: int,
    wanted: int,
) -> tuple[list[Figure], list[str]]:
    """Do it *wanted* times on each of *grounds*, each way in its turn."""
    whole, fewest = Found(), wanted
    for ground in grounds:
        done = Found()
        for number, way in zip(range(wanted), itertools.cycle(WAYS), strict=False):
            done += restore_run(ground, double, folder, way, Random(f"{seed}:restore:{ground.name}:{number}"))
        done.wrong += [] if done.sent else [f"{ground.name}: nothing was sent at all"]
        fewest = min(fewest, done.runs)
        whole += done
    ways = ", ".join(f"{count} {way}" for way, count in whole.ways.items())
    note = f"on each database; {whole.sent:,} messages, {whole.said_no:,} opt-outs; {ways}"
    return [
        Figure("restore_runs", fewest, "runs", at_least=wanted, note=note),
        Figure("restore_duplicates", whole.twice, "messages", below=1),
        Figure("restore_lost_optouts", whole.forgotten, "opt-outs", below=1),
    ], whole.wrong
