"""Tests of leads that refused one topic or track: they go on with the others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.consent.statements import withdrawal
from nurture.domain.consent.suppression import SuppressionScope
from nurture.domain.signals import SignalKind
from nurture.journey.consent import statements
from nurture.journey.consent.suppression import SuppressionTarget, suppress
from nurture.journey.handoff import responses
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, one, record_signal, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HELLOS = SuppressionTarget(SuppressionScope.TOPIC, "Hellos")
NEWS = SuppressionTarget(SuppressionScope.TOPIC, "News")
WELCOME = SuppressionTarget(SuppressionScope.TRACK, "welcome")


def rules_with_topics(**changes: str) -> dict[str, str]:
    rules = sample_rules()
    for track, topic in (("welcome", "Hellos"), ("keep", "News")):
        rules[f"tracks/{track}/track.yaml"] += f"topic: {topic}\n"
    rules["tracks/welcome/track.yaml"] = rules["tracks/welcome/track.yaml"].replace(
        "finally: keep", changes.get("finally_", "finally: keep")
    )
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("then: enroll", changes.get("then", "then: enroll"))
    return rules


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=rules_with_topics())


def on_welcome(ctx: AppContext) -> int:
    lead = add_lead(ctx, title="Head", email="ana@people.example")
    run_at(ctx, START)
    assert custody(ctx, lead) == ("track", "welcome")
    return lead


@pytest.mark.parametrize("target", [HELLOS, WELCOME], ids=["topic", "track"])
def test_a_lead_that_stops_its_topic_moves_to_where_its_track_leads(ctx: AppContext, target: SuppressionTarget) -> None:
    lead = on_welcome(ctx)
    run_at(ctx, START + HOUR)
    suppress(ctx, ["ana@people.example"], START + 90 * timedelta(minutes=1), target=target)
    run_at(ctx, START + 2 * HOUR)
    assert custody(ctx, lead) == ("track", "keep")
    entered = one(ctx, "SELECT entered_at FROM enrollment WHERE ended_at IS NULL")
    assert str(entered).replace("T", " ").startswith("2026-01-05 10:00")  # from now on, not since the last step
    suppress(ctx, ["ana@people.example"], START + 3 * HOUR, target=NEWS)
    run_at(ctx, START + 4 * HOUR, START + 5 * HOUR)
    assert custody(ctx, lead) == ("queue", "suppressed")  # it refused everything


def test_a_withdrawal_for_a_topic_does_the_same(ctx: AppContext) -> None:
    lead = on_welcome(ctx)
    address = one(ctx, "SELECT address_id FROM lead")
    with ctx.database.write() as tx:
        statements.record(tx, [(address, withdrawal("crm", None, START + HOUR, "hellos"))], START + HOUR)
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead) == ("track", "keep")


def test_a_lead_whose_track_would_close_it_is_classified_again(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=rules_with_topics(finally_="finally: {close: unreachable}"))
    lead = on_welcome(ctx)
    suppress(ctx, ["ana@people.example"], START + HOUR, target=HELLOS)
    run_at(ctx, START + HOUR, START + 2 * HOUR)
    assert custody(ctx, lead) == ("track", "keep")
    assert ("left", "intake") in rows(ctx, "SELECT event, custody_to FROM journal")


def test_a_readiness_rule_that_names_a_refused_track_leaves_it_to_the_audiences(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=rules_with_topics(then="then: {track: welcome}"))
    lead = add_lead(ctx, email="ana@people.example")
    suppress(ctx, ["ana@people.example"], START, target=HELLOS)
    run_at(ctx, START)
    assert custody(ctx, lead) == ("track", "keep")


def test_a_lead_that_comes_back_from_sales_to_a_refused_track_is_classified_again(ctx: AppContext) -> None:
    lead = on_welcome(ctx)
    record_signal(ctx, lead, SignalKind.REPLIED, START)
    run_at(ctx, START + HOUR)
    offer = one(ctx, "SELECT id FROM offer")
    suppress(ctx, ["ana@people.example"], START + HOUR, target=HELLOS)
    responses.reject(ctx, offer, "wrong-person", START + 2 * HOUR)
    run_at(ctx, START + 3 * HOUR)
    assert custody(ctx, lead) == ("intake", "return")  # until its cool-off ends
    run_at(ctx, START + 8 * DAY)
    assert custody(ctx, lead) == ("track", "keep")
