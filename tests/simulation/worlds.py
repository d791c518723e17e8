"""Practice worlds for tests: sample templates, made-up leads, and what is compared between worlds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from nurture.app import App, open_app
from nurture.db.metadata import metadata
from nurture.simulation import world
from nurture.simulation.behavior import LeadRates, ReactionRates
from nurture.simulation.world_folder import WorldDescription, new_world
from tests.journey.builders import sample_rules

MONDAY: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY: Final = timedelta(days=1)
LIVELY: Final = LeadRates(*(ReactionRates(click=0.6, reply=0.3, unsubscribe=0.05),) * 2)
"""So many reactions that a few leads show everything within days."""

DESCRIPTION: Final = WorldDescription("1", MONDAY.isoformat(), "", 8026)


def write_templates(folder: Path) -> Path:
    for path, content in sample_rules().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, "utf-8")
    return folder


def make_world(folder: Path, count: int = 40, seed: str = "1", templates: Path | None = None) -> WorldDescription:
    """Make a world of *count* leads; without *templates* from small ones beside *folder*."""
    chosen = templates or write_templates(folder.parent / "rules")
    description = replace(DESCRIPTION, seed=seed, templates=str(chosen))
    settings = world.world_settings(folder, description)
    with new_world(folder, description, replace=False), open_app(settings, at=MONDAY, upgrade=True) as app:
        world.fill_world(app.ctx, folder, description, None, count=count)
    return description


@contextmanager
def entered(folder: Path, description: WorldDescription) -> Iterator[App]:
    with open_app(world.world_settings(folder, description)) as app:
        yield app


def rows(app: App, name: str) -> list[Any]:
    table = metadata.tables[name]
    with app.database.read() as tx:
        return list(tx.execute(select(table).order_by(*table.primary_key)))


def what_happened(app: App) -> dict[str, list[Any]]:
    """Return what happened to the leads of a world, without what is random: tokens and the names of workers."""
    sent = [(row.send_key, row.state, row.accepted_at, row.rep) for row in rows(app, "message")]
    offers = [(row.lead_id, row.rep, row.state, row.offered_at, row.answered_at) for row in rows(app, "offer")]
    signals = [(row.natural_key, row.occurred_at) for row in rows(app, "signal")]
    return {
        "journal": [tuple(row)[1:] for row in rows(app, "journal")],
        "messages": sorted(sent),
        "offers": offers,
        "signals": sorted(signals),
        "suppressions": [(row.address_id, row.recorded_at) for row in rows(app, "suppression")],
        "custody": [tuple(row) for row in rows(app, "custody")],
    }
