"""A house for stories: the shipped rules, a database in memory, mail that nobody keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, select

from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.definitions import read_folder
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.publishing.publish import publish
from nurture.runtime.context import House
from nurture.simulation import engine
from nurture.simulation.engine import NoMail

TEMPLATES: Final = Path(__file__).parents[2] / "templates"


@cache
def shipped_rules() -> dict[str, str]:
    return dict(read_folder(TEMPLATES))


def house_in_memory(start: datetime, rules: dict[str, str] | None = None, **settings: Any) -> House:
    """Return a house in virtual time from *start* on, in which *rules* (the shipped ones) are published."""
    database = Database("sqlite://")
    schema.upgrade(database)
    clock_row.bind(database, "virtual", start)
    house = House(database, NoMail(), **settings)
    publish(house, rules or shipped_rules(), start)
    return house


def table(name: str) -> Table:
    return core.metadata.tables[name]


Happening = tuple[datetime, Callable[[datetime], object]]


def live(house: House, now: datetime, until: datetime, *happenings: Happening) -> None:
    """Let time pass from *now* to *until*; each happening comes at its time, and is heard at once."""
    for at, happen in sorted(happenings, key=lambda one: one[0]):
        engine.run(house, now, at)
        happen(at)
        now = at
    engine.run(house, now, until)


def does(house: House, lead_id: int, kind: SignalKind, value: str | None = None) -> Callable[[datetime], int]:
    """Return what a lead does, as a happening."""
    return lambda at: signals.record(house, [signals.told(lead_id, kind, value, at, at)], at)


def rows(house: House, name: str) -> list[Any]:
    """Return all rows of a table, the oldest first."""
    found = table(name)
    with house.database.read() as connection:
        return list(connection.execute(select(found).order_by(*found.primary_key)))


def everything(house: House) -> dict[str, list[Any]]:
    return {name: rows(house, name) for name in core.metadata.tables}


def touches(house: House, *lead_ids: int) -> list[tuple[datetime, str]]:
    """Return when these leads (or all) were written to, and with which email."""
    sent = [row for row in rows(house, "message") if row.kind == "touch" and row.accepted_at is not None]
    return sorted((row.accepted_at, row.email) for row in sent if not lead_ids or row.lead_id in lead_ids)


def custodian(house: House, lead_id: int) -> tuple[str, str]:
    return next((row.kind, row.ref) for row in rows(house, "custody") if row.lead_id == lead_id)
