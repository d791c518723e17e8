"""Tests of manual actions on one lead."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import responses
from nurture.journey.tracks import manual
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.observe import all_rows, custody, due_at, events, messages, one, record_signal, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_enrolling_a_lead_in_another_track_ends_its_old_enrollment(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    manual.enroll(ctx, lead, "keep", START + HOUR)
    assert custody(ctx, lead) == ("track", "keep")
    assert rows(ctx, "SELECT track, end_reason FROM enrollment ORDER BY id") == [
        ("welcome", "moved to keep"),
        ("keep", None),
    ]
    run_at(ctx, START + HOUR, START + 2 * HOUR)
    assert messages(ctx) == []


def test_enrolling_in_an_unknown_track_lists_the_published_tracks(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    with pytest.raises(NotFound, match="keep, welcome"):
        manual.enroll(ctx, lead, "welcom", START)


def test_a_lead_that_may_not_be_mailed_is_not_enrolled(ctx: AppContext) -> None:
    opted_out, without_basis, without_address = (
        add_lead(ctx),
        add_lead(ctx, consent_basis=None),
        add_lead(ctx, email=None),
    )
    record_signal(ctx, opted_out, SignalKind.UNSUBSCRIBED, START)
    before = all_rows(ctx)
    for lead in (opted_out, without_basis, without_address):
        with pytest.raises(InvalidState, match="may not be mailed"):
            manual.enroll(ctx, lead, "keep", START)
    assert all_rows(ctx) == before


def test_a_lead_that_is_with_sales_is_not_enrolled(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    with pytest.raises(InvalidState, match="with sales"):
        manual.enroll(ctx, lead, "keep", START)
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), START)
    with pytest.raises(InvalidState, match="with sales"):
        manual.enroll(ctx, lead, "keep", START)
    with pytest.raises(InvalidState, match="on no track"):
        manual.remove_from_track(ctx, lead, "by-hand", START)


def test_a_customer_cannot_be_enrolled(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    close_lead(ctx, lead, Closing.WON, START)
    with pytest.raises(InvalidState, match="is a customer"):
        manual.enroll(ctx, lead, "keep", START)
    assert custody(ctx, lead) == ("resting", "customer")


def test_a_lead_removed_from_its_track_goes_to_a_queue_with_a_review_date(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    manual.remove_from_track(ctx, lead, "by-hand", START + HOUR)
    assert custody(ctx, lead) == ("queue", "by-hand")
    run_at(ctx, START + 8 * DAY)
    assert events(ctx, lead)[-1] == "reminder"
    assert messages(ctx) == []


def test_a_pause_holds_all_touches_and_its_end_resumes_the_track(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    manual.pause(ctx, lead, START + 5 * DAY, START)
    for day in range(4):
        run_at(ctx, START + day * DAY + 2 * HOUR)
    assert messages(ctx) == []
    assert due_at(ctx, lead) == START + 5 * DAY
    manual.pause(ctx, lead, None, START + 4 * DAY)
    run_at(ctx, START + 4 * DAY + 2 * HOUR)
    assert len(messages(ctx)) == 1
    assert events(ctx, lead).count("paused") >= 1
    assert "resumed" in events(ctx, lead)


@pytest.mark.parametrize(("zone", "end"), [("America/New_York", "19:00 (the lead's time)"), ("", "00:00 (UTC)")])
def test_the_journal_has_the_end_of_a_pause_in_the_time_of_the_lead_or_of_sales(
    ctx: AppContext, zone: str, end: str
) -> None:
    lead = add_lead(ctx, zone=zone)
    until = START.replace(hour=0) + 5 * DAY
    manual.pause(ctx, lead, until, START)
    day = "Saturday 10 January" if not zone else "Friday 9 January"
    assert one(ctx, "SELECT reason FROM journal WHERE event = 'paused'") == f"paused until {day} at {end} manually"


@pytest.mark.parametrize("days", [0, -1, 61])
def test_a_touch_interval_out_of_range_is_refused(ctx: AppContext, days: int) -> None:
    lead = add_lead(ctx)
    before = all_rows(ctx)
    with pytest.raises(InvalidState, match="Choose 1 to 60 days, or a pause"):
        manual.set_touch_interval(ctx, lead, days, START)
    assert all_rows(ctx) == before


def test_closing_ends_everything_and_withdraws_an_open_offer(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    close_lead(ctx, lead, Closing.WON, START + HOUR, happened_at=START - DAY, amount=900.0)
    assert custody(ctx, lead) == ("resting", "customer")
    assert due_at(ctx, lead) == START + HOUR
    assert one(ctx, "SELECT state FROM offer") == "withdrawn"
    assert rows(ctx, "SELECT closing, amount FROM outcome") == [("won", 900.0)]
    with pytest.raises(InvalidState, match="already withdrawn"):
        responses.accept(ctx, one(ctx, "SELECT id FROM offer"), START + HOUR)


def test_closing_twice_changes_nothing_and_closing_otherwise_is_refused(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    close_lead(ctx, lead, Closing.WON, START)
    closed = custody(ctx, lead), events(ctx, lead), rows(ctx, "SELECT * FROM outcome")
    close_lead(ctx, lead, Closing.WON, START + DAY)
    with pytest.raises(InvalidState, match="has another outcome already"):
        close_lead(ctx, lead, Closing.LOST, START + DAY, reason="late")
    assert (custody(ctx, lead), events(ctx, lead), rows(ctx, "SELECT * FROM outcome")) == closed


def test_an_action_on_a_missing_lead_is_refused(ctx: AppContext) -> None:
    before = all_rows(ctx)
    for action in (
        lambda: manual.enroll(ctx, 99, "keep", START),
        lambda: manual.remove_from_track(ctx, 99, "by-hand", START),
        lambda: manual.pause(ctx, 99, None, START),
        lambda: manual.set_touch_interval(ctx, 99, 30, START),
        lambda: close_lead(ctx, 99, Closing.WON, START),
    ):
        with pytest.raises(NotFound, match="no lead 99"):
            action()
    assert all_rows(ctx) == before
