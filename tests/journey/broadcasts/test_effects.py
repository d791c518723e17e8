"""Test what a broadcast leads to: its report, opt-outs from its topic, reactions that no track takes for its own."""

from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.consent.suppression import SuppressionScope
from nurture.domain.signals import SignalKind
from nurture.journey.broadcasts import release
from nurture.journey.consent.suppression import SuppressionTarget, suppress
from nurture.journey.engagement import signals
from nurture.journey.preferences import preference_center, unsubscribe
from nurture.journey.tracks import touch_email
from nurture.reporting import broadcasts as reporting
from nurture.reporting import tracks as track_reports
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import TokenRecord
from tests.journey.broadcasts.world import DAY, HOUR, NAME, TEN, broadcast_rules, make_broadcast, recipients, send
from tests.journey.builders import START, add_lead, run_at
from tests.journey.observe import new_signal, rows


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    rules = broadcast_rules("until: {did: registered}\ngoal: Fill the seats\n")
    return make_broadcast(db, tmp_path, {name: text.replace("Webinars", "Spring") for name, text in rules.items()})


def react(ctx: AppContext, lead: int, kind: SignalKind) -> None:
    """Record what a lead does in the email that it was sent."""
    ((message_id,),) = rows(ctx, "SELECT id FROM message WHERE kind = 'broadcast' AND lead_id = :lead", lead=lead)
    token = TokenRecord("click", lead, message_id, None)
    signals.record(ctx, [unsubscribe.link_signal(ctx, token, kind, f"{lead}{kind}", TEN + HOUR)], TEN + HOUR)


def test_the_report_counts_reactions_opt_outs_and_who_reached_the_goal_after_the_email(ctx: AppContext) -> None:
    clicks, replies, leaves, registers = (add_lead(ctx, city="Kiel", title="Buyer") for _ in range(4))
    run_at(ctx, START)
    assert reporting.report_broadcast(ctx, NAME, START).state == "draft"
    send(ctx)
    assert reporting.report_broadcast(ctx, NAME, START).state == "released"
    run_at(ctx, TEN)
    assert len(recipients(ctx)) == 4
    for lead, kind in ((clicks, SignalKind.CLICKED), (replies, SignalKind.REPLIED), (leaves, SignalKind.UNSUBSCRIBED)):
        react(ctx, lead, kind)
    signals.record(ctx, [new_signal(registers, SignalKind.REGISTERED, TEN + 2 * HOUR)], TEN + 2 * HOUR)
    run_at(ctx, TEN + 2 * HOUR)
    found = reporting.report_broadcast(ctx, NAME, TEN + 2 * HOUR)
    assert (found.state, found.sent, found.clicked, found.replied, found.unsubscribed) == ("done", 4, 1, 1, 1)
    assert found.reached_goal == 1
    assert sum(week.by_track.get(f"broadcasts/{NAME}", 0) for week in track_reports.touches_per_week(ctx)) == 4
    assert {step.track for step in track_reports.report_tracks(ctx)} == {"keep", "welcome"}


def test_its_topic_can_be_refused_as_those_of_tracks(ctx: AppContext) -> None:
    lead, other = add_lead(ctx, city="Kiel", email="no@people.example"), add_lead(ctx, city="Kiel")
    run_at(ctx, START)
    send(ctx)
    suppress(ctx, ["no@people.example"], START, target=SuppressionTarget(SuppressionScope.TOPIC, "spring"))
    assert release.preview(ctx, NAME, START).left_out.total() == 1
    run_at(ctx, TEN)
    assert recipients(ctx) == {other: 1}
    token = TokenRecord("preferences", lead, None, None)
    topics = preference_center.load_preferences(ctx, token, TEN).topics
    assert [(one.name, one.subscribed) for one in topics] == [("Spring", False)]


def test_no_track_takes_a_reaction_to_a_broadcast_for_one_to_its_own_email(db: Database, tmp_path: Path) -> None:
    rules = broadcast_rules()
    rules["broadcasts/spring/01-hello.md"] = rules.pop("broadcasts/spring/invitation.md")
    ctx = make_broadcast(db, tmp_path, rules)
    lead = add_lead(ctx, city="Kiel", title="Head")
    run_at(ctx, START, START + HOUR)
    send(ctx)
    run_at(ctx, TEN, TEN + HOUR)
    assert recipients(ctx) == {lead: 1}
    react(ctx, lead, SignalKind.CLICKED)
    run_at(ctx, TEN + DAY)
    assert rows(ctx, "SELECT step FROM enrollment WHERE lead_id = :lead", lead=lead) == [("wait-for-click",)]


def test_its_email_calls_the_broadcast_by_its_name(db: Database, tmp_path: Path) -> None:
    ctx = make_broadcast(db, tmp_path)
    with ctx.database.read() as tx:
        program = ctx.definitions.newest_broadcasts(tx, [f"broadcasts/{NAME}"])[f"broadcasts/{NAME}"]
    values = touch_email.touch_values({}, program, "", "")
    assert isinstance(values["track"], dict)
    assert values["track"]["name"] == NAME
