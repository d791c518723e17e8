"""Take what is due and may go: clear it, write it, and claim it under a lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from sqlalchemy import Connection

from nurture.mail.compose import ComposedEmail
from nurture.store import brakes, outbox, signals
from nurture.store.outbox import Claim, Outcome, Waiting

from . import clearance, outgoing, quarantine
from .heartbeat import LEASE
from .house import House

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
) -> Held:
    """Write at most *limit* due messages that may go now, and take them; hold or cancel the others.

    They are mail, or with *target* notices for that place.
    """
    token = token_hex(8)
    database = house.database
    with database.write() as connection:
        braked = brakes.on(connection)
        if quarantine.stops(braked, house.provider.name) is not None:
            return Held(token)
        stop = next(
            (one for one in braked if (one.kind, one.name) == ("provider", house.provider.name)), None
        )
        if stop is not None and (stop.until is None or stop.until > now):
            return Held(token, stopped=stop.until or now + PROBE_AFTER)
        waiting = outbox.due(database, connection, now, limit, target)
        if not waiting:
            return Held(token)
        cleared = clearance.clear(house, connection, waiting, braked, now)
        if stop is not None:
            mine = brakes.take_probe(connection, stop.name, now, now + PROBE_AFTER)
            cleared.go = cleared.go[:1] if mine else []
        written = outgoing.write(house, connection, cleared.go, now)
        refs = [email.ref for email in written.emails.values()]
        observe("render", refs)
        faults = [_rejected(id_, why) for id_, why in written.faults.items()]
        settle_and_wake(house, connection, cleared.stay + faults, waiting, None, now)
        claims = [Claim(id_, cleared.domains.get(id_)) for id_ in written.emails]
        outbox.claim(database, connection, claims, token, now + LEASE, now)
        outgoing.keep(house, connection, written, now)
        observe("claim", refs)
    observe("claimed", refs)
    states = Counter(outcome.state for outcome in cleared.stay + faults)
    going = [one for one in cleared.go if one.id in written.emails]
    braking = stop is not None
    return Held(token, len(waiting), going, written.emails, cleared.domains, states, braked=braking, at=now)


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
    signals.wake(house.database, connection, done, now)
    outbox.settle(house.database, connection, outcomes, token, now)
