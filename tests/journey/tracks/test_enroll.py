"""Tests of classification: to sales, a track or a queue, or closed with a reason."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.journey.tracks import enroll
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, due_at, one, record_signal, rows

DAY = timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def test_the_first_readiness_rule_that_matches_decides_and_is_recorded(ctx: AppContext) -> None:
    student = add_lead(ctx, title="Student", demo_requested=True)
    ready = add_lead(ctx, title="Head", demo_requested=True)
    head, other = add_lead(ctx, title="Head"), add_lead(ctx)
    assert enroll.classify(ctx, START) == {"student": 1, "ready": 1, "nurture": 2}
    assert [custody(ctx, lead) for lead in (student, ready, head, other)] == [
        ("closed", "discarded"),
        ("queue", "hand-off"),
        ("track", "welcome"),
        ("track", "keep"),
    ]
    assert rows(ctx, "SELECT readiness FROM lead ORDER BY id") == [("student",), ("ready",), ("nurture",), ("nurture",)]
    assert one(ctx, "SELECT reason FROM outcome") == "not a buyer"


def test_a_lead_that_may_not_be_mailed_waits_in_the_queue_for_its_reason(ctx: AppContext) -> None:
    opted_out = add_lead(ctx, title="Head")
    record_signal(ctx, opted_out, SignalKind.UNSUBSCRIBED, START)
    without_address, without_basis = (add_lead(ctx, email=None), add_lead(ctx, consent_basis=None, demo_requested=True))
    enroll.classify(ctx, START)
    assert custody(ctx, opted_out) == ("queue", "suppressed")
    assert custody(ctx, without_address) == ("queue", "no-address")
    assert custody(ctx, without_basis) == ("queue", "no-consent-basis")


def test_a_lead_that_fits_no_audience_rests_and_is_classified_again_after_a_publish(
    db: Database, tmp_path: Path
) -> None:
    rules = sample_rules()
    rules["tracks/keep/track.yaml"] = rules["tracks/keep/track.yaml"].replace(
        "audience: everybody", "audience: {field: title, contains: [clerk]}"
    )
    ctx = make_context(db, tmp_path, rules=rules)
    lead = add_lead(ctx, title="Gardener")
    run_at(ctx, START)
    assert (custody(ctx, lead), due_at(ctx, lead)) == (("resting", "no-track"), START + 365 * DAY)
    publish(ctx, sample_rules(), START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead) == ("track", "keep")


def test_nothing_is_classified_twice(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    assert enroll.classify(ctx, START).total() == 1
    assert enroll.classify(ctx, START).total() == 0


@pytest.mark.parametrize("scanned", [False, True])
def test_a_click_waits_out_its_grace_period_before_it_makes_a_lead_ready(
    sqlite_db: Database, tmp_path: Path, scanned: bool
) -> None:
    rules = sample_rules()
    clicker = "  - name: clicker\n    when: {did: clicked}\n    then: hand_off\n"
    policy = rules["sales/policy.yaml"].replace("readiness:\n", f"readiness:\n{clicker}")
    ctx = make_context(sqlite_db, tmp_path, rules=rules | {"sales/policy.yaml": policy})
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START, START + timedelta(hours=2))
    close_lead(ctx, lead, Closing.UNREACHABLE, START + DAY)
    at = START + 2 * DAY
    message = one(ctx, "SELECT id FROM message WHERE kind = 'touch'")
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    signals.record(ctx, [], at, [EngagementEvent(SignalKind.CLICKED, message, at, "guide", agent=agent)])
    record_signal(ctx, lead, SignalKind.REGISTERED, at)
    assert custody(ctx, lead)[0] == "intake"
    soon = at + timedelta(seconds=1)
    assert enroll.classify(ctx, soon) == {"click_grace": 1}
    assert due_at(ctx, lead) == at + timedelta(seconds=90)
    assert one(ctx, "SELECT readiness FROM lead") == "nurture"
    if scanned:
        signals.record(ctx, [], soon, [EngagementEvent(SignalKind.CLICKED, message, soon, "prices", agent=agent)])
    enroll.classify(ctx, at + timedelta(seconds=90))
    assert one(ctx, "SELECT readiness FROM lead") == ("nurture" if scanned else "clicker")
