"""A live installation that has just sent its email."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from nurture.clock import RealClock
from nurture.db import clock_row, schema
from nurture.db.engine import Database
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.run_once import run_once
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.journey.builders import sample_rules
from tests.journey.observe import add_leads, rows, write

_ALWAYS_OPEN = {
    "days: [mon, tue, wed, thu, fri]": "days: [mon, tue, wed, thu, fri, sat, sun]",
    "between: 09:00-17:00": "between: 00:00-00:00",
}


def context_with_sent_messages(database: Database, folder: Path, count: int) -> AppContext:
    """Migrate *database* and send *count* first emails in the last hours of real time."""
    schema.upgrade(database)
    begin = RealClock().now() - timedelta(hours=3)
    clock_row.bind_mode(database, "live", begin)
    ctx = AppContext(
        database,
        DiscardingProvider(),
        installation_id=clock_row.read_installation_id(database),
        message_kinds=MESSAGE_KINDS,
    )
    sources = sample_rules()
    for usual, always in _ALWAYS_OPEN.items():
        assert usual in sources["defaults.yaml"]
        sources["defaults.yaml"] = sources["defaults.yaml"].replace(usual, always)
    publish(ctx, sources, begin)
    add_leads(ctx, count, begin, title="Head of planning")
    write(ctx, "UPDATE address SET normalized = 'one@c' || id || '.example', email = 'one@c' || id || '.example'")
    for hours in (0, 1.1, 1.2):
        run_once(ctx, begin + timedelta(hours=hours))
    (sent,) = rows(ctx, "SELECT count(*) FROM message WHERE state = 'accepted'")
    if sent != (count,):
        raise RuntimeError(f"of {count} mails {sent[0]} were sent")
    return ctx
