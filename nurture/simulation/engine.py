"""Run leads through the real engine on a virtual clock: months in seconds, the same code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, Table, func, insert, select

from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.definitions import Sources
from nurture.domain.lead import Custodian, Queue
from nurture.domain.planning import calendar as calendar_times
from nurture.errors import NotFound, Refused
from nurture.journey.run_once import Ticked, tick
from nurture.mail.providers.base import Accepted, Receipt
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing.publish import publish
from nurture.runtime.context import House

custody: Table = core.Custody.__table__  # type: ignore[attr-defined]
message: Table = core.Message.__table__  # type: ignore[attr-defined]
journal: Table = core.Journal.__table__  # type: ignore[attr-defined]

MOST_ROUNDS_AT_ONE_MOMENT = 50


class NoMail:
    """A provider for simulations: takes every email and keeps none."""

    name = "simulation"
    at_once = 10_000

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Accept each email of *batch*."""
        del now
        return [Accepted(email.ref) for email in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Nothing can be wrong."""

    def close(self) -> None:
        """Nothing is held open."""


def next_moment(house: House) -> datetime | None:
    """Return when a sweep has something to do next, for a lead or a mail; None if none ever has.

    Leads with a rep, and in the queues of people, are due to a person: no sweep takes them.
    """
    with house.database.read() as connection:
        return _next(connection)


def _next(connection: Connection) -> datetime | None:
    found = connection.execute(_moments()).one()
    return min((moment for moment in found if moment is not None), default=None)


@cache
def _moments() -> Select[Any]:
    """Return the statement that asks for the next moment of everything that waits."""
    # The filter on due_at is the one of the index: without it SQLite reads every lead.
    first = select(func.min(custody.c.due_at, type_=custody.c.due_at.type)).where(
        custody.c.due_at.is_not(None)
    )
    swept = (Custodian.INTAKE, Custodian.TRACK, Custodian.OFFER)
    waiting = [first.where(custody.c.kind == kind.value) for kind in swept]
    queue = custody.c.kind == Custodian.QUEUE.value
    waiting.append(first.where(queue, custody.c.ref == Queue.HAND_OFF.value))
    mail = select(func.min(message.c.send_at, type_=message.c.send_at.type))
    waiting.append(mail.where(message.c.state == "planned"))
    return select(*[one.scalar_subquery() for one in waiting])


def run(
    house: House,
    start: datetime,
    until: datetime,
    *,
    between: Callable[[datetime], datetime | None] | None = None,
    told: Callable[[datetime, Ticked], None] | None = None,
    step: timedelta = timedelta(),
) -> datetime:
    """Jump from one due moment to the next until *until*; return the moment that was reached.

    *between(now)* lets the world do what it does by *now* (it may record signals), and tells when it does
    something next; it is asked before each round, so that nothing is sent to who has just left, and after it.
    *step* is the shortest jump: moments closer together share a round.
    """
    now = start
    while True:
        if between is not None:
            between(now)
        for _ in range(MOST_ROUNDS_AT_ONE_MOMENT):
            done = tick(house, now)
            if told is not None:
                told(now, done)
            upcoming = next_moment(house)
            if upcoming is None or upcoming > now:
                break
        world = between(now) if between is not None else None
        moments = [moment for moment in (next_moment(house), world) if moment is not None]
        if not moments:
            return now
        following = max(min(moments), now + step)
        if following > until:
            return now
        now = max(following, now)


@dataclass(frozen=True, slots=True)
class Day:
    """One line of a simulated calendar."""

    at: datetime
    what: str
    because: str


@dataclass
class Calendar:
    """What one lead would get, when, and why."""

    track: str
    zone: str
    days: list[Day] = field(default_factory=list)


def simulate(
    sources: Sources,
    track: str,
    start: datetime,
    days: int,
    facts: Mapping[str, Any] | None = None,
    zone: str = "",
    country: str = "",
) -> Calendar:
    """Run one lead through *track* of the given rules, in memory, as if it entered at *start* (UTC).

    Raises NotFound for an unknown track, RulesFaulty for faulty rules, Refused for an unknown zone.
    """
    try:
        calendar_times.local(start, zone or "UTC")
    except calendar_times.UnknownZone as error:
        raise Refused(f"{error}.") from None
    database = Database("sqlite://")
    try:
        return _simulated(database, sources, track, start, days, facts or {}, zone, country)
    finally:
        database.close()


def _simulated(
    database: Database,
    sources: Sources,
    track: str,
    start: datetime,
    days: int,
    facts: Mapping[str, Any],
    zone: str,
    country: str,
) -> Calendar:
    schema.upgrade(database)
    clock_row.bind(database, "virtual", start)
    house = House(database, NoMail())
    publish(house, sources, start)
    with database.write() as connection:
        book = house.rulebooks.current(connection)
        program = book.programs.get(track)
        if program is None:
            raise NotFound(f"There is no track {track}. There are: {', '.join(sorted(book.programs))}.")
        _enter(connection, track, program.land(0, 1)[0], facts, zone, country, start)
    run(house, start, start + timedelta(days=days))
    calendar = Calendar(track, zone or program.zone_fallback)
    with database.read() as connection:
        calendar.days += _days(connection)
    return calendar


def _enter(
    connection: Connection,
    track: str,
    step: str,
    facts: Mapping[str, Any],
    zone: str,
    country: str,
    start: datetime,
) -> None:
    address, lead, enrollment = (core.metadata.tables[name] for name in ("address", "lead", "enrollment"))
    connection.execute(insert(address).values(id=1, email="lead@example.com", normal="lead@example.com"))
    connection.execute(
        insert(lead).values(
            id=1,
            address_id=1,
            source="simulation",
            facts=dict(facts),
            zone=zone,
            country=country,
            basis="consent",
            engagement=0.0,
            readiness="",
            first_contact_at=start,
            created_at=start,
            updated_at=start,
        )
    )
    connection.execute(
        insert(custody).values(
            lead_id=1,
            kind="track",
            ref=track,
            since=start,
            next_action=f"begin {track}",
            due_at=start,
            version=1,
        )
    )
    connection.execute(
        insert(enrollment).values(
            lead_id=1, track=track, entered_at=start, step=step, visit=1, anchor_at=start, reached_at=start
        )
    )


def _days(connection: Connection) -> list[Day]:
    wanted = select(journal.c.at, journal.c.event, journal.c.because, journal.c.detail, journal.c.ref)
    days = []
    for at, event, because, detail, ref in connection.execute(wanted.order_by(journal.c.id)):
        if event == "touch":
            actions = [action for action in (detail or {}).get("actions", ()) if action[0] == "send"]
            days += [Day(at, f"email {action[3]}", because) for action in actions]
        elif event == "left":
            days.append(Day(at, f"goes on to {ref}", because))
        elif event in ("hand_off", "offered", "fault", "recycled", "closed"):
            days.append(
                Day(at, event.replace("_", " "), because if event != "fault" else json.dumps(because))
            )
    return days
