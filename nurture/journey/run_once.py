"""One round of everything: hear, classify, advance, hand off, deliver. Runs without Prefect."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from nurture.clock import Clock, VirtualClock
from nurture.db import clock_row
from nurture.journey.crm_sync.pull import read_back
from nurture.journey.crm_sync.push import hand_back
from nurture.journey.delivery.run import Delivered, deliver
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.signals import listen
from nurture.journey.handoff.sweep import hand_off
from nurture.journey.intake.api import idempotency
from nurture.journey.tracks.advance import Advanced, advance
from nurture.journey.tracks.enroll import classify
from nurture.runtime.context import House


@dataclass
class Ticked:
    """What one round did."""

    heard: int = 0
    classified: Counter[str] = field(default_factory=Counter)
    advanced: Advanced = field(default_factory=Advanced)
    handed_off: Counter[str] = field(default_factory=Counter)
    delivered: Delivered = field(default_factory=Delivered)
    crm: Counter[str] = field(default_factory=Counter)


def tick(house: House, now: datetime, clock: Clock | None = None) -> Ticked:
    """Run every stage once at *now* (UTC). Running it twice changes nothing more.

    Mail takes time to send: with a *clock* that runs, it is looked at for each batch.
    """
    with house.database.write() as connection:
        clock_row.note(connection, now)
    clock = clock or VirtualClock(now)
    idempotency.sweep(house, now)
    return Ticked(
        heard=provider_events.sweep(house, now).new + replies.poll(house, now).new + listen(house, now),
        classified=classify(house, now),
        advanced=advance(house, now),
        handed_off=hand_off(house, now),
        delivered=deliver(house, clock),
        crm=hand_back(house, clock) + read_back(house, clock.now()).did,
    )
