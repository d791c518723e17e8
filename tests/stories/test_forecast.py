"""A forecast equals what then happens when nobody acts: every email, to the minute, before and after a change."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from nurture.journey.tracks.forecast import Forecast
from nurture.journey.tracks.forecast_groups import forecast_all
from nurture.publishing.effects import forecast_change
from nurture.publishing.publish import load_publishable, plan_changes, publish
from nurture.runtime.context import AppContext
from tests.stories.population import DAY, NOW, all_rules, find_mismatches, make_population, open_leads

LEADS: Final = int(os.environ.get("STORY_LEADS", "40"))
UNTIL: Final = NOW + 60 * DAY
_INVITATION: Final = """
name: invitation
goal: Fill the round table
audience: {field: lead_source, in: [Referral, Website]}
priority: 60
steps:
  - email: 01-invitation
  - split:
      - arm: seat
        weight: 1
        steps:
          - email: 02-seat
            after: 2 days
      - arm: none
        weight: 1
        steps: continue
finally: previous
"""


def changed_rules() -> dict[str, str]:
    """Return the definitions with other delays, a new email before another, and a track that takes leads over.

    Its email is the same piece of content as one of keep-warm, which sends nothing twice.
    """
    rules = all_rules()
    email, story = (rules[f"tracks/keep-warm/{name}.md"] for name in ("01-one-idea", "02-story"))
    attended, no_show = (f"tracks/{name}/track.yaml" for name in ("webinar-attended", "webinar-no-show"))
    rules[attended] = rules[attended].replace("        after: 7 days", "        after: 2 days")
    added = "steps:\n  - email: 00-added\n    after: 1 day\n"
    rules[no_show] = rules[no_show].replace("steps:\n", added, 1)
    rules["tracks/keep-warm/track.yaml"] += "content: once\n"
    return rules | {
        "tracks/webinar-no-show/00-added.md": email,
        "tracks/invitation/track.yaml": _INVITATION,
        "tracks/invitation/01-invitation.md": email.replace("\n---\n", "\npiece: idea\n---\n", 1),
        "tracks/keep-warm/02-story.md": story.replace("\n---\n", "\npiece: idea\n---\n", 1),
        "tracks/invitation/02-seat.md": email.replace("subject: ", "subject: Your seat, "),
    }


def forecast_as_is(ctx: AppContext) -> dict[int, Forecast]:
    """Return the forecast of each open lead with the definitions in force."""
    leads = open_leads(ctx, NOW)
    with ctx.database.read() as tx:
        definitions = ctx.definitions.current(tx)
    forecasts = forecast_all(leads, definitions, NOW, UNTIL, ctx.holidays)
    return {lead.view.lead.id: one for (lead, _), one in zip(leads, forecasts, strict=True)}


def publish_forecast_change(ctx: AppContext) -> dict[int, Forecast]:
    """Publish `changed_rules`; return the forecast of each lead concerned, made before, of what happens after it."""
    return {lead: after for lead, (_, after) in _forecast_change(ctx).items()}


def _forecast_change(ctx: AppContext) -> dict[int, tuple[Forecast, Forecast]]:
    rules = changed_rules()
    with ctx.database.read() as tx:
        plan = plan_changes(ctx, tx, load_publishable(rules, ()), NOW, only=(), take_in=True, dry_run=True)
        names = [one.name for one in plan.changes]
        assert names == ["invitation", "keep-warm", "webinar-attended", "webinar-no-show"]
        new = replace(ctx.definitions.current(tx), programs=plan.programs)
        forecasts = forecast_change(ctx, tx, new, names, plan.entering, NOW, UNTIL)
    publish(ctx, rules, NOW, take_in=True)
    return {lead.view.lead.id: (before, after) for lead, before, after in forecasts}


def test_a_forecast_equals_what_then_happens_when_nobody_acts() -> None:
    ctx = make_population(LEADS)
    wrong = find_mismatches(ctx, forecast_as_is(ctx), UNTIL)
    assert wrong.leads == []
    assert wrong.emails > 2 * LEADS


def test_a_forecast_of_a_change_equals_what_happens_after_it_is_published() -> None:
    ctx = make_population(LEADS)
    forecasts = _forecast_change(ctx)
    wrong = find_mismatches(ctx, {lead: after for lead, (_, after) in forecasts.items()}, UNTIL)
    assert wrong.leads == []
    assert wrong.emails > len(forecasts)
    skipping = [{event.name for event in after.events if event.track == "keep-warm"} for _, after in forecasts.values()]
    assert any("03-when-do-you-decide" in names and "02-story" not in names for names in skipping)
    assert sum(before.events != after.events for before, after in forecasts.values()) > LEADS / 3
