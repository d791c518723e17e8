"""A live database on a machine of its own, for tests of copies and restores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nurture.clock import VirtualClock
from nurture.db import clock_row, instance
from nurture.db.engine import Database
from nurture.db.machine import Machine
from nurture.journey import run_once
from nurture.mail.providers.base import Receipt
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing.publish import publish
from nurture.runtime import quarantine
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, tiny_rules
from tests.journey.observe import Post

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PEOPLE = [f"p{number}@people.example" for number in range(20)]


@dataclass
class Mail(Post):
    """A provider that remembers who got which email; enrollments have new ids after a restore."""

    received: list[tuple[str, str]] = field(default_factory=list)

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Take each email of *batch*."""
        receipts = super().send(batch, now)
        self.received += [(email.to.email, email.ref.split(":", 2)[2]) for email in batch if _is_touch(email)]
        return receipts


def _is_touch(email: ComposedEmail) -> bool:
    return email.ref.startswith("touch:")


@dataclass
class Host:
    """A machine whose private folder is *folder*. What it opens is live, and sends by *post*."""

    folder: Path
    post: Any = field(default_factory=Mail)
    now: datetime = START
    opened: list[House] = field(default_factory=list)

    def close(self) -> None:
        """Give back what was opened."""
        for house in self.opened:
            house.database.close()

    def open(self, url: str) -> House:
        """Open a database as the application does."""
        database = Database(url)
        clock_row.bind(database, "live", self.now)
        with database.read() as connection:
            known = instance.read(connection)
        assert known is not None
        machine = Machine(self.folder, known.origin, known.salt, database.place, lambda: self.now)
        if known.generation == 0:
            machine.optouts.open()
        database.machine = machine
        house = House(database, self.post)
        self.opened.append(house)
        quarantine.look(house, self.now)
        return house

    def tick(self, house: House, now: datetime) -> run_once.Ticked:
        """Run every stage once at *now*."""
        self.now = now
        return run_once.tick(house, now, VirtualClock(now))

    def begin(self, url: str) -> House:
        """Return a new database in which the first email of twenty leads is on its way in an hour."""
        house = self.open(url)
        publish(house, tiny_rules(), START)
        for email in PEOPLE:
            add_lead(house, title="Head", email=email)
        self.tick(house, START)
        return house
