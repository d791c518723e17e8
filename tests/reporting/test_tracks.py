"""Track reports, on both databases."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.journey.engagement import signals
from nurture.journey.handoff import responses
from nurture.journey.leads.signal_queries import NewSignal
from nurture.reporting.tracks import (
    StepReport,
    report_funnel,
    report_handoffs,
    report_tracks,
    touches_per_week,
    wins_by_age,
)
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _signal(ctx: AppContext, lead: int, kind: str, at: datetime, verdict: str = "human") -> None:
    key = f"{lead}-{kind}-{at}-{verdict}"
    signal = NewSignal(lead, kind, at, at, key, "test", verdict, track="welcome", step="01-hello")
    signals.record(ctx, [signal], at)


def _steps(ctx: AppContext) -> dict[tuple[str, str], StepReport]:
    return {(one.track, one.step): one for one in report_tracks(ctx)}


def test_every_step_tells_what_was_sent_held_clicked_replied_left_and_handed_off(ctx: AppContext) -> None:
    clicker, replier, leaver, quiet = (add_lead(ctx, title="Head") for _ in range(4))
    sent = START + HOUR
    run_at(ctx, START, sent, sent + HOUR)
    _signal(ctx, clicker, "clicked", sent + 2 * HOUR)
    _signal(ctx, clicker, "clicked", sent + 3 * HOUR)
    _signal(ctx, quiet, "clicked", sent + 3 * HOUR, "bot")
    _signal(ctx, replier, "replied", sent + 3 * HOUR)
    _signal(ctx, leaver, "unsubscribed", sent + 3 * HOUR)
    run_at(ctx, sent + 4 * HOUR)
    steps = _steps(ctx)
    hello = steps["welcome", "01-hello"]
    assert (hello.sent, hello.clicked, hello.replied, hello.unsubscribed) == (4, 1, 1, 1)
    assert hello.holds["not_due"] == 4
    waits = steps["welcome", "wait-for-click"]
    assert (waits.is_email, waits.handed_off, waits.with_sales) == (False, 1, 1)
    assert waits.exits == {"queue suppressed": 1}
    assert waits.holds["waiting"] == 5  # four enrollments, one of them woken by the bot's click
    assert waits.waiting == 1
    assert steps["welcome", "02-more"].waiting == 1
    assert [step for track, step in steps if track == "welcome"] == ["01-hello", "wait-for-click", "02-more"]


def test_emails_that_nobody_got_yet_are_reported_as_nothing(ctx: AppContext) -> None:
    assert [(one.track, one.step, one.sent, one.is_email) for one in report_tracks(ctx)] == [
        ("keep", "01-news", 0, True),
        ("welcome", "01-hello", 0, True),
        ("welcome", "02-more", 0, True),
    ]


def test_the_funnel_counts_every_way_and_can_be_narrowed_to_a_source(ctx: AppContext) -> None:
    add_lead(ctx, title="student", source="fair")
    add_lead(ctx, title="Head", source="fair")
    add_lead(ctx, title="Clerk")
    add_lead(ctx, email=None)
    ready = [add_lead(ctx, demo_requested=True, source="fair") for _ in range(4)]
    run_at(ctx, START)
    responses.accept(ctx, 1, START + HOUR)
    responses.reject(ctx, 2, "not-now", START + HOUR)
    responses.reject(ctx, 3, "bad-fit", START + HOUR)
    close_lead(ctx, ready[0], Closing.WON, START + 2 * HOUR)
    run_at(ctx, START + DAY)
    seen = report_funnel(ctx)
    assert (seen.leads, seen.in_intake, seen.with_sales) == (8, 0, 0)
    assert seen.readiness == {"no-address": 1, "nurture": 2, "ready": 4, "student": 1}
    assert seen.enrolled == {"keep": 3, "welcome": 1}
    assert (seen.handed_off, seen.offers) == (4, {"accepted": 1, "expired": 1, "rejected": 2})
    assert seen.recycled == 2
    assert (seen.closed, seen.resting) == ({"discarded": 2}, {"customer": 1})
    assert seen.queued == {"no-address": 1}
    assert (seen.nurtured, seen.nurtured_on) == (4, {"keep": 3, "welcome": 1})
    fair = report_funnel(ctx, "fair")
    assert (fair.source, fair.leads, sum(fair.offers.values()), fair.recycled) == ("fair", 6, 4, 2)
    assert (fair.enrolled, fair.queued) == ({"keep": 2, "welcome": 1}, {})
    assert report_funnel(ctx, "nowhere").leads == 0


def test_touches_are_counted_by_weeks_that_begin_on_monday(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    add_lead(ctx, title="Head")
    add_lead(ctx, title="Clerk")
    for day in range(14):
        run_at(ctx, START + day * DAY + 2 * HOUR)
    assert [(one.monday, one.touches, one.leads, one.by_track) for one in touches_per_week(ctx)] == [
        (date(2026, 1, 5), 2, 2, {"welcome": 2}),
        (date(2026, 1, 12), 3, 3, {"keep": 1, "welcome": 2}),
    ]


def test_a_hand_off_is_reported_with_its_reason_its_rep_and_where_the_lead_is_now(ctx: AppContext) -> None:
    lead, other = add_lead(ctx, title="Head"), add_lead(ctx, demo_requested=True)
    run_at(ctx, START, START + HOUR)
    _signal(ctx, lead, "replied", START + 2 * HOUR)
    run_at(ctx, START + 2 * HOUR)
    responses.reject(ctx, 1, "please-check", START + 3 * HOUR)
    responses.accept(ctx, 2, START + 3 * HOUR)
    first, second = report_handoffs(ctx)
    assert (first.offer_id, first.lead_id, first.track, first.rule) == (1, other, None, "ready")
    assert (first.state, first.reason, first.custodian, first.ref) == (
        "rejected",
        "please-check",
        "queue",
        "needs-a-look",
    )
    assert (second.lead_id, second.track, second.rule, second.rep) == (lead, "welcome", "replied", "ben")
    assert (second.state, second.answered_at, second.custodian) == ("accepted", START + 3 * HOUR, "rep")
    assert second.handoff_reason.startswith("replied: ")


@pytest.mark.parametrize(
    ("days", "band"),
    [
        (-1, "before the first contact"),
        (0, "0-91 days"),
        (91, "0-91 days"),
        (92, "92-182 days"),
        (182, "92-182 days"),
        (183, "183-365 days"),
        (365, "183-365 days"),
        (366, "more than 365 days"),
    ],
)
def test_a_win_falls_into_the_band_of_its_age(ctx: AppContext, days: int, band: str) -> None:
    lead = add_lead(ctx, first_contact_at=START + 15 * HOUR)
    won = START + days * DAY  # earlier in the day than the first contact: days are counted, not hours
    close_lead(ctx, lead, Closing.WON, START, happened_at=won, amount=50.0)
    seen = wins_by_age(ctx)
    assert [(one.name, one.amount) for one in seen.bands if one.wins] == [(band, 50.0)]
    assert seen.after_day_90 == (1 if days > 90 else 0)


def test_wins_are_shares_of_all_and_a_lead_is_won_once(ctx: AppContext) -> None:
    for days in (10, 90, 100, 400):
        lead = add_lead(ctx)
        close_lead(ctx, lead, Closing.WON, START, happened_at=START + days * DAY)
    lost = add_lead(ctx)
    close_lead(ctx, lost, Closing.LOST, START)
    seen = wins_by_age(ctx)
    assert (seen.wins, seen.after_day_90, seen.share_after_day_90) == (4, 2, 0.5)
    assert [one.share for one in seen.bands] == [0, 0.5, 0.25, 0, 0.25]


def test_an_empty_database_has_empty_reports(ctx: AppContext) -> None:
    assert (touches_per_week(ctx), report_handoffs(ctx)) == ([], [])
    assert (report_funnel(ctx).leads, wins_by_age(ctx).share_after_day_90) == (0, 0.0)
