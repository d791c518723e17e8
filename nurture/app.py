"""The composition root: settings, clock, database and provider become a house."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from nurture.clock import Clock, RealClock, VirtualClock
from nurture.errors import Refused
from nurture.journey.house import House
from nurture.mail.mailbox import Mailbox
from nurture.settings import Settings
from nurture.store import clocks, schema
from nurture.store.database import Database


@dataclass
class App:
    """Everything that a command, a flow or a page needs."""

    settings: Settings
    clock: Clock
    house: House

    @property
    def database(self) -> Database:
        """Return the database."""
        return self.house.database


@contextmanager
def open_app(
    settings: Settings | None = None, *, at: datetime | None = None, live: bool = False, upgrade: bool = False
) -> Iterator[App]:
    """Open the app on the database that the settings name, and close it again.

    The database decides the clock: a live one has the real one, a virtual one stands where it was left
    (*at* moves it forward; *live* refuses it). *upgrade* creates or upgrades the tables first.
    """
    settings = settings or Settings.read()
    database = Database(settings.database_url.get_secret_value())
    try:
        if upgrade:
            schema.upgrade(database)
        else:
            schema.require_current(database)
        clock = _clock(database, at, live=live)
        durable = isinstance(clock, RealClock)  # a demo's mail may be lost with the power
        provider = Mailbox(settings.mailbox, html_copies=True, durable=durable)
        try:
            yield App(
                settings,
                clock,
                House(database, provider, base_url=settings.base_url or "", batch=settings.batch_size),
            )
        finally:
            provider.close()
    finally:
        database.close()


def _clock(database: Database, at: datetime | None, *, live: bool) -> Clock:
    mode = clocks.open_mode(database)
    if mode == "virtual":
        if live:
            raise Refused(
                f"The database {database.name} lives in virtual time: a demo or a simulation made it. "
                "Name another database in NURTURE_DATABASE_URL for real work."
            )
        clock = VirtualClock(clocks.virtual_now(database))
        if at is not None:
            clock.advance_to(at)
        return clock
    if at is not None:
        clocks.bind(database, "virtual", at)
        return VirtualClock(at)
    real = RealClock()
    clocks.bind(database, "live", real.now())
    return real
