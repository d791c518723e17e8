"""Leads on the shipped tracks and those of the recipes, part of the way through them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

from nurture.domain.lead import Custodian
from nurture.domain.signals import SignalKind
from nurture.formats.lead_item import ItemReader
from nurture.journey.engagement import signals
from nurture.journey.intake.import_file import import_rows
from nurture.journey.leads import snapshot
from nurture.journey.leads.received_queries import with_received
from nurture.journey.tracks.forecast import EMAIL, Forecast
from nurture.journey.tracks.forecast_groups import CountryLead
from nurture.runtime.context import AppContext
from nurture.simulation import engine
from tests.stories.recipes.recipe import with_starters
from tests.stories.world import context_in_memory, rows

START: Final = datetime(2026, 2, 2, 8, tzinfo=UTC)
"""A Monday, before any send window opens in Europe."""

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ENTRY_DAYS: Final = 12
NOW: Final = START + (ENTRY_DAYS + 5) * DAY
"""When they are looked at: the last ones came in five days ago."""

_SOURCES: Final = ("Webinar", "Website", "Free trial", "Referral")
_ZONES: Final = (("Europe/Berlin", "DE"), ("America/New_York", "US"), ("Asia/Tokyo", "JP"), ("", ""))
_TITLES: Final = ("Head of Planning", "CFO", "Supply Chain Manager", "Buyer")
_REACTIONS: Final = (SignalKind.CLICKED, SignalKind.VISITED, SignalKind.USED)


def all_rules() -> dict[str, str]:
    """Return the shipped definitions with four starters."""
    return with_starters("trial", "wake-up", "trade-fair", "renewal")


def _draw(number: int, what: str, values: int) -> int:
    return int.from_bytes(sha256(f"{number}:{what}".encode()).digest()[:6], "big") % values


def _item(number: int, entered: datetime) -> dict[str, Any]:
    zone, country = _ZONES[_draw(number, "zone", len(_ZONES))]
    item: dict[str, Any] = {
        "external_id": f"lead{number}",
        "email": f"lead{number}@company{number}.example",
        "company": f"Company {number}",
        "title": _TITLES[_draw(number, "title", len(_TITLES))],
        "employees": str(200 + 10 * _draw(number, "employees", 90)),
        "lead_source": _SOURCES[_draw(number, "source", len(_SOURCES))],
        "zone": zone or "UTC",
        "country": country,
        "consent_basis": "consent",
        "attended": ("yes", "no", "")[_draw(number, "attended", 3)],
    }
    custom = {}
    match _draw(number, "kind", 5):
        case 0:
            ends = entered.date() + timedelta(days=14 + _draw(number, "trial", 10))
            custom = {"plan": "trial", "trial_ends": ends.isoformat()}
        case 1:
            custom = {"booth_rating": ("warm", "cold", "cold")[_draw(number, "rating", 3)]}
    return {**item, "custom": custom}


def make_population(count: int, rules: Mapping[str, str] | None = None) -> AppContext:
    """Return a context in virtual time at NOW: *count* leads came in one by one, and some of them reacted."""
    ctx = context_in_memory(START - HOUR, dict(rules or all_rules()))
    with ctx.database.read() as tx:
        reader = ItemReader("app", ctx.definitions.declared_fields(tx))
    entries = sorted(
        (START + _draw(number, "entry", ENTRY_DAYS * 24 * 4) * HOUR / 4, number) for number in range(count)
    )
    at = START - HOUR
    for entered, number in entries:
        engine.run_simulation(ctx, at, entered)
        import_rows(ctx, [reader.read(1, _item(number, entered))], "API batch", entered)
        at = entered
        if _draw(number, "reacts", 4) == 0 and number:
            lead_id = 1 + _draw(number, "who", max(1, len(rows(ctx, "lead")) - 1))
            kind = _REACTIONS[_draw(number, "reaction", len(_REACTIONS))]
            signals.record(ctx, [signals.build_reported_signal(lead_id, kind, None, at, at)], at)
    engine.run_simulation(ctx, at, NOW)
    return ctx


def open_leads(ctx: AppContext, now: datetime) -> list[CountryLead]:
    """Return every lead that is not closed, with its country."""
    with ctx.database.read() as tx:
        found = snapshot.load_open_rows_after(tx, 0, 1_000_000)
        snapshots = snapshot.load_snapshots(ctx, tx, None, found, now)
        snapshots = with_received(tx, snapshots, ctx.definitions.current(tx).programs, on_any_track=True)
    return [(lead, row.country) for lead, row in zip(snapshots, found, strict=True)]


Sent = list[tuple[datetime, str, str, int, str]]
"""The emails of one lead, each with its time, track, step, visit and file."""


class Mismatches(NamedTuple):
    """The leads whose forecast was wrong, with what they got and what was forecast; and how many emails there were."""

    leads: list[tuple[int, Sent, Sent]]
    emails: int


def expected(one: Forecast) -> Sent:
    return [(event.at, event.track, event.step, event.visit, event.name) for event in one.events if event.what == EMAIL]


def sent_to(ctx: AppContext) -> dict[int, Sent]:
    """Return the emails that each lead got, in order."""
    found: dict[int, Sent] = {}
    touches = [row for row in rows(ctx, "message") if row.kind == "touch" and row.accepted_at is not None]
    for row in sorted(touches, key=lambda one: one.accepted_at):
        found.setdefault(row.lead_id, []).append((row.accepted_at, row.track, row.step, row.visit, row.email))
    return found


def find_mismatches(ctx: AppContext, found: Mapping[int, Forecast], until: datetime) -> Mismatches:
    """Let nobody act until *until*; return the leads whose emails were not as forecast, until they went to sales."""
    before = sent_to(ctx)
    engine.run_simulation(ctx, NOW, until)
    after, wrong, emails = sent_to(ctx), [], 0
    for lead_id, one in found.items():
        ends = next((event.at for event in one.events if event.what == Custodian.QUEUE), until)
        new = after.get(lead_id, [])[len(before.get(lead_id, [])) :]
        actual = [touch for touch in new if touch[0] <= ends]
        emails += len(actual)
        if actual != expected(one):
            wrong.append((lead_id, actual, expected(one)))
    return Mismatches(wrong, emails)
