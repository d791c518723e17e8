"""A live database on its own simulated machine, for tests of copies and restores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from nurture.clock import VirtualClock
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.db.machine_state import Machine
from nurture.domain.delivery.receipts import Receipt
from nurture.journey import run_once
from nurture.journey.erasures import ERASURES
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing.publish import publish
from nurture.runtime import quarantine
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, sample_rules
from tests.journey.observe import RecordingProvider

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PEOPLE = [f"p{number}@people.example" for number in range(20)]


@dataclass
class Mail(RecordingProvider):
    """A provider that records emails by lead and step: enrollments have new ids after a restore."""

    received: list[tuple[str, str]] = field(default_factory=list)

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Accept each email of *batch*."""
        receipts = super().send(batch, now)
        self.received += [(email.to.email, email.ref.split(":", 2)[2]) for email in batch if _is_touch(email)]
        return receipts


def _is_touch(email: ComposedEmail) -> bool:
    return email.ref.startswith("touch:")


@dataclass
class Host:
    """A machine with the private folder *folder*; its databases are live and send by *provider*."""

    folder: Path
    provider: Any = field(default_factory=Mail)
    now: datetime = START
    opened: list[AppContext] = field(default_factory=list)

    def close(self) -> None:
        """Close what was opened."""
        for ctx in self.opened:
            ctx.database.close()

    def open(self, url: str) -> AppContext:
        """Open a database as the application does."""
        database = Database(url)
        clock_row.bind_mode(database, "live", self.now)
        with database.read() as tx:
            known = clock_row.read_installation(tx)
        assert known is not None
        machine = Machine(self.folder, known.installation_id, known.salt, database.location, lambda: self.now)
        if known.generation == 0:
            machine.suppression_journal.open_file()
        database.machine = machine
        ctx = AppContext(database, self.provider, message_kinds=MESSAGE_KINDS, erasures=ERASURES)
        self.opened.append(ctx)
        quarantine.check(ctx, self.now)
        return ctx

    def run(self, ctx: AppContext, now: datetime) -> run_once.RunResult:
        """Run every stage once at *now*."""
        self.now = now
        return run_once.run_once(ctx, now, VirtualClock(now))

    def begin(self, url: str) -> AppContext:
        """Return a new database in which the first email to twenty leads is due in an hour."""
        ctx = self.open(url)
        publish(ctx, sample_rules(), START)
        for email in PEOPLE:
            add_lead(ctx, title="Head", email=email)
        self.run(ctx, START)
        return ctx
