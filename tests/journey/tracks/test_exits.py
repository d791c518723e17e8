"""Test that a lead leaves its track when it reaches the goal or meets an exit, and that both are counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.formats.lead_item import ItemReader
from nurture.journey.delivery import claim, send
from nurture.journey.intake.import_file import import_rows
from nurture.journey.tracks import advance, manual
from nurture.publishing import publish
from nurture.reporting import audit
from nurture.reporting.tracks import GoalReport, report_goals
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import RecordingProvider, custody, events, messages, one, record_signal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPEN = START + HOUR
GOAL = """
until: {when: {field: plan, is: paid}, then: keep}
exit_when: {when: {field: plan, is: ended}, then: {queue: ended}}
"""


@pytest.fixture
def rules() -> dict[str, str]:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += GOAL
    return rules


@pytest.fixture
def ctx(db: Database, tmp_path: Path, rules: dict[str, str]) -> AppContext:
    made = make_context(db, tmp_path, rules=rules)
    made.provider = RecordingProvider()
    return made


def _import(ctx: AppContext, email: str, plan: str, at: datetime) -> None:
    item = {"external_id": email, "email": email, "title": "Head", "custom": {"plan": plan}, "consent_basis": "consent"}
    import_rows(ctx, [ItemReader("crm", {}).read(1, item)], "API batch", at)


def _lead(ctx: AppContext, email: str, at: datetime = START) -> int:
    _import(ctx, email, "trial", at)
    return int(one(ctx, "SELECT lead_id FROM identity WHERE external_id = :email", email=email))


def test_who_pays_on_the_third_day_gets_nothing_more_of_the_trial(ctx: AppContext) -> None:
    lead = _lead(ctx, "ana@example.com")
    run_at(ctx, START, OPEN, OPEN + DAY)
    _import(ctx, "ana@example.com", "paid", OPEN + 3 * DAY)
    run_at(ctx, *(OPEN + day * DAY for day in range(3, 40)))
    assert custody(ctx, lead) == ("track", "keep")
    assert [step for _, step, _, _ in messages(ctx)] == ["01-hello", "01-news", "01-news"]
    assert events(ctx, lead).count("goal") == 1
    assert audit.run_audit(ctx, OPEN + 40 * DAY).ok


def test_planned_email_is_called_off(ctx: AppContext) -> None:
    lead = _lead(ctx, "ana@example.com")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)
    assert [(step, state) for _, step, state, _ in messages(ctx)] == [("01-hello", "planned")]
    _import(ctx, "ana@example.com", "paid", OPEN)
    run_at(ctx, OPEN, OPEN + HOUR)
    assert messages(ctx) == [(lead, "01-hello", "cancelled", "left_track")]
    assert custody(ctx, lead) == ("track", "keep")


def test_a_request_after_the_goal_goes_to_sales(ctx: AppContext) -> None:
    lead = _lead(ctx, "ana@example.com")
    run_at(ctx, START, OPEN)
    _import(ctx, "ana@example.com", "paid", OPEN + DAY)
    run_at(ctx, OPEN + DAY)
    record_signal(ctx, lead, SignalKind.REPLIED, OPEN + 2 * DAY)
    run_at(ctx, OPEN + 2 * DAY)
    assert custody(ctx, lead)[0] == "offer"


def test_a_lead_that_meets_the_goal_already_does_not_enter(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", plan="paid")
    run_at(ctx, START)
    assert custody(ctx, lead) == ("track", "keep")


def test_the_share_that_reached_the_goal_is_reported_by_the_version_that_they_entered(
    ctx: AppContext, rules: dict[str, str]
) -> None:
    names = ["ana", "ben", "eve", "kim"]
    leads = [_lead(ctx, f"{name}@example.com") for name in names]
    run_at(ctx, START, OPEN)
    publish.publish(ctx, rules | {"tracks/welcome/01-hello.md": rules["tracks/welcome/02-more.md"]}, OPEN)
    _lead(ctx, "new@example.com", OPEN)
    for name, plan in (("ana", "paid"), ("ben", "paid"), ("eve", "ended"), ("new", "paid")):
        run_at(ctx, OPEN)
        _import(ctx, f"{name}@example.com", plan, OPEN + HOUR)
    run_at(ctx, OPEN + HOUR)
    assert report_goals(ctx) == [
        GoalReport("welcome", 1, enrolled=4, here_now=1, reached_goal=2, exited=1, share=0.5),
        GoalReport("welcome", 2, enrolled=1, here_now=0, reached_goal=1, exited=0, share=1.0),
    ]
    assert custody(ctx, leads[2]) == ("queue", "ended")


def test_a_track_takes_leads_and_sends_only_from_its_first_to_its_last_day(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "starts_on: 2026-01-07\nends_on: 2026-01-08\n"
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.provider = provider = RecordingProvider()
    early = add_lead(ctx, title="Head")
    run_at(ctx, START)
    assert custody(ctx, early) == ("track", "keep")
    manual.enroll(ctx, early, "welcome", START)
    run_at(ctx, OPEN, OPEN + DAY)
    assert provider.sent == []
    run_at(ctx, OPEN + 2 * DAY, OPEN + 3 * DAY)
    assert [subject for _, _, subject in provider.sent] == ["Hello"]
    assert custody(ctx, early) == ("track", "welcome")
    late = add_lead(ctx, title="Head", at=OPEN + 4 * DAY)
    run_at(ctx, OPEN + 4 * DAY)
    assert custody(ctx, early) == custody(ctx, late) == ("track", "keep")
    with pytest.raises(InvalidState, match="Track welcome is over"):
        manual.enroll(ctx, late, "welcome", OPEN + 4 * DAY)


def test_email_that_is_claimed_before_midnight_does_not_go_after_the_last_day(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "ends_on: 2026-01-05\n"
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.provider = provider = RecordingProvider()
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)
    batch = claim.claim_batch(ctx, OPEN, 10)
    assert len(batch.claimed) == 1
    send.send_claimed(ctx, batch, VirtualClock(START + 16 * HOUR))
    assert provider.sent == []
    assert [row[2:] for row in messages(ctx)] == [("cancelled", "welcome ended on 2026-01-05")]


def test_a_first_day_that_is_published_after_the_claim_holds_the_email_until_then(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    ctx.provider = provider = RecordingProvider()
    add_lead(ctx, title="Head")
    run_at(ctx, START)
    advance.advance(ctx, OPEN)
    batch = claim.claim_batch(ctx, OPEN, 10)
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "starts_on: 2026-01-15\n"
    publish.publish(ctx, rules, OPEN)
    send.send_claimed(ctx, batch, VirtualClock(OPEN))
    run_at(ctx, OPEN, OPEN + 9 * DAY)
    assert provider.sent == []
    run_at(ctx, OPEN + 10 * DAY)
    assert [subject for _, _, subject in provider.sent] == ["Hello"]
