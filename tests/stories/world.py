"""A house for stories: the shipped rules, a database in memory, mail that nobody keeps."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table

from nurture.journey.house import House
from nurture.journey.publish import publish
from nurture.journey.simulate import NoMail
from nurture.rules import read_folder
from nurture.store import clocks, schema, tables
from nurture.store.database import Database

TEMPLATES: Final = Path(__file__).parents[2] / "templates"


@cache
def shipped_rules() -> dict[str, str]:
    return dict(read_folder(TEMPLATES))


def house_in_memory(start: datetime, rules: dict[str, str] | None = None, **settings: Any) -> House:
    """Return a house in virtual time from *start* on, in which *rules* (the shipped ones) are published."""
    database = Database("sqlite://")
    schema.upgrade(database)
    clocks.bind(database, "virtual", start)
    house = House(database, NoMail(), **settings)
    publish(house, rules or shipped_rules(), start)
    return house


def table(name: str) -> Table:
    return tables.metadata.tables[name]
