"""Tests that scores are recomputed when the policy changes, and of the score breakdown."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.journey.leads import signal_queries
from nurture.journey.scoring import breakdown, rescore
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.observe import add_leads, new_signal, one, record_signal, recorded_statements, rows, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLICKED, REPLIED, VISITED, OPENED = (SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.VISITED, SignalKind.OPENED)
OLD = "points: {clicked: 10, replied: 40, deciding: 30, half_life: 30 days}"
NEW = (
    "points: {half_lives: {fast: 10 days, slow: 100 days}, clicked: 8, visited: 2, "
    "replied: {points: 50, half_life: slow}}"
)
FIT = "fit: {A: {field: employees, at_least: 200}, B: {field: title, contains: [head]}}\n"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def publish_points(ctx: AppContext, now: datetime, points: str = NEW, more: str = "") -> None:
    sources = sample_rules()
    policy = sources["sales/policy.yaml"]
    assert OLD in policy
    sources["sales/policy.yaml"] = policy.replace(OLD, points) + more
    publish_approved(ctx, sources, now)


def sums(ctx: AppContext, lead: int) -> tuple[float, float | None]:
    ((first, second),) = rows(ctx, "SELECT engagement, engagement_2 FROM lead WHERE id = :id", id=lead)
    return first, second


def test_scores_are_recomputed_with_new_points_before_other_signals_are_applied(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    for kind in (CLICKED, VISITED, REPLIED, OPENED):
        record_signal(ctx, lead, kind, START)
    assert sums(ctx, lead) == (50, None)
    publish_points(ctx, START + DAY)
    engagement_signals.apply_pending_signals(ctx, START + DAY)
    assert sums(ctx, lead) == (10, 50)
    record_signal(ctx, lead, CLICKED, START + 10 * DAY)
    assert sums(ctx, lead) == (pytest.approx(5 + 8), pytest.approx(50 * 0.5**0.1))


def test_a_kind_of_signal_counts_once_it_gets_points(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    record_signal(ctx, lead, VISITED, START)
    assert sums(ctx, lead) == (0, None)
    publish_points(ctx, START)
    engagement_signals.apply_pending_signals(ctx, START)
    assert sums(ctx, lead) == (2, 0)


def test_a_policy_with_the_same_points_recomputes_nothing(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    record_signal(ctx, lead, CLICKED, START)
    publish_points(ctx, START, OLD, FIT)
    assert rescore.rescore(ctx, START) == 0


def test_decisions_use_the_signals_until_the_score_is_recomputed(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    record_signal(ctx, lead, CLICKED, START + HOUR)
    publish_points(ctx, START + HOUR, "points: {clicked: 30, half_life: 30 days}")
    assert explain.explain(ctx, lead, START + HOUR).hold.reason.startswith("engaged: engagement 30.0")
    assert sums(ctx, lead) == (10, None)


def test_signals_that_arrive_before_the_recomputation_are_not_lost(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    record_signal(ctx, lead, CLICKED, START)
    publish_points(ctx, START)
    with ctx.database.write() as tx:
        signal_queries.record_signals(tx, [new_signal(lead, VISITED, START)])
    engagement_signals.apply_signals_batch(ctx, START, 10)
    engagement_signals.apply_pending_signals(ctx, START)
    assert sums(ctx, lead) == (10, 0)


def test_signals_before_a_rep_answered_do_not_count_with_new_points(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    write(ctx, "UPDATE lead SET signals_since = :at", at=f"{START + DAY:%Y-%m-%dT%H:%M:%S}+00:00")
    record_signal(ctx, lead, REPLIED, START)
    record_signal(ctx, lead, CLICKED, START + 2 * DAY)
    publish_points(ctx, START + 2 * DAY)
    engagement_signals.apply_pending_signals(ctx, START + 2 * DAY)
    assert sums(ctx, lead) == (8, 0)


def test_ten_thousand_leads_are_recomputed_in_resumable_batches_of_constant_cost(ctx: AppContext) -> None:
    leads = add_leads(ctx, 10_000)
    with ctx.database.write() as tx:
        signals = [new_signal(lead, CLICKED, START - HOUR * (lead % 7)) for lead in leads]
        signal_queries.record_signals(tx, signals)
    engagement_signals.apply_pending_signals(ctx, START)
    publish_points(ctx, START)
    costs = []
    for limit in (10, 2_000, 2_000):
        with recorded_statements(ctx.database) as statements:
            assert rescore.rescore_batch(ctx, START, limit) == limit
        costs.append(len(statements))
    assert len(set(costs[1:])) == 1
    assert costs[0] - costs[1] in (0, 1, 2)  # the first one reads the published policy
    assert rescore.rescore(ctx, START) == 10_000 - 4_010
    assert rescore.rescore(ctx, START) == 0
    assert one(ctx, "SELECT count(*) FROM lead WHERE engagement = 8") == 10_000


def test_a_score_is_shown_signal_by_signal_with_reasons(ctx: AppContext) -> None:
    publish_points(ctx, START, NEW, FIT)
    lead = add_lead(ctx, title="Head of Tea", employees=20)
    run_at(ctx, START, START + 2 * HOUR)
    message: int = one(ctx, "SELECT id FROM message WHERE lead_id = :id", id=lead)
    at = START + 3 * HOUR
    record_signal(ctx, lead, OPENED, at)
    record_signal(ctx, lead, SignalKind.SUBMITTED, at)
    record_signal(ctx, lead, REPLIED, at)
    clicks = [
        EngagementEvent(CLICKED, message, at, "guide", method="HEAD"),
        EngagementEvent(CLICKED, message, at + DAY, "guide", agent="Mozilla/5.0 (X11) Firefox/140.0"),
    ]
    engagement_signals.record(ctx, [], at + DAY, clicks)
    shown = breakdown.score_breakdown(ctx, lead, at + DAY)
    assert [(entry.kind, entry.points, entry.counts) for entry in shown.lines] == [
        ("opened", 0, False),
        ("submitted", 0, False),
        ("replied", 50, True),
        ("clicked", 8, False),
        ("clicked", 8, True),
    ]
    reasons = [entry.reason for entry in shown.lines]
    assert reasons[0].startswith("opens never count")
    assert reasons[1] == "the policy gives it no points"
    assert reasons[2] == "as reported"
    assert reasons[3] == "requested with HEAD"
    assert reasons[4] == "counts; no decision uses it before 11:01:30 UTC"
    assert [(part.name, part.total) for part in shown.half_lives] == [
        ("fast (10 days)", 8),
        ("slow (100 days)", round(50 * 0.5**0.01, 4)),
    ]
    assert shown.engagement == shown.stored == round(sum(entry.remaining for entry in shown.lines), 4)
    assert (shown.fit, shown.fit_reason) == ("B", "title contains head")
    ((value, by, reached, falls_at),) = [
        (one.value, one.used_by, one.reached, one.falls_below_at) for one in shown.thresholds
    ]
    assert (value, by, reached) == (25, "engaged", True)
    assert falls_at is not None
    assert breakdown.score_breakdown(ctx, lead, falls_at - timedelta(seconds=1)).thresholds[0].reached
    assert not breakdown.score_breakdown(ctx, lead, falls_at).thresholds[0].reached


def test_a_signal_before_a_rep_answered_is_shown_as_not_counted(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    record_signal(ctx, lead, CLICKED, START)
    write(ctx, "UPDATE lead SET signals_since = :at", at=f"{START + DAY:%Y-%m-%dT%H:%M:%S}+00:00")
    shown = breakdown.score_breakdown(ctx, lead, START + DAY)
    assert (shown.engagement, shown.lines[0].reason) == (0, "occurred before a rep answered")


def test_the_score_of_an_unknown_lead_is_refused_and_of_an_inactive_lead_is_zero(ctx: AppContext) -> None:
    with pytest.raises(NotFound, match="`nurture leads list` lists them"):
        breakdown.score_breakdown(ctx, 999, START)
    shown = breakdown.score_breakdown(ctx, add_lead(ctx), START)
    assert (shown.engagement, shown.lines, shown.fit) == (0, (), "D")
    assert [(falls_at.value, falls_at.reached, falls_at.falls_below_at) for falls_at in shown.thresholds] == [
        (25, False, None)
    ]


def test_the_fit_is_shown_in_the_brief_and_in_the_explanation(ctx: AppContext, tmp_path: Path) -> None:
    publish_points(ctx, START, NEW, FIT)
    lead = add_lead(ctx, title="Head", employees=500)
    run_at(ctx, START)
    trace = explain.explain(ctx, lead, START)
    assert dict(explain.summary(trace))["fit"] == "A: employees at least 200"
    record_signal(ctx, lead, REPLIED, START + HOUR)
    run_at(ctx, START + HOUR)
    (brief,) = [mail for mail in (tmp_path / "maildir").rglob("*.eml") if "brief" in mail.name]
    assert "Fit A (employees at least 200)" in brief.read_text("utf-8")


def test_conditions_can_use_the_fit(ctx: AppContext) -> None:
    sources = sample_rules()
    sources["sales/policy.yaml"] += FIT
    sources["sales/policy.yaml"] = sources["sales/policy.yaml"].replace(
        "when: {field: demo_requested, is: yes}", "when: {fit: {at_least: A}}"
    )
    publish_approved(ctx, sources, START)
    good, other = add_lead(ctx, title="Head", employees=500), add_lead(ctx, title="Head")
    run_at(ctx, START)
    named = [one(ctx, "SELECT readiness FROM lead WHERE id = :id", id=lead) for lead in (good, other)]
    assert named == ["ready", "nurture"]
