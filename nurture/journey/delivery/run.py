"""Drain the outbox, batch after batch: claim what may go, and send it. Never two deliveries knowingly."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from nurture.clock import Clock
from nurture.db.machine import OlderThanSeen
from nurture.errors import NotFound
from nurture.journey.delivery.claim import Observe, claim_batch
from nurture.journey.delivery.send import UNKNOWN_IN_A_ROW, send_claimed
from nurture.outbox import messages as outbox_messages
from nurture.outbox.heartbeat import LEASE
from nurture.runtime import quarantine
from nurture.runtime.context import House
from nurture.runtime.gc_pause import undisturbed

BATCH: Final = 1_000
"""How many messages a worker holds at most: what it holds waits for it."""

WAITS_AT_MOST: Final = timedelta(seconds=10)
"""A worker waits so long for a rate limit; longer ones it leaves to a later run."""

UNKNOWN_WITHIN: Final = timedelta(minutes=15)
"""How far back earlier runs count for that."""


@dataclass
class Delivered:
    """What one run did: how many messages it looked at, and what became of them.

    *quarantine* says why nothing may be sent, "" if it may.
    """

    messages: int = 0
    states: Counter[str] = field(default_factory=Counter)
    quarantine: str = ""

    def __add__(self, other: Delivered) -> Delivered:
        """Add two runs up."""
        why = self.quarantine or other.quarantine
        return Delivered(self.messages + other.messages, self.states + other.states, why)


def deliver(
    house: House,
    clock: Clock,
    after_batch: Callable[[], None] = lambda: None,
    observe: Observe = lambda _point, _refs: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Delivered:
    """Send everything that is due and may go, batch after batch; *after_batch* is told of each.

    Mail goes first, then notices: a place that cannot be reached holds no mail, and no other place.
    *stopping* is asked between batches whether to end.
    """
    why = quarantine.look(house, clock.now())
    if why is not None and not quarantine.is_local(house.provider.name):
        return Delivered(quarantine=why)
    try:
        return _deliver_all(house, clock, after_batch, observe, stopping)
    except OlderThanSeen as error:
        quarantine.put(house, f"the database is in quarantine: {error}", clock.now())
        return Delivered(quarantine=str(error))


def _deliver_all(
    house: House,
    clock: Clock,
    after_batch: Callable[[], None],
    observe: Observe,
    stopping: Callable[[], bool],
) -> Delivered:
    with undisturbed():
        total = _deliver(house, clock, after_batch, observe, stopping)
        with house.database.read() as connection:
            targets = outbox_messages.targets_due(connection, clock.now())
        for target in targets:
            if not stopping():
                there = replace(house, provider=house.teller(target))
                total += _deliver(there, clock, after_batch, observe, stopping, target)
        return total


def _deliver(
    house: House,
    clock: Clock,
    after_batch: Callable[[], None],
    observe: Observe,
    stopping: Callable[[], bool],
    target: str | None = None,
) -> Delivered:
    limit = min(house.batch, BATCH)
    looked = clock.now()
    total = Delivered(0, _take_over(house, looked))
    unknown = _unknown_lately(house, looked)
    while True:
        if clock.now() - looked > LEASE / 2:
            looked = clock.now()
            total += Delivered(0, _take_over(house, looked))
        held = claim_batch(house, clock.now(), limit, observe, target, clock)
        sent = send_claimed(house, held, clock, observe, unknown)
        unknown = sent.unknown
        total += Delivered(held.messages, held.states + sent.states)
        after_batch()
        gc.collect(1)
        if stopping():
            return total
        stopped = sent.stopped or held.stopped
        if stopped is not None:
            if not clock.wait(stopped, WAITS_AT_MOST):
                return total
        elif held.messages < limit and not held.braked:
            return total


def _unknown_lately(house: House, now: datetime) -> int:
    """Return with how many unknown outcomes this run begins: little mail hides no broken line."""
    with house.database.read() as connection:
        doubts = outbox_messages.recent_doubts(connection, house.provider.name, now - UNKNOWN_WITHIN)
    return min(doubts, UNKNOWN_IN_A_ROW - 1)


def _take_over(house: House, now: datetime) -> Counter[str]:
    """Free what dead workers held, and send again what the rules say may go twice."""
    with house.database.write() as connection:
        back, doubt = outbox_messages.release_expired(house.database, connection, now)
        again = 0
        resend_after = _resend_after(house, connection)
        if resend_after is not None:
            again = outbox_messages.resend_doubted(house.database, connection, now - resend_after, now)
    return Counter({"taken back": back, "in_doubt": doubt, "sent again": again})


def _resend_after(house: House, connection: Connection) -> timedelta | None:
    try:
        return house.rulebooks.current(connection).sending.resend_after
    except NotFound:  # nothing is published yet, so nothing was ever sent
        return None
