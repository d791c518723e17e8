"""A live house whose mail has just gone out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from nurture.clock import RealClock
from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.journey.run_once import tick
from nurture.publishing.publish import publish
from nurture.runtime.context import House
from nurture.simulation.engine import NoMail
from tests.journey.builders import tiny_rules
from tests.journey.observe import crowd, rows, write

_ALWAYS = {
    "days: [mon, tue, wed, thu, fri]": "days: [mon, tue, wed, thu, fri, sat, sun]",
    "between: 09:00-17:00": "between: 00:00-00:00",
}


def sent_house(database: Database, folder: Path, count: int) -> House:
    """Migrate *database* and send *count* first emails in it, in the last hours of real time."""
    schema.upgrade(database)
    begin = RealClock().now() - timedelta(hours=3)
    clock_row.bind(database, "live", begin)
    house = House(database, NoMail(), origin=clock_row.origin(database))
    sources = tiny_rules()
    for usual, always in _ALWAYS.items():
        assert usual in sources["defaults.yaml"]
        sources["defaults.yaml"] = sources["defaults.yaml"].replace(usual, always)
    publish(house, sources, begin)
    crowd(house, count, begin, title="Head of planning")
    write(
        house, "UPDATE address SET normal = 'one@c' || id || '.example', email = 'one@c' || id || '.example'"
    )
    for hours in (0, 1.1, 1.2):
        tick(house, begin + timedelta(hours=hours))
    (sent,) = rows(house, "SELECT count(*) FROM message WHERE state = 'accepted'")
    if sent != (count,):
        raise RuntimeError(f"of {count} mails {sent[0]} were sent")
    return house
