"""Kill a worker while it hands leads to sales: one offer, one brief and one CRM record each, none lost."""

from __future__ import annotations

import csv
import itertools
import signal
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from os import getpid, kill
from pathlib import Path
from random import Random
from threading import Timer
from typing import Final, NamedTuple

from pydantic import SecretStr
from sqlalchemy import text

from nurture.crm.base import Crm
from nurture.crm.csv.crm import CsvFolderCrm
from nurture.crm.hubspot.crm import HubSpotCrm
from nurture.crm.salesforce.crm import SalesforceCrm
from nurture.db.engine import Database
from nurture.journey.crm_sync import push
from nurture.journey.delivery.run import deliver
from nurture.journey.handoff import responses, sweep
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.runtime.context import AppContext
from nurture.runtime.published import PublishedDefinitions
from tests.bench.figures import Figure
from tests.chaos.databases import BASE_URL, DatabaseSource
from tests.chaos.verdicts import Oracle, in_flight, judge, states_in, wait_until_idle
from tests.chaos.worker import HEARTBEAT_POINTS, Death, Observer, OffsetClock, Worker
from tests.doubles.api_server import ApiDouble, Fault
from tests.doubles.hubspot import TOKEN, HubSpotDouble
from tests.doubles.salesforce import CONSUMER_KEY, CONSUMER_SECRET, SalesforceDouble
from tests.doubles.sendgrid import KEY, SendGridDouble

LEADS: Final = 6
ANY: Final = "any moment"
CRM_POINTS: Final = (
    "claim",
    "claimed",
    "last check",
    "before the call",
    "after the call",
    "write-back",
    "written back",
)
STAGES: Final = ("offered", "pushed", "accepted", "pushed again", "briefed")
DOUBLE_POINTS: Final = {"before the effect": False, "after the effect": True}
POINTS: Final = (*STAGES, *CRM_POINTS, *HEARTBEAT_POINTS, *DOUBLE_POINTS, ANY)
CRMS: Final = ("csv", "salesforce", "hubspot")
PAST_LEASE: Final = 120.0
REPS: Final = ("ana@house.example", "ben@house.example")
_RANK: Final = {"offered": 0, "accepted": 1}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Hand off all ready leads at *url*, push to *crm* at *place*, accept every second offer, send briefs."""

    name: str
    url: str
    mail: str
    origin: str
    crm: str
    place: str
    notes: Path
    ahead: float = 0
    death: Death | None = None


class CrmRecords(NamedTuple):
    """The number of CRM records of one key, and the stages of its hand-offs in order."""

    records: int
    stages: list[tuple[str, str]]


@dataclass
class HandoffRun:
    """Results of kill runs."""

    runs: int = 0
    duplicates: int = 0
    lost: int = 0
    unknown: int = 0
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: HandoffRun) -> HandoffRun:
        return HandoffRun(
            self.runs + other.runs,
            self.duplicates + other.duplicates,
            self.lost + other.lost,
            self.unknown + other.unknown,
            self.wrong + other.wrong,
        )


def crm_at(kind: str, place: str) -> Crm:
    """Return the CRM of a worker."""
    match kind:
        case "salesforce":
            return SalesforceCrm(place, CONSUMER_KEY, SecretStr(CONSUMER_SECRET))
        case "hubspot":
            return HubSpotCrm(SecretStr(TOKEN), url=place)
    return CsvFolderCrm(Path(place))


def run_job(job: Job, observe: Observer, definitions: PublishedDefinitions | None = None) -> None:
    """Run the sales stages of a round, with a checkpoint between them."""
    provider = SendGridProvider(SecretStr(KEY), url=job.mail)
    crm = crm_at(job.crm, job.place)
    definitions = definitions or PublishedDefinitions()
    ctx = AppContext(
        Database(job.url),
        provider,
        BASE_URL,
        job.origin,
        definitions=definitions,
        crm=crm,
        beat_interval=observe.beat_interval,
        message_kinds=MESSAGE_KINDS,
    )
    clock = OffsetClock(job.ahead)
    try:
        sweep.hand_off(ctx, clock.now())
        observe("offered")
        push.push(ctx, clock, observe)
        observe("pushed")
        for offer_id in _open_offers(ctx):
            responses.accept(ctx, offer_id, clock.now())
        observe("accepted")
        push.push(ctx, clock, observe)
        observe("pushed again")
        deliver(ctx, clock)
        observe("briefed")
    finally:
        provider.close()
        crm.close()
        ctx.database.close()


def run_worker(job: Job, start_signal: Connection) -> None:
    """Run the job of the worker process."""
    start_signal.recv_bytes()
    observe = Observer(job.notes, job.death)
    if job.death is not None and job.death.seconds is not None:
        timer = Timer(job.death.seconds, kill, (getpid(), job.death.signal))
        timer.daemon = True
        timer.start()
    try:
        run_job(job, observe)
    except BaseException:  # noqa: BLE001 - said to whoever judges
        observe("failed", [traceback.format_exc()])
        raise SystemExit(1) from None


def _open_offers(ctx: AppContext) -> list[int]:
    """Return every second open hand-off."""
    with ctx.database.read() as tx:
        found = text("SELECT id FROM offer WHERE state = 'offered' AND lead_id % 2 = 0 ORDER BY id")
        return list(tx.execute(found).scalars())


@dataclass
class KillSetup:
    """A database source, the double of the mail provider, a folder; rules are compiled once."""

    source: DatabaseSource
    double: SendGridDouble
    folder: Path
    passes: Counter[str] = field(default_factory=Counter)
    seconds: float = 1.0
    definitions: PublishedDefinitions = field(default_factory=PublishedDefinitions)

    @classmethod
    def of(cls, source: DatabaseSource, double: SendGridDouble, folder: Path) -> KillSetup:
        """Run one worker to its end and count how often it passes each point."""
        setup = cls(source, double, folder)
        with source.fresh() as run_db, setup.crm("salesforce") as (place, crm):
            worker = Worker(setup.job(run_db.url, "first", setup.origin(), "salesforce", place), run_worker).go()
            assert worker.end() == 0, worker.passed("failed")
            notes = worker.passed()
            assert isinstance(crm, ApiDouble)
            effects = len(crm.effects)
        setup.passes = Counter(note.point for note in notes)
        setup.passes.update(dict.fromkeys(DOUBLE_POINTS, effects))
        setup.seconds = notes[-1].at - notes[0].at
        return setup

    def origin(self) -> str:
        """Return a name that no other run has."""
        return f"{self.source.name}-handoff-{next(_numbers)}"

    def job(self, url: str, name: str, origin: str, crm: str, place: str, death: Death | None = None) -> Job:
        """Return a worker's job."""
        notes = self.folder / f"{origin}-{name}.notes"
        given = {"name": name, "url": url, "mail": self.double.url, "origin": origin, "crm": crm}
        return Job(**given, place=place, notes=notes, death=death)

    @contextmanager
    def crm(self, kind: str) -> Iterator[tuple[str, ApiDouble | Path]]:
        """Yield a CRM for one run: its place, and the function that reads its records."""
        if kind == "csv":
            place = self.folder / f"crm-{next(_numbers)}"
            yield str(place), place
            return
        with SalesforceDouble() if kind == "salesforce" else HubSpotDouble() as double:
            for email in REPS:
                double.add_user(email)
            yield double.url, double


def kill_run(setup: KillSetup, point: str, kind: str, rng: Random) -> HandoffRun:
    """Kill one worker at *point*, at a random one of its passes, and let others finish."""
    death = Death(seconds=rng.uniform(0, setup.seconds)) if point == ANY else Death(point, 1)
    nth = rng.randint(1, max(setup.passes[point], 1)) if kind != "csv" or point in STAGES else 1
    death = death._replace(nth=nth)
    origin = setup.origin()
    with setup.source.fresh() as run_db, setup.crm(kind) as (place, crm):
        oracle = Oracle(setup.double, origin)
        victim = Worker(setup.job(run_db.url_of("victim"), "victim", origin, kind, place, death), run_worker)
        if point in DOUBLE_POINTS and isinstance(crm, ApiDouble):
            killing = Fault(what="kill", after=DOUBLE_POINTS[point], pid=victim.pid)
            crm.add_fault(*[Fault(what="pass")] * (nth - 1), killing)
        code = victim.go().end()
        failed = [] if code in (0, -signal.SIGKILL) else [f"it failed: {victim.passed('failed')}"]
        if isinstance(crm, ApiDouble):
            crm.add_fault()
        wait_until_idle(run_db.url, "victim")
        calls_in_flight = in_flight(states_in(run_db.url))
        for ahead in (PAST_LEASE, 2 * PAST_LEASE):
            job = replace(setup.job(run_db.url, "finisher", origin, kind, place), ahead=ahead)
            run_job(job, Observer(job.notes, None), setup.definitions)
        found = _judge(run_db.url, origin, crm)
        mail = judge(states_in(run_db.url), oracle.accepted(), setup.source.count, calls_in_flight)
    found.runs = int(code == -signal.SIGKILL)
    found.duplicates += mail.twice
    found.lost += mail.lost
    found.unknown += mail.states["unknown"]
    label = f"{setup.source.name}, {kind}, killed at {point} {death.seconds or nth}"
    found.wrong = [f"{label}: {one}" for one in (*failed, *found.wrong, *mail.wrong)]
    return found


def _judge(url: str, origin: str, crm: ApiDouble | Path) -> HandoffRun:
    """Compare the hand-offs in the database with the CRM's records."""
    found = HandoffRun()
    database = Database(url)
    with database.read() as tx:
        ready = set(tx.execute(text("SELECT id FROM lead")).scalars())
        offers = tx.execute(text("SELECT id, lead_id, state FROM offer ORDER BY id")).all()
        records = dict(tx.execute(text("SELECT offer_id, state FROM crm_record")).tuples().all())
    database.close()
    of_lead = Counter(lead_id for _, lead_id, _ in offers)
    _count(found, "duplicates", "offered twice", [lead for lead, count in of_lead.items() if count > 1])
    _count(found, "lost", "never offered", sorted(ready - of_lead.keys()))
    held = _in_folder(crm) if isinstance(crm, Path) else _in_double(crm)
    keys = {f"{origin}-lead-{lead_id}" for _, lead_id, _ in offers}
    _count(found, "duplicates", "in the CRM, unknown here", sorted(held.keys() - keys))
    for offer_id, lead_id, state in offers:
        key, wanted = f"{origin}-lead-{lead_id}", (f"{origin}-handoff-{offer_id}", state)
        there = held.get(key, CrmRecords(0, []))
        if there.records > 1:
            _count(found, "duplicates", f"{there.records} CRM records", [key])
        if there.records == 0 or not there.stages or there.stages[-1] != wanted:
            _count(found, "lost", f"the CRM ends with {there.stages[-1:]}, not {wanted}", [key])
        if there.stages != sorted(there.stages, key=lambda one: _RANK[one[1]]):
            _count(found, "lost", f"out of order: {there.stages}", [key])
        if records.get(offer_id) != "done":
            _count(found, "lost", f"its record is {records.get(offer_id)}", [key])
    return found


def _count(found: HandoffRun, what: str, label: str, which: Sequence[object]) -> None:
    setattr(found, what, getattr(found, what) + len(which))
    found.wrong += [f"{label}: {one}" for one in which]


def _in_double(double: ApiDouble) -> dict[str, CrmRecords]:
    held: dict[str, CrmRecords] = {}
    for effect in double.effects:
        before = held.get(effect.key, CrmRecords(0, []))
        stages = [*before.stages, (effect.handoff_key, effect.handoff_status)]
        held[effect.key] = CrmRecords(before.records + (effect.what == "created"), stages)
    return held


def _in_folder(folder: Path) -> dict[str, CrmRecords]:
    """Read the files as an importer does: a hand-off twice in the same state is a duplicate."""
    held: dict[str, CrmRecords] = {}
    for path in sorted((folder / "out").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                before = held.get(row["nurture_key"], CrmRecords(1, []))
                entry = (row["nurture_handoff"], row["nurture_handoff_status"])
                again = entry in before.stages
                held[row["nurture_key"]] = CrmRecords(before.records + again, [*before.stages, entry])
    return held


def measure(
    sources: Sequence[DatabaseSource], double: SendGridDouble, folder: Path, seed: int, wanted: int
) -> tuple[list[Figure], list[str]]:
    """Kill on each of *sources*, with each CRM in turn, until *wanted* workers died there."""
    whole = HandoffRun()
    for source in sources:
        setup = KillSetup.of(source, double, folder)
        done = HandoffRun()
        for number in range(2 * wanted):
            if done.runs >= wanted:
                break
            point, kind = POINTS[number % len(POINTS)], CRMS[number // len(POINTS) % len(CRMS)]
            if kind == "csv" and point in DOUBLE_POINTS:
                continue  # a folder has no server that could die
            done += kill_run(setup, point, kind, Random(f"{seed}:handoff:{source.name}:{number}"))
        whole += done
    note = f"{LEADS} leads each, CRMs in turn: {', '.join(CRMS)}; {whole.unknown} briefs unknown for good"
    return [
        Figure("handoff_kill_runs", whole.runs, "runs", minimum=len(sources) * wanted * 10 // 11, note=note),
        Figure("handoff_duplicates", whole.duplicates, "hand-offs", maximum=1),
        Figure("handoff_lost", whole.lost, "hand-offs", maximum=1),
    ], whole.wrong
