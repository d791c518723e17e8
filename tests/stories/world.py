"""Build a context for stories: the shipped definitions, a database in memory, mail that is not kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Table, select

from nurture.db import clock_row
from nurture.db.metadata import metadata
from nurture.definitions.folder import read_folder
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.erasures import ERASURES
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.simulation import engine
from nurture.simulation.engine import DiscardingProvider
from tests.sqlite import create_in_memory

TEMPLATES: Final = Path(__file__).parents[2] / "templates"


@cache
def shipped_rules() -> dict[str, str]:
    return dict(read_folder(TEMPLATES))


def context_in_memory(start: datetime, rules: dict[str, str] | None = None, **settings: Any) -> AppContext:
    """Return a context in virtual time from *start* on, with *rules* (the shipped ones) published."""
    database = create_in_memory()
    clock_row.bind_mode(database, "virtual", start)
    ctx = AppContext(database, DiscardingProvider(), **settings, message_kinds=MESSAGE_KINDS, erasures=ERASURES)
    publish(ctx, rules or shipped_rules(), start)
    return ctx


def table(name: str) -> Table:
    return metadata.tables[name]


Happening = tuple[datetime, Callable[[datetime], object]]


def live(ctx: AppContext, now: datetime, until: datetime, *happenings: Happening) -> None:
    """Advance time from *now* to *until*; each event happens at its time, and is processed at once."""
    for at, happen in sorted(happenings, key=lambda one: one[0]):
        engine.run_simulation(ctx, now, at)
        happen(at)
        now = at
    engine.run_simulation(ctx, now, until)


def does(ctx: AppContext, lead_id: int, kind: SignalKind, value: str | None = None) -> Callable[[datetime], int]:
    """Return a signal of a lead as an event."""
    return lambda at: signals.record(ctx, [signals.build_reported_signal(lead_id, kind, value, at, at)], at)


def rows(ctx: AppContext, name: str) -> list[Any]:
    """Return all rows of a table, the oldest first."""
    found = table(name)
    with ctx.database.read() as tx:
        return list(tx.execute(select(found).order_by(*found.primary_key)))


def everything(ctx: AppContext) -> dict[str, list[Any]]:
    return {name: rows(ctx, name) for name in metadata.tables}


def touches(ctx: AppContext, *lead_ids: int) -> list[tuple[datetime, str]]:
    """Return when these leads (or all) were mailed, and with which email."""
    sent = [row for row in rows(ctx, "message") if row.kind == "touch" and row.accepted_at is not None]
    return sorted((row.accepted_at, row.email) for row in sent if not lead_ids or row.lead_id in lead_ids)


def custodian(ctx: AppContext, lead_id: int) -> tuple[str, str]:
    return next((row.kind, row.ref) for row in rows(ctx, "custody") if row.lead_id == lead_id)
