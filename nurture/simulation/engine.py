"""Simulation: run leads through the production code on a virtual clock."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select

from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.db.tables.leads import custody, journal
from nurture.db.transaction import Transaction
from nurture.definitions.folder import Sources
from nurture.domain.consent.statements import grant
from nurture.domain.delivery.receipts import Accepted, Receipt
from nurture.domain.lead import Custodian
from nurture.domain.planning import calendar as calendar_times
from nurture.errors import InvalidState, NotFound
from nurture.journey.leads import consent_queries, due_queries
from nurture.journey.leads.transitions import TAKEN_OVER
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.run_once import RunResult, run_once
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext

MAX_ROUNDS_PER_TIMESTAMP = 50
_SWEPT_CUSTODIANS: Final = (Custodian.INTAKE, Custodian.TRACK, Custodian.OFFER, Custodian.QUEUE, Custodian.RESTING)


class DiscardingProvider:
    """A provider that accepts every email and discards it."""

    name = "simulation"
    max_concurrency = 10_000

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Accept each email of *batch*."""
        del now
        return [Accepted(email.ref) for email in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Accept every email."""

    def close(self) -> None:
        """Do nothing."""


def find_next_due(ctx: AppContext) -> datetime | None:
    """Return when a sweep next has a lead or a message to process, None if never.

    Leads with a rep, or in a queue that people work, are excluded: no sweep takes them.
    """
    with ctx.database.read() as tx:
        return due_queries.find_next_due(tx, _SWEPT_CUSTODIANS)


def run_simulation(
    ctx: AppContext,
    start: datetime,
    until: datetime,
    *,
    advance_world: Callable[[datetime], datetime | None] | None = None,
    on_round: Callable[[datetime, RunResult], None] | None = None,
    min_step: timedelta = timedelta(),
) -> datetime:
    """Run each due time from *start* to *until*; return the last one.

    *advance_world(now)* performs simulated reactions up to *now* (it may record signals) and returns the time
    of its next one. It is called before each round, so that nothing is sent to a lead that has just left, and
    after it. *min_step* is the shortest step: due times closer together share a round.
    """
    now = start
    while True:
        if advance_world is not None:
            advance_world(now)
        for _ in range(MAX_ROUNDS_PER_TIMESTAMP):
            done = run_once(ctx, now)
            if on_round is not None:
                on_round(now, done)
            next_due = find_next_due(ctx)
            if next_due is None or next_due > now:
                break
        next_event = advance_world(now) if advance_world is not None else None
        candidates = [timestamp for timestamp in (find_next_due(ctx), next_event) if timestamp is not None]
        if not candidates:
            return now
        next_at = max(min(candidates), now + min_step)
        if next_at > until:
            return now
        now = max(next_at, now)


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """One event of a simulated calendar."""

    at: datetime
    title: str
    reason: str
    is_email: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedCalendar:
    """What one lead would get, when and why."""

    track: str
    zone: str
    days: list[SimulatedEvent]


def simulate(
    sources: Sources,
    track: str,
    start: datetime,
    days: int,
    fields: Mapping[str, Any] | None = None,
    zone: str = "",
    country: str = "",
) -> SimulatedCalendar:
    """Simulate one lead that enters *track* at *start* (UTC), in a database in memory.

    Raises NotFound for an unknown track, InvalidDefinitions for invalid sources, InvalidState for an unknown zone.
    """
    try:
        calendar_times.to_local(start, zone or "UTC")
    except calendar_times.UnknownZone as error:
        raise InvalidState(f"{error}.") from None
    with closing(Database("sqlite://")) as database:
        schema.upgrade(database)
        clock_row.bind_mode(database, "virtual", start)
        ctx = AppContext(database, DiscardingProvider(), message_kinds=MESSAGE_KINDS)
        publish(ctx, sources, start)
        with database.write() as tx:
            programs = ctx.definitions.current(tx).programs
            if track not in programs:
                raise NotFound(f"There is no track {track}. Use one of: {', '.join(sorted(programs))}.")
            _insert_lead(tx, track, programs[track].first_step, fields or {}, zone, country, start)
        run_simulation(ctx, start, start + timedelta(days=days))
        with database.read() as tx:
            return SimulatedCalendar(track, zone or programs[track].zone_fallback, _list_events(tx))


def _insert_lead(
    tx: Transaction, track: str, step: str, fields: Mapping[str, Any], zone: str, country: str, start: datetime
) -> None:
    address, lead, enrollment = (metadata.tables[name] for name in ("address", "lead", "enrollment"))
    tx.execute(insert(address).values(id=1, email="lead@example.com", normalized="lead@example.com"))
    tx.execute(
        insert(lead).values(
            id=1,
            address_id=1,
            source="simulation",
            fields=dict(fields),
            zone=zone,
            country=country,
            consent_basis="consent",
            engagement=0.0,
            readiness="",
            first_contact_at=start,
            created_at=start,
            updated_at=start,
        )
    )
    consent_queries.append_statements(tx, [(1, grant("consent", "simulation", None, start))])
    tx.execute(
        insert(custody).values(
            lead_id=1, kind="track", ref=track, since=start, next_action=f"enter {track}", due_at=start, version=1
        )
    )
    tx.execute(
        insert(enrollment).values(
            lead_id=1, track=track, entered_at=start, step=step, visit=1, anchor_at=start, reached_at=start
        )
    )


def _list_events(tx: Transaction) -> list[SimulatedEvent]:
    query = select(journal.c.at, journal.c.event, journal.c.reason, journal.c.detail, journal.c.ref)
    days = []
    for at, event, reason, detail, ref in tx.execute(query.order_by(journal.c.id)):
        if event == "touch":
            actions = [action for action in (detail or {}).get("actions", ()) if action[0] == "send"]
            days += [SimulatedEvent(at, f"email {action[3]}", reason, is_email=True) for action in actions]
        elif event in ("left", TAKEN_OVER):
            days.append(SimulatedEvent(at, f"moves to {ref}", reason))
        elif event in ("skipped", "hand_off", "offered", "error", "recycled", "closed"):
            days.append(SimulatedEvent(at, event.replace("_", " "), reason if event != "error" else json.dumps(reason)))
    return days
