"""Simulation: run leads through the production code on a virtual clock."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, select

from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.db.tables.delivery import message
from nurture.db.tables.inbound import reply
from nurture.db.tables.leads import custody, journal
from nurture.db.tables.signals import signal
from nurture.db.transaction import Transaction
from nurture.definitions import read_all
from nurture.definitions.folder import Sources
from nurture.domain.consent.statements import grant
from nurture.domain.delivery.receipts import Accepted, Receipt
from nurture.domain.lead import Custodian
from nurture.domain.planning import calendar as calendar_times
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState, NotFound
from nurture.journey.broadcasts.release import release
from nurture.journey.leads import consent_queries, due_queries
from nurture.journey.leads.transitions import TAKEN_OVER
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.run_once import RunResult, run_once
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox.messages import BROADCAST
from nurture.publishing.publish import publish, publish_loaded
from nurture.runtime.context import AppContext
from nurture.simulation.behavior import NO_REACTIONS, BehaviorModel, ScriptedReaction, require_emails

MAX_ROUNDS_PER_TIMESTAMP = 50
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SWEPT_CUSTODIANS: Final = tuple(one for one in Custodian if one is not Custodian.CLOSED)


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
    """Return when a sweep next has a lead or a message to process, None if never; the clocks of queues and reps too."""
    with ctx.database.read() as tx:
        return due_queries.find_next_due(tx, _SWEPT_CUSTODIANS)


def run_simulation(
    ctx: AppContext,
    start: datetime,
    until: datetime,
    *,
    advance_world: Callable[[datetime], datetime | None] | None = None,
    on_round: Callable[[datetime, RunResult], None] | None = None,
    run_round: Callable[[AppContext, datetime], RunResult] = run_once,
    min_step: timedelta = timedelta(),
) -> datetime:
    """Run each due time from *start* to *until*; return the last one.

    *advance_world(now)* performs simulated reactions up to *now* (it may record signals) and returns the time
    of its next one. It is called before each round, so that nothing is sent to a lead that has just left, and
    after it. Due times within one *min_step* share a round at its end: so it does not matter whether the time until
    *until* is run at once or in parts. The clock is advanced first: a run that was killed repeats its last round.
    """
    now = start
    while True:
        with ctx.database.write() as tx:
            clock_row.advance_to(tx, now)
        if advance_world is not None:
            advance_world(now)
        for _ in range(MAX_ROUNDS_PER_TIMESTAMP):
            done = run_round(ctx, now)
            if on_round is not None:
                on_round(now, done)
            next_due = find_next_due(ctx)
            if next_due is None or next_due > now:
                break
        next_event = advance_world(now) if advance_world is not None else None
        candidates = [timestamp for timestamp in (find_next_due(ctx), next_event) if timestamp is not None]
        if not candidates:
            return now
        next_at = _end_of_step(min(candidates), now, min_step) if min_step else max(min(candidates), now)
        if next_at > until:
            return now
        now = next_at


def _end_of_step(due_at: datetime, now: datetime, step: timedelta) -> datetime:
    """Return the end of the step in which *due_at* is, after *now*. Steps count from the epoch."""
    steps = -((_EPOCH - due_at) // step)  # rounds up
    return _EPOCH + max(steps, (now - _EPOCH) // step + 1) * step


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
    script: Sequence[ScriptedReaction] = (),
    broadcasts: Collection[str] = (),
    *,
    is_published: bool = False,
) -> SimulatedCalendar:
    """Simulate one lead that enters *track* at *start* (UTC) and follows *script*, in a database in memory.

    The *broadcasts*, by name, are released at *start*. Sources that are published were checked then, and are not
    again: it takes 4 of 5.5 s of CPU for 3 tracks. Raises NotFound for an unknown track, broadcast or email,
    InvalidDefinitions for invalid sources, InvalidState for an unknown zone or a broadcast that is over.
    """
    try:
        calendar_times.to_local(start, zone or "UTC")
    except calendar_times.UnknownZone as error:
        raise InvalidState(f"{error}.") from None
    with closing(Database("sqlite://")) as database:
        schema.upgrade(database)
        clock_row.bind_mode(database, "virtual", start)
        ctx = AppContext(database, DiscardingProvider(), message_kinds=MESSAGE_KINDS)
        if is_published:
            publish_loaded(ctx, read_all.load(sources, complete=False), start, only=(), take_in=None)
        else:
            publish(ctx, sources, start)
        with database.write() as tx:
            programs = ctx.definitions.current(tx).programs
            if track not in programs:
                raise NotFound(f"There is no track {track}. Use one of: {', '.join(sorted(programs))}.")
            _insert_lead(tx, track, programs[track].first_step, fields or {}, zone, country, start)
            require_emails(script, [*programs.values(), *ctx.definitions.newest_broadcasts(tx).values()])
        for name in broadcasts:
            release(ctx, name, "simulation", start)
        behavior = BehaviorModel(ctx, "simulation", start, NO_REACTIONS, None, script)
        run_simulation(ctx, start, start + timedelta(days=days), advance_world=behavior.advance_to if script else None)
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
    query = select(*(journal.c[name] for name in ("at", "event", "reason", "detail", "step", "ref")))
    days = []
    for at, event, reason, detail, step, ref in tx.execute(query.order_by(journal.c.id)):
        if event == "touch":
            actions = [action for action in (detail or {}).get("actions", ()) if action[0] == "send"]
            emails = [(*action, step)[1] for action in actions]
            days += [SimulatedEvent(at, f"email {email}", reason, is_email=True) for email in emails]
        elif event in ("left", "moved", TAKEN_OVER):
            days.append(SimulatedEvent(at, "is classified again" if ref == "return" else f"moves to {ref}", reason))
        elif event in ("skipped", "hand_off", "paused", "offered", "error", "recycled", "closed"):
            days.append(SimulatedEvent(at, event.replace("_", " "), reason if event != "error" else json.dumps(reason)))
    days += _list_broadcasts(tx)
    clicks = select(signal.c.occurred_at, signal.c.step).where(signal.c.kind == SignalKind.CLICKED.value)
    did = [SimulatedEvent(at, f"clicks {step}", "as scripted") for at, step in tx.execute(clicks.order_by(signal.c.id))]
    answers = select(reply.c.sent_at, message.c.step, reply.c.kind).join(message, message.c.id == reply.c.message_id)
    for at, step, kind in tx.execute(answers.order_by(reply.c.id)):
        did.append(SimulatedEvent(at, f"replies to {step}", f"as scripted; read as: {kind.replace('_', ' ')}"))
    return sorted([*did, *days], key=lambda day: day.at)  # what the lead did comes before its effect


def _list_broadcasts(tx: Transaction) -> Iterator[SimulatedEvent]:
    columns = message.c.track, message.c.email, message.c.accepted_at, message.c.state_at, message.c.reason
    for name, email, accepted_at, state_at, reason in tx.execute(select(*columns).where(message.c.kind == BROADCAST)):
        if accepted_at is not None:
            yield SimulatedEvent(accepted_at, f"email {email}", name, is_email=True)
        elif reason is not None:
            yield SimulatedEvent(state_at, f"no email {email}", f"{name}: {reason}")
