"""How long the data of each page of the console takes, on a million leads with five million messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from nurture.console.access.sessions import User
from nurture.console.access.users import Role
from nurture.console.importing import uploads
from nurture.console.page import PageRequest
from nurture.console.page_list import load_pages
from nurture.db import last_rounds
from nurture.journey.tracks import emails_to_self
from nurture.operations.problems import DEFAULT_PATIENCE, find_late_stages
from nurture.publishing import preview
from nurture.reporting.console.deliverability import load_deliverability
from nurture.reporting.console.handoffs import load_pipeline, load_queues, load_team
from nurture.reporting.console.lead_list import list_leads
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.lead_page import load_lead
from nurture.reporting.console.today import load_today
from nurture.reporting.console.track_map import load_track_map, load_track_sheet
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, best_of
from tests.bench.large_database import build_large_database

LEADS = 1_000_000
_REPEATS = 5
_PLANNED = frozenset({"/calendar", "/calendar/{day}", "/tracks/{track}/simulation"})
"""Pages for which the planner forecasts a bounded number of leads: their time is a figure of its own."""

_IN_BACKGROUND = frozenset({"/reports", "/reports/{report}"})
"""Pages whose report is computed in the background, and has its own figure."""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure every page on SQLite, each as the best of some times; the slowest counts."""
    made = build_large_database(folder / "console.db", LEADS)
    made.spool, made.templates = folder / "spool", seed_data.TEMPLATES
    found = {**measure_pages(made, seed_data.START), **_measure(load_every_page(made, seed_data.START, _values(made)))}
    made.database.close()
    planned = {name: found.pop(name) for name in _PLANNED}
    return [
        Figure("console_page_ms", max(found.values()) * 1_000, "ms", maximum=300, note=_note(found)),
        Figure("console_forecast_page_ms", max(planned.values()) * 1_000, "ms", note=_note(planned)),
    ]


def measure_pages(ctx: AppContext, now: datetime) -> Mapping[str, float]:
    """Return the seconds that the data of pages takes, some of them by several filters and periods."""
    return _measure(_pages(ctx, now))


def load_every_page(ctx: AppContext, now: datetime, values: Mapping[str, str]) -> dict[str, Callable[[], object]]:
    """Return what loads each page of the console by its address, but for those that are computed in the background.

    *values* are those of addresses; a page of which one is missing is left out.
    """
    upload_id = uploads.make_id("leads.csv")
    uploads.begin(ctx.spool, upload_id, "leads.csv", "admin", now).file.write_text("Email\n", "utf-8")
    uploads.finish(ctx.spool, upload_id, "admin", now)
    known = {**values, "upload_id": upload_id, "day": (now + timedelta(days=1)).date().isoformat()}
    request = PageRequest(ctx, User(1, "admin", Role.ADMIN, "mara", ""), known, now)
    return {
        page.path: partial(page.load, request)
        for page in load_pages()
        if page.path not in _IN_BACKGROUND and known.keys() >= set(re.findall(r"{(\w+)", page.path))
    }


def _values(ctx: AppContext) -> dict[str, str]:
    """Return the values of addresses in the large database, in which no company is; this adds one."""
    with ctx.database.write() as tx:
        columns = "source, external_id, name, domains, owner, kind, created_at, updated_at"
        values = "'crm', 'a1', 'Quay', '[]', 'mara', 'prospect', created_at, created_at FROM lead WHERE id = 1"
        tx.exec_driver_sql(f"INSERT INTO account ({columns}) SELECT {values}")
        account = tx.exec_driver_sql("SELECT max(id) FROM account").scalar_one()
    track = {"track": "webinar-attended", "email": "01-recording", "kind": "track", "name": "webinar-attended"}
    return {**track, "lead_id": "17", "account_id": str(account), "path": "tracks/webinar-attended/track.yaml"}


def _measure(loads: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    return {name: best_of(load, _REPEATS).wall for name, load in loads.items()}


def _note(found: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {seconds * 1_000:.0f}" for name, seconds in sorted(found.items(), key=lambda one: -one[1])
    )


def _pages(ctx: AppContext, now: datetime) -> dict[str, Callable[[], object]]:
    def read(load: Callable[..., object], *arguments: object) -> Callable[[], object]:
        def run() -> object:
            with ctx.database.read() as tx:
                return load(ctx, tx, *arguments)

        return run

    def today() -> object:
        with ctx.database.read() as tx:
            return load_today(ctx, tx, now), list(find_late_stages(last_rounds.load_all(tx), now, DEFAULT_PATIENCE))

    week = now - timedelta(days=7)
    lists = {
        "leads": LeadFilter(),
        "on a track": LeadFilter(track="keep-warm"),
        "on a step": LeadFilter(track="keep-warm", step="01-one-idea"),
        "closed": LeadFilter(custodian="closed"),
        "queued": LeadFilter(queue="suppressed"),
        "clicked": LeadFilter(did="clicked", since=week),
        "emailed": LeadFilter(did="emailed", since=week),
        "handed off": LeadFilter(did="handed_off", since=week),
        "search": LeadFilter(text="nobody-is-called-so"),
        "of a rep": LeadFilter(rep="mara"),
        "of a team": LeadFilter(reps=frozenset({"mara"}), text="nobody-is-called-so"),
        "of a country": LeadFilter(country="FR", track="keep-warm"),
        "of two": LeadFilter(custodian="closed", country="DE"),
        "without consent": LeadFilter(consent="none"),
        "of a fit": LeadFilter(fit="A"),
        "quiet": LeadFilter(track="keep-warm", quiet_days=90),
        "active": LeadFilter(active_days=90),
        "search a field": LeadFilter(text="industry:nowhere"),
        "took a way": LeadFilter(track="keep-warm", step="a-fork", way=1),
        "ever handed off": LeadFilter(did="handed_off"),
        "ever won by a rep": LeadFilter(did="won", rep="mara"),
    }
    return {
        "today": today,
        "tracks": read(load_track_sheet, now),
        "tracks, 90 days": read(load_track_sheet, now, 90),
        "track": read(load_track_map, "webinar-attended", now, 90),
        **{f"list {name}": read(list_leads, chosen, now) for name, chosen in lists.items()},
        "lead": lambda: load_lead(ctx, 17, now),
        "hand-offs": read(load_pipeline, now, 90),
        "queues": read(load_queues, now),
        "deliverability": lambda: load_deliverability(ctx, now),
        "team": lambda: load_team(ctx, now, 90),
        "email": read(preview.render_published, "webinar-attended", 1, "01-recording", emails_to_self.SAMPLE_RECIPIENT),
    }
