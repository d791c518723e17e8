"""Test the calendar: emails by day and track as the planner makes them, what is moved, hand-offs, and its sample."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.delivery.stopping import stop
from nurture.publishing.publish import publish
from nurture.reporting.console.calendar import Calendar, DayPage, load_calendar, load_day
from nurture.reporting.console.calendar_forecast import DAYS, FRESH, find_forecasts, forecast_leads
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import recorded_statements, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def enter(ctx: AppContext, count: int, **values: str) -> list[int]:
    leads = [add_lead(ctx, title="Head of planning", **values) for _ in range(count)]
    run_at(ctx, START)
    return leads


def load(ctx: AppContext, limit: int = 500) -> Calendar:
    with ctx.database.read() as tx:
        forecasts = forecast_leads(ctx, tx, START, limit)
        assert forecasts is not None
        return load_calendar(ctx, tx, forecasts)


def one_day(ctx: AppContext, day: date) -> DayPage | None:
    with ctx.database.read() as tx:
        forecasts = forecast_leads(ctx, tx, START)
        assert forecasts is not None
        return load_day(ctx, tx, day, forecasts)


def emails(calendar: Calendar) -> dict[date, dict[str, int]]:
    return {one.day: dict(one.emails) for one in calendar.days if one.total}


def test_the_calendar_counts_what_the_sweeps_then_send(ctx: AppContext) -> None:
    enter(ctx, 3)
    calendar = load(ctx)
    assert len(calendar.days) == DAYS
    assert calendar.sample.is_whole
    run_at(ctx, *(START + number * HOUR for number in range(1, 24 * DAYS, 2)))
    sent = rows(ctx, "SELECT accepted_at, track FROM message WHERE kind = 'touch' AND accepted_at IS NOT NULL")
    found: dict[date, dict[str, int]] = {}
    for at, track in sent:
        day = found.setdefault(date.fromisoformat(str(at)[:10]), {})
        day[track] = day.get(track, 0) + 1
    assert emails(calendar) == {day: counts for day, counts in found.items() if day < (START + DAYS * DAY).date()}


def test_an_email_that_a_holiday_moves_names_the_country_and_the_day(ctx: AppContext) -> None:
    changed = sample_rules()
    path = "tracks/welcome/track.yaml"
    changed[path] = changed[path].replace("after: 1 hour", "after: 1 day")
    changed["defaults.yaml"] = changed["defaults.yaml"].replace("skip_holidays: no", "skip_holidays: yes")
    publish(ctx, changed, START)
    enter(ctx, 2, country="AT", zone="Europe/Vienna")  # 6 January is a holiday there
    calendar = load(ctx)
    moved = {text: count for one in calendar.days for text, count in one.moved.items()}
    assert moved["holiday in Austria"] == 2
    assert [one.day for one in calendar.days if "Austria" in one.holidays] == [date(2026, 1, 6)]


def test_a_sample_says_for_how_many_leads_it_stands(ctx: AppContext) -> None:
    enter(ctx, 30)
    whole, part = load(ctx), load(ctx, limit=10)
    assert (part.sample.leads, part.sample.is_whole) == (30, False)
    assert part.sample.forecast <= 10
    assert sum(one.total for one in part.days) == pytest.approx(sum(one.total for one in whole.days), rel=0.2)


def test_a_day_lists_its_emails_and_people(ctx: AppContext) -> None:
    leads = enter(ctx, 2)
    first = next(one for one in load(ctx).days if one.total)
    page = one_day(ctx, first.day)
    assert page is not None
    assert page.emails == {("welcome", "01-hello"): 2}
    assert [one.lead.id for one in page.events] == leads
    assert one_day(ctx, START.date() - DAY) is None
    assert one_day(ctx, START.date() + DAYS * DAY) is None


def test_reps_take_no_leads_on_leave(ctx: AppContext) -> None:
    enter(ctx, 1)
    assert {one.capacity for one in load(ctx).days} == {10}
    with ctx.database.write() as tx:
        values = f"'ana', '{START.date()}', '{START.date() + DAY}', '{START.isoformat()}'"
        tx.exec_driver_sql(f"INSERT INTO rep_leave (rep, first_day, last_day, recorded_at) VALUES ({values})")
    assert [one.capacity for one in load(ctx).days[:3]] == [5, 5, 10]


def test_what_is_planned_already_is_counted_from_the_outbox(ctx: AppContext) -> None:
    enter(ctx, 2)
    planned = rows(ctx, "SELECT count(*) FROM message WHERE state = 'planned'")[0][0]
    assert sum(one.planned for one in load(ctx).days) == planned


def test_many_leads_cost_as_many_statements_as_few(ctx: AppContext) -> None:
    enter(ctx, 2)
    load(ctx)
    with recorded_statements(ctx.database) as few:
        load(ctx)
    enter(ctx, 30)
    with recorded_statements(ctx.database) as many:
        load(ctx)
    assert len(few) == len(many)


def test_pages_share_a_forecast_until_it_is_old_or_mail_is_stopped(ctx: AppContext) -> None:
    enter(ctx, 1)
    with ctx.database.read() as tx:
        first = find_forecasts(ctx, tx, START)
        assert find_forecasts(ctx, tx, START + FRESH / 2) is first
        later = find_forecasts(ctx, tx, START + FRESH)
        assert later is not first
    stop(ctx, "", "a wrong price", "Mara", START)
    with ctx.database.read() as tx:
        assert find_forecasts(ctx, tx, START + FRESH) is not later
        assert find_forecasts(ctx, tx, START) is not later
