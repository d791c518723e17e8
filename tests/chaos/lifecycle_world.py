"""One PostgreSQL database that two worker processes sweep at once, and what happens to its leads meanwhile."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from nurture.db import clock_row
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import ClockWentBackwards, NurtureError
from nurture.formats.lead_item import ItemReader
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.broadcasts.plan import plan_due
from nurture.journey.consent.suppression import suppress as opt_out
from nurture.journey.delivery import stopping
from nurture.journey.delivery.run import deliver
from nurture.journey.erasure.erase import erase_person
from nurture.journey.handoff import reassign, responses
from nurture.journey.intake.import_file import import_rows
from nurture.journey.stages import STAGES
from nurture.journey.tracks import manual
from nurture.runtime.context import AppContext
from tests.chaos.databases import now
from tests.chaos.worker import Job, Observer, OffsetClock, working_context
from tests.journey.builders import close_lead, sample_rules
from tests.journey.observe import record_signal

PEOPLE, COMPANIES = 24, 4
OPEN: Final = {"[mon, tue, wed, thu, fri]": "[mon, tue, wed, thu, fri, sat, sun]", "09:00-17:00": "00:00-00:00"}
_DATED: Final = """
name: welcome
goal: Turn a trial into a customer
audience: {field: title, contains: [head]}
priority: 10
re_entry: after 10 days
until: {field: plan, is: paid}
steps:
  - email: 01-hello
    after: 1 hour
  - email: 02-more
    after: 1 day before trial_ends
    not_after: trial_ends
  - email: 03-last
    after: 2 days
    not_after: trial_ends
finally: keep
"""
_TRIAL: Final = """
name: trial
goal: Use it once
audience: {field: lead_source, is: Trial}
priority: 30
re_entry: after 5 days
until: {field: plan, is: paid}
steps:
  - email: 01-start
    after: 1 hour
  - email: 02-next
    after: 1 day
finally: previous
"""
_OWNED: Final = """
name: of-ben
goal: The customers of Ben
audience: {field: owner, is: Ben}
priority: 50
re_entry: after 3 days
exit_when: {when: {not: {field: owner, is: Ben}}, then: previous}
steps:
  - email: 01-note
    after: 2 hours
finally: previous
"""
_HELD: Final = """
SELECT o.id, o.state, coalesce(a.email, '') FROM offer o JOIN lead l ON l.id = o.lead_id
LEFT JOIN address a ON a.id = l.address_id WHERE o.state IN ('offered', 'accepted') ORDER BY o.id
"""
_TRACKS: Final = ("welcome", "trial", "of-ben", "keep", ALL_TRACKS)


def rules() -> dict[str, str]:
    """Return tracks that hang on dates, take each other's leads over, have a goal, and ask for the owner."""
    found = sample_rules()
    for usual, always in OPEN.items():
        found["defaults.yaml"] = found["defaults.yaml"].replace(usual, always)
    found["defaults.yaml"] = found["defaults.yaml"].replace("touches: 2, per: 7", "touches: 3, per: 2")
    found["tracks/keep/track.yaml"] = found["tracks/keep/track.yaml"].replace("after: 10 days", "after: 3 days")
    news = found["tracks/keep/01-news.md"]
    emails = {"welcome": ("03-last",), "trial": ("01-start", "02-next"), "of-ben": ("01-note",)}
    for track, names in emails.items():
        for name in names:
            found[f"tracks/{track}/{name}.md"] = news.replace("News", f"{track} {name}")
    found |= {f"tracks/{name}/track.yaml": track for name, track in (("trial", _TRIAL), ("of-ben", _OWNED))}
    return found | {
        "tracks/welcome/track.yaml": _DATED,
        "fields.yaml": "trial_ends: {type: date}\nplan: {type: text}\n",
    }


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A round of all stages, *ahead* of the real time; None closes the connections to the database."""

    ahead: float | None


class SweepDone(NamedTuple):
    """What a round did: how many leads and messages it handled, or why it was refused or failed."""

    handled: int = 0
    refused: bool = False
    failed: str = ""


def serve_sweeps(job: Job, orders: Connection) -> None:
    """Run a round of all stages for each order that comes, until the other end closes."""
    observer = Observer(job.notes, None)
    with working_context(job, observer) as ctx:
        while True:
            try:
                order = orders.recv()
            except EOFError:
                return
            if order.ahead is None:
                ctx.database.close()
                orders.send(SweepDone())
                continue
            try:
                orders.send(_sweep(ctx, OffsetClock(order.ahead), observer))
            except ClockWentBackwards:
                orders.send(SweepDone(refused=True))
            except BaseException:  # noqa: BLE001 - said to whoever judges
                orders.send(SweepDone(failed=traceback.format_exc()))


def _sweep(ctx: AppContext, clock: OffsetClock, observer: Observer) -> SweepDone:
    with ctx.database.write() as tx:
        clock_row.advance_to(tx, clock.now())
    done = 0
    for name in ("signals", "intake", "advance", "hand-off"):
        result = STAGES[name].run(ctx, clock, lambda: False)
        done += result.leads if name == "advance" else result.total()
    plan_due(ctx, clock.now())
    return SweepDone(done + deliver(ctx, clock, observe=observer).messages)


@dataclass
class Happenings:
    """What happens to leads, chosen by *rng*; and what the laws must know of it, by CLOCK_MONOTONIC."""

    ctx: AppContext
    folder: Path
    rng: Random
    ahead: timedelta = timedelta()
    done: Counter[str] = field(default_factory=Counter)
    stops: list[tuple[str, float, int]] = field(default_factory=list)
    """Track, when the stop was committed, and how many of its emails were with the provider then."""
    starts: list[tuple[str, float]] = field(default_factory=list)
    refused: dict[str, float] = field(default_factory=dict)
    """Addresses that opted out or were erased, and since when."""
    touched: set[str] = field(default_factory=set)
    """Addresses about which something came in since the backup."""

    @property
    def now(self) -> datetime:
        return now() + self.ahead

    def happen(self) -> None:
        """Let one thing happen; what the product refuses does not."""
        name = self.rng.choice(_NAMES)
        with suppress(NurtureError):
            _HAPPENINGS[name](self)
            self.done[name] += 1

    def import_person(self, **fields: Any) -> None:
        number = self.rng.randrange(PEOPLE)
        item = {
            "external_id": str(number),
            "email": _address(number),
            "title": self.rng.choice(("Head", "Buyer")),
            "company": f"Firm {number % COMPANIES}",
            "website": f"firm{number % COMPANIES}.example",
            "consent_basis": "consent",
        }
        self.touched.add(_address(number))
        declared = self._declared()
        custom = {key: fields.pop(key) for key in ("plan", "trial_ends") if key in fields}
        reader = ItemReader("crm", declared)
        import_rows(self.ctx, [reader.read(1, item | fields | {"custom": custom})], "API batch", self.now)

    def move_date(self) -> None:
        day = self.now.date() + timedelta(days=self.rng.randint(-2, 9))
        self.import_person(title="Head", trial_ends=str(day))

    def choose_source(self) -> None:
        self.import_person(lead_source=self.rng.choice(("Trial", "Website")))

    def reach_goal(self) -> None:
        self.import_person(plan=self.rng.choice(("paid", "free")))

    def signal(self) -> None:
        kinds = (SignalKind.CLICKED, SignalKind.REGISTERED, SignalKind.ATTENDED, SignalKind.REPLIED)
        lead = self._lead()
        if lead is not None:
            record_signal(self.ctx, lead, self.rng.choice(kinds), self.now)

    def stop(self) -> None:
        track = self.rng.choice(_TRACKS)
        done = stopping.stop(self.ctx, track, "chaos", "chaos", self.now)
        self.stops.append((track, time.monotonic(), done.sending))

    def start(self) -> None:
        track = self.rng.choice([stop[0] for stop in self.stops] or _TRACKS)
        at = time.monotonic()
        stopping.start(self.ctx, track, "", "chaos", self.now)
        self.starts.append((track, at))

    def refuse(self) -> None:
        address = _address(self.rng.randrange(PEOPLE))
        opt_out(self.ctx, [address], self.now)
        self.refused.setdefault(address, time.monotonic())

    def erase(self) -> None:
        address = _address(self.rng.randrange(PEOPLE))
        erase_person(self.ctx, address, self.now)
        self.refused.setdefault(address, time.monotonic())
        self.touched.add(address)

    def change_owner(self) -> None:
        lines = [
            f"{number},Firm {number},firm{number}.example,{self.rng.choice(('ana', 'ben'))}"
            for number in range(COMPANIES)
        ]
        file = self.folder / "accounts.csv"
        file.write_text("\n".join(["id,name,domains,owner", *lines]) + "\n", "utf-8")
        self.touched |= {_address(number) for number in range(PEOPLE)}  # the owner decides about tracks
        import_accounts(self.ctx, file, self.now, source="crm")

    def answer(self) -> None:
        with self.ctx.database.read() as tx:
            offers = [tuple(row) for row in tx.execute(text(_HELD))]
        if not offers:
            return
        offer, state, address = self.rng.choice(offers)
        self.touched.add(address)
        if self.rng.random() < 0.3:
            reassign.reassign(self.ctx, offer, self.rng.choice(("ana", "ben")), self.now, force=True)
        elif state == "offered" and self.rng.random() < 0.5:
            responses.accept(self.ctx, offer, self.now)
        else:
            responses.reject(self.ctx, offer, self.rng.choice(("not-now", "wrong-person", "bad-fit")), self.now)

    def act_by_hand(self) -> None:
        lead, way = self._lead(), self.rng.randrange(3)
        if lead is None:
            return
        if way == 0:
            manual.pause(self.ctx, lead, self.now + timedelta(days=self.rng.randint(1, 4)), self.now)
        elif way == 1:
            manual.enroll(self.ctx, lead, self.rng.choice(("welcome", "keep", "trial")), self.now)
        else:
            manual.remove_from_track(self.ctx, lead, "needs-a-look", self.now)

    def end_sale(self) -> None:
        lead = self._lead()
        if lead is not None:
            close_lead(self.ctx, lead, self.rng.choice((Closing.WON, Closing.LOST)), self.now)

    def _declared(self) -> Any:
        with self.ctx.database.read() as tx:
            return self.ctx.definitions.declared_fields(tx)

    def _lead(self) -> int | None:
        """Choose a lead; what happens to it is lost if an older copy is restored."""
        with self.ctx.database.read() as tx:
            query = "SELECT l.id, a.email FROM lead l JOIN address a ON a.id = l.address_id ORDER BY l.id"
            leads = [tuple(row) for row in tx.execute(text(query))]
        if not leads:
            return None
        lead, address = self.rng.choice(leads)
        self.touched.add(address)
        return int(lead)


def _address(number: int) -> str:
    return f"p{number}@firm{number % COMPANIES}.example"


_HAPPENINGS: Final[dict[str, Callable[[Happenings], None]]] = {
    "imports": Happenings.import_person,
    "dates moved": Happenings.move_date,
    "sources": Happenings.choose_source,
    "goals": Happenings.reach_goal,
    "signals": Happenings.signal,
    "stops": Happenings.stop,
    "starts": Happenings.start,
    "opt-outs": Happenings.refuse,
    "erasures": Happenings.erase,
    "owners": Happenings.change_owner,
    "answers": Happenings.answer,
    "by hand": Happenings.act_by_hand,
    "outcomes": Happenings.end_sale,
}
_WEIGHTS: Final = {
    "imports": 4,
    "dates moved": 5,
    "sources": 4,
    "signals": 4,
    "goals": 2,
    "stops": 2,
    "starts": 3,
    "answers": 3,
}
_NAMES: Final = [name for name in _HAPPENINGS for _ in range(_WEIGHTS.get(name, 1))]
