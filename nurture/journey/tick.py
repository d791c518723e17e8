"""One round of everything: hear, classify, advance, hand off, deliver. Runs without Prefect."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from nurture.clock import Clock, VirtualClock
from nurture.store import clocks

from . import events, repeats, replies
from .advance import Advanced, advance
from .crmread import read_back
from .deliver import Delivered, deliver
from .enrol import classify
from .handback import hand_back
from .handoff import hand_off
from .house import House
from .listen import listen


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
        clocks.note(connection, now)
    clock = clock or VirtualClock(now)
    repeats.sweep(house, now)
    return Ticked(
        heard=events.sweep(house, now).new + replies.poll(house, now).new + listen(house, now),
        classified=classify(house, now),
        advanced=advance(house, now),
        handed_off=hand_off(house, now),
        delivered=deliver(house, clock),
        crm=hand_back(house, clock) + read_back(house, clock.now()).did,
    )
