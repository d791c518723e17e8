"""Test what a new or changed audience does to known leads: taken in over time, or left where they are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.tracks.take_in import SET_INTERVAL
from nurture.publishing.publish import PublishedChange, publish
from nurture.runtime.context import AppContext
from tests.journey.builders import make_context, run_at
from tests.journey.observe import (
    RecordingProvider,
    custody,
    due_at,
    one,
    record_signal,
    recorded_statements,
    rows,
)
from tests.journey.tracks.test_takeover import OPEN, START, days, rules, starts_trial

DAY = timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    made = make_context(db, tmp_path)
    made.provider = RecordingProvider()
    return made


def _leads(ctx: AppContext, count: int, source: str = "Trial") -> list[int]:
    found = [starts_trial(ctx, f"lead{number}{source}@example.com", START, source) for number in range(count)]
    days(ctx, 0, 0)
    return found


def _publish(ctx: AppContext, **more: bool) -> PublishedChange:
    (change,) = publish(ctx, rules(), OPEN, **more)
    return change


def test_a_dry_run_counts_the_leads_that_fit_and_changes_nothing(ctx: AppContext) -> None:
    (lead, _), _ = _leads(ctx, 2), _leads(ctx, 1, "Website")
    before = due_at(ctx, lead)
    assert _publish(ctx, dry_run=True).fits == {"keep": 2}
    assert due_at(ctx, lead) == before
    assert rows(ctx, "SELECT * FROM audience_exclusion") == []


def test_leads_that_fit_already_stay_where_they_are_until_they_once_did_not_fit(ctx: AppContext) -> None:
    (lead,) = _leads(ctx, 1)
    assert _publish(ctx).fits == {"keep": 1}
    days(ctx, 0, 3)
    assert custody(ctx, lead) == ("track", "keep")
    for day, source, track in ((4, "Website", "keep"), (5, "Trial", "trial")):
        starts_trial(ctx, "lead0Trial@example.com", OPEN + day * DAY, source)
        days(ctx, day, day)
        assert custody(ctx, lead) == ("track", track)
    assert rows(ctx, "SELECT * FROM audience_exclusion") == []


def test_leads_are_taken_in_set_by_set(ctx: AppContext) -> None:
    leads = _leads(ctx, 4)
    ctx.batch_size = 2
    _publish(ctx, take_in=True)
    slots = [OPEN, OPEN, OPEN + SET_INTERVAL, OPEN + SET_INTERVAL]
    assert [due_at(ctx, lead) for lead in leads] == slots
    run_at(ctx, OPEN)
    assert [custody(ctx, lead)[1] for lead in leads] == ["trial", "trial", "keep", "keep"]
    run_at(ctx, OPEN + SET_INTERVAL)
    assert {custody(ctx, lead)[1] for lead in leads} == {"trial"}


def test_a_new_lead_enters_the_new_track_either_way(ctx: AppContext) -> None:
    _leads(ctx, 1)
    _publish(ctx)
    late = starts_trial(ctx, "new@example.com", OPEN)
    days(ctx, 0, 0)
    assert custody(ctx, late) == ("track", "trial")


def test_a_lead_that_time_alone_will_make_fit_becomes_due_then(ctx: AppContext) -> None:
    (lead,) = _leads(ctx, 1)
    record_signal(ctx, lead, SignalKind.CLICKED, START)
    days(ctx, 0, 0)
    sources = rules()
    audience = "{not: {did: clicked, within: 5 days}}"
    text = sources["tracks/trial/track.yaml"].replace("{field: lead_source, is: Trial}", audience)
    (change,) = publish(ctx, sources | {"tracks/trial/track.yaml": text}, OPEN)
    assert change.fits == {}
    assert due_at(ctx, lead) == START + 5 * DAY + timedelta(microseconds=1)


def test_only_a_changed_way_in_is_asked(ctx: AppContext) -> None:
    _leads(ctx, 1)
    _publish(ctx)
    changed = rules()
    changed["tracks/trial/01-start.md"] = changed["tracks/trial/02-next.md"].replace("Next", "Begin")
    (change,) = publish(ctx, changed, OPEN)
    assert change.fits == {}
    assert one(ctx, "SELECT count(*) FROM audience_exclusion") == 1


def test_a_publish_costs_the_same_statements_for_many_leads_as_for_two(ctx: AppContext) -> None:
    counted, changed = [], rules()
    for leads, priority in ((1, 30), (1, 40), (10, 50)):
        _leads(ctx, leads, f"Trial{priority}")
        audience = f"{{field: lead_source, in: [Trial30, Trial{priority}]}}"
        text = rules()["tracks/trial/track.yaml"].replace("{field: lead_source, is: Trial}", audience)
        changed["tracks/trial/track.yaml"] = text.replace("30\nre_entry", f"{priority}\nre_entry")
        with recorded_statements(ctx.database) as statements:
            publish(ctx, changed, OPEN, take_in=True)
        counted.append(len(statements))
    assert counted[1] == counted[2]
