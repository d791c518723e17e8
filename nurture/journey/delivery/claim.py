"""Take what is due and may go: clear it, write it, and claim it under a lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from sqlalchemy import Connection

from nurture.clock import Clock
from nurture.journey.delivery import compose_batch, send_checks
from nurture.journey.leads import changeset, signal_queries
from nurture.mail.rendering.render import ComposedEmail
from nurture.outbox import circuit_breakers
from nurture.outbox import messages as outbox_messages
from nurture.outbox.heartbeat import LEASE, heartbeat
from nurture.outbox.messages import Claim, Outcome, Waiting
from nurture.runtime import quarantine
from nurture.runtime.context import House

PROBE_AFTER: Final = timedelta(minutes=1)
"""How long a provider that cannot send is left alone; then one message tries it."""

_SETTLED: Final = frozenset({"accepted", "rejected", "cancelled"})

Observe = Callable[[str, Sequence[str]], None]
"""Told of each point that a worker passes, with the send keys concerned. Crash tests never return from it."""


@dataclass(frozen=True)
class Held:
    """What one worker holds until its lease ends, written and ready; *states* is what became of the rest.

    *stopped* is until when the provider takes nothing; *braked* says that this batch is a probe, *at* when it
    was claimed.
    """

    token: str
    messages: int = 0
    waiting: Sequence[Waiting] = ()
    emails: dict[int, ComposedEmail] = field(default_factory=dict)
    domains: Mapping[int, str] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    stopped: datetime | None = None
    braked: bool = False
    at: datetime | None = None


def claim_batch(
    house: House,
    now: datetime,
    limit: int,
    observe: Observe = lambda _point, _refs: None,
    target: str | None = None,
    clock: Clock | None = None,
) -> Held:
    """Take at most *limit* due messages that may go now, and compose them; hold or cancel the others.

    They are mail, or with *target* notices for that place. They are composed after the claim is committed, so
    that nobody waits for a template; on a *clock* that runs the lease is kept up meanwhile.
    """
    token = token_hex(8)
    database = house.database
    with database.write() as connection:
        braked = circuit_breakers.on(connection)
        if quarantine.stops(braked, house.provider.name) is not None:
            return Held(token)
        stop = next(
            (one for one in braked if (one.kind, one.name) == ("provider", house.provider.name)), None
        )
        if stop is not None and (stop.until is None or stop.until > now):
            return Held(token, stopped=stop.until or now + PROBE_AFTER)
        waiting = outbox_messages.due(database, connection, now, limit, target)
        if not waiting:
            return Held(token)
        cleared = send_checks.clear(house, connection, waiting, braked, now)
        if stop is not None:
            mine = circuit_breakers.take_probe(connection, stop.name, now, now + PROBE_AFTER)
            cleared.go = cleared.go[:1] if mine else []
        settle_and_wake(house, connection, cleared.stay, waiting, None, now)
        claims = [Claim(one.id, cleared.domains.get(one.id)) for one in cleared.go]
        outbox_messages.claim(database, connection, claims, token, now + LEASE, now)
        batch = compose_batch.Batch.of(house, connection, cleared.go, now)
        refs = [one.send_key for one in cleared.go]
        observe("claim", refs)
    observe("claimed", refs)
    states = Counter(outcome.state for outcome in cleared.stay)
    going, emails = _composed(house, batch, token, states, now, observe, clock) if refs else ([], {})
    braking = stop is not None
    return Held(token, len(waiting), going, emails, cleared.domains, states, braked=braking, at=now)


def _composed(
    house: House,
    batch: compose_batch.Batch,
    token: str,
    states: Counter[str],
    now: datetime,
    observe: Observe,
    clock: Clock | None,
) -> tuple[list[Waiting], dict[int, ComposedEmail]]:
    """Compose what was claimed, and keep what its links do, of those that are still ours then."""
    with heartbeat(house.database, token, clock) if clock else nullcontext():
        with house.database.read() as connection:
            written = batch.compose(connection)
        observe("render", [one.send_key for one in batch.messages])
        with house.database.write() as connection:
            changeset.hold(house.database, connection, [one.lead_id for one in batch.messages])
            written.leave(outbox_messages.still_held(house.database, connection, token))
            faults = [_rejected(id_, why) for id_, why in written.faults.items()]
            settle_and_wake(house, connection, faults, batch.messages, token, now)
            compose_batch.keep(house, connection, written, now)
    states.update(outcome.state for outcome in faults)
    return [one for one in batch.messages if one.id in written.emails], written.emails


def _rejected(id_: int, why: str) -> Outcome:
    return Outcome(id_, "rejected", None, None, None, why, None)


def settle_and_wake(
    house: House,
    connection: Connection,
    outcomes: Sequence[Outcome],
    held: Sequence[Waiting],
    token: str | None,
    now: datetime,
) -> None:
    """Write what became of messages, and wake their leads; these first, as whoever cancels messages does."""
    if not outcomes:
        return
    leads = {one.id: one.lead_id for one in held}
    done = [leads[outcome.id] for outcome in outcomes if outcome.state in _SETTLED]
    signal_queries.wake(house.database, connection, done, now)
    outbox_messages.settle(house.database, connection, outcomes, token, now)
