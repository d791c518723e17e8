"""Test that leads that are alike share one forecast, and that no forecast depends on who shares it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Custodian
from nurture.domain.signals import SignalKind
from nurture.journey.delivery import stopping
from nurture.journey.leads import snapshot
from nurture.journey.tracks.forecast import EMAIL, Forecast, forecast
from nurture.journey.tracks.forecast_groups import CountryLead, forecast_all
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, add_leads, record_signal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = START + DAY
UNTIL = NOW + 60 * DAY
_SPLIT = """
  - split:
      - {arm: a, weight: 1, steps: [{email: 02-more, after: 3 days}]}
      - {arm: b, weight: 1, steps: [{email: 03-other, after: 5 days}]}
"""


def rules(*changes: tuple[str, str]) -> dict[str, str]:
    sources = sample_rules()
    path = "tracks/welcome/track.yaml"
    for old, new in (("  - email: 02-more\n    after: 3 days\n", _SPLIT), *changes):
        assert old in sources[path]
        sources[path] = sources[path].replace(old, new)
    other = sources["tracks/welcome/02-more.md"].replace("More", "Other")
    return sources | {"tracks/welcome/03-other.md": other}


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_started(db, tmp_path, rules())


def make_started(db: Database, tmp_path: Path, sources: dict[str, str]) -> AppContext:
    """Return a context with 24 leads that came in two waves, an hour apart."""
    made = make_context(db, tmp_path, rules=sources)
    made.provider = RecordingProvider()
    for wave in range(2):
        add_leads(made, 12, START + wave * HOUR, title=f"Head of {wave}")
        run_at(made, START + wave * HOUR)
    run_at(made, START + 2 * HOUR, START + 3 * HOUR, NOW)
    return made


def load(ctx: AppContext) -> list[CountryLead]:
    with ctx.database.read() as tx:
        rows = snapshot.load_open_rows_after(tx, 0, 1_000)
        return [(lead, "") for lead in snapshot.load_snapshots(ctx, tx, None, rows, NOW)]


def forecast_in_groups(ctx: AppContext) -> tuple[list[CountryLead], list[Forecast], int]:
    leads, groups = load(ctx), list[None]()
    with ctx.database.read() as tx:
        definitions = ctx.definitions.current(tx)
    found = forecast_all(leads, definitions, NOW, UNTIL, ctx.holidays, lambda: groups.append(None))
    for (lead, country), one in zip(leads, found, strict=True):
        assert forecast(lead, country, definitions, NOW, UNTIL, ctx.holidays).events == one.events
    return leads, found, len(groups)


def test_leads_of_one_wave_and_one_arm_share_a_forecast(ctx: AppContext) -> None:
    leads, found, groups = forecast_in_groups(ctx)
    emails = {tuple(event.name for event in one.events if event.what == EMAIL) for one in found}
    assert emails == {("02-more", *["01-news"] * 3), ("03-other", *["01-news"] * 3)}
    assert groups == 4 < len(leads)


def test_a_lead_that_did_something_has_a_forecast_of_its_own(ctx: AppContext) -> None:
    _, _, before = forecast_in_groups(ctx)
    record_signal(ctx, load(ctx)[0][0].view.lead.id, SignalKind.VISITED, NOW)
    assert forecast_in_groups(ctx)[2] == before + 1


def test_a_track_that_spreads_its_emails_gives_each_lead_its_own_minute(db: Database, tmp_path: Path) -> None:
    ctx = make_started(db, tmp_path, rules(("takes_over: no\n", "takes_over: no\nspread: 3 days\n")))
    leads, _, groups = forecast_in_groups(ctx)
    assert groups == len(leads)


def test_a_forecast_ends_where_sales_begins_and_waits_where_mail_is_stopped(ctx: AppContext) -> None:
    asked = load(ctx)[0][0].view.lead.id
    record_signal(ctx, asked, SignalKind.REPLIED, NOW)
    stopping.stop(ctx, "welcome", "wrong price", "mara", NOW)
    leads, found, _ = forecast_in_groups(ctx)
    by_lead = {lead.view.lead.id: one for (lead, _), one in zip(leads, found, strict=True)}
    (handed_off,) = by_lead.pop(asked).events
    assert (handed_off.what, handed_off.name) == (Custodian.QUEUE, "hand-off")
    assert {one.events for one in by_lead.values()} == {()}
