"""Publish a recipe beside the shipped definitions, bring its leads in, and ask what they got."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.definitions.folder import POLICY
from nurture.formats.lead_item import ItemReader
from nurture.journey.erasures import ERASURES
from nurture.journey.intake.import_file import import_rows
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.publishing.publish import publish
from nurture.publishing.starters import add_starter, read_starter
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.stories.world import TEMPLATES, rows, shipped_rules


def with_starters(*names: str) -> dict[str, str]:
    """Return the shipped definitions with these starters, as `nurture init --starter` writes them."""
    rules = dict(shipped_rules())
    for name in names:
        rules |= add_starter(rules, read_starter(TEMPLATES, name), shipped_rules()).changed
    return rules


def publish_recipe(db: Database, name: str, start: datetime, policy: Mapping[str, str] | None = None) -> AppContext:
    """Return a context in virtual time from *start* on, with the shipped definitions and a starter.

    *policy* puts lines before the keys of the shipped sales policy: key to lines.
    """
    rules = with_starters(name)
    for key, lines in (policy or {}).items():
        rules[POLICY] = rules[POLICY].replace(f"\n{key}:", f"\n{lines}\n{key}:")
    clock_row.bind_mode(db, "virtual", start)
    ctx = AppContext(db, DiscardingProvider(), message_kinds=MESSAGE_KINDS, erasures=ERASURES)
    publish(ctx, rules, start)
    return ctx


def receive(ctx: AppContext, name: str, at: datetime, **custom: object) -> int:
    """Bring a lead in, or change its fields, as a source does by the API; return its id."""
    with ctx.database.read() as tx:
        reader = ItemReader("app", ctx.definitions.declared_fields(tx))
    item: dict[str, Any] = {
        "external_id": name,
        "email": f"{name}@{name}.example",
        "company": f"{name.title()} Foods",
        "title": "Head of planning",
        "employees": "300",
        "zone": "UTC",
        "consent_basis": "consent",
        "custom": {key: str(value) for key, value in custom.items()},
    }
    import_rows(ctx, [reader.read(1, item)], "API batch", at)
    return next(int(row.lead_id) for row in rows(ctx, "identity") if row.external_id == name)


def receives(ctx: AppContext, name: str, **custom: object) -> Callable[[datetime], int]:
    """Return a change of a lead's fields as an event."""
    return lambda at: receive(ctx, name, at, **custom)


def mailed(ctx: AppContext, track: str) -> dict[int, list[tuple[date, str]]]:
    """Return on which days each lead got which email of a track."""
    found: dict[int, list[tuple[date, str]]] = {}
    touches = [row for row in rows(ctx, "message") if row.kind == "touch" and row.accepted_at is not None]
    for row in sorted(touches, key=lambda one: one.accepted_at):
        if row.track == track:
            found.setdefault(row.lead_id, []).append((row.accepted_at.date(), row.email))
    return found
