"""Test click evidence: stored without personal traces, classified by the policy, counted late or never."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import click_queries, signals
from nurture.journey.engagement.click_filtering import EngagementEvent
from nurture.reporting.tracks import clicks_per_link
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.observe import all_rows, custody, due_at, events, one, recorded_statements, rows

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SENT = START + 2 * HOUR
CLICKED = SignalKind.CLICKED
LOOKS = (("guide", "HEAD"), ("guide", "GET"), ("prices", "GET"), ("demo", "GET"))


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def mailed(ctx: AppContext, email: str = "") -> tuple[int, int]:
    """Add a lead that has received its first email; return lead and message."""
    lead = add_lead(ctx, title="Head", email=email)
    run_at(ctx, START, SENT)
    return lead, message(ctx, lead)


def message(ctx: AppContext, lead: int) -> int:
    found: int = one(ctx, "SELECT max(id) FROM message WHERE lead_id = :id AND state = 'accepted'", id=lead)
    return found


def click(message: int, at: datetime, **more: Any) -> EngagementEvent:
    values: dict[str, Any] = {"link": "guide", "ip": "192.0.2.7", "agent": FIREFOX}
    return EngagementEvent(CLICKED, message, at, **(values | more))


def record(ctx: AppContext, *recorded_clicks: EngagementEvent) -> int:
    return signals.record(ctx, [], max(one.occurred_at for one in recorded_clicks), recorded_clicks)


def verdicts(ctx: AppContext) -> list[tuple[str, str]]:
    return rows(ctx, "SELECT verdict, verdict_reason FROM signal ORDER BY id")  # type: ignore[return-value]


def engagement(ctx: AppContext, lead: int) -> float:
    value: float = one(ctx, "SELECT engagement FROM lead WHERE id = :id", id=lead)
    return value


def test_a_humans_click_counts_wakes_its_lead_and_names_what_it_answers(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    run_at(ctx, SENT + MINUTE)
    at = SENT + HOUR
    assert record(ctx, click(mail, at)) == 1
    assert verdicts(ctx) == [("human", "")]
    assert engagement(ctx, lead) == 10
    assert due_at(ctx, lead) == at
    where = "SELECT s.lead_id, s.track, s.step, s.link, s.message_id, s.source FROM signal s"
    assert rows(ctx, where) == [(lead, "welcome", "01-hello", "guide", mail, "link")]
    assert one(ctx, "SELECT enrollment_id IS NOT NULL FROM signal")


def test_a_click_waits_for_its_grace_period_before_the_track_goes_on(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    run_at(ctx, SENT + MINUTE)
    at = SENT + HOUR
    record(ctx, click(mail, at))
    run_at(ctx, at + SECOND)
    assert events(ctx, lead)[-1] == "click_grace"
    assert due_at(ctx, lead) == at + 90 * SECOND
    next_action = one(ctx, "SELECT next_action FROM custody WHERE lead_id = :id", id=lead)
    assert next_action.startswith("a click is in its grace period until 2026-01-05 11:01:30 UTC")
    run_at(ctx, at + 90 * SECOND)
    assert one(ctx, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "02-more"


def test_no_address_and_no_user_agent_is_stored(ctx: AppContext) -> None:
    _, mail = mailed(ctx, "ana@quayside.example")
    record(ctx, click(mail, SENT + HOUR, ip="203.0.113.77"))
    stored = str({name: found for name, found in all_rows(ctx).items() if name != "address"})
    for secret in ("203.0.113.77", "Firefox", "quayside"):
        assert secret not in stored.replace("ana@quayside", "")
    query = "SELECT ip_hash, agent_hash, company_hash FROM tracking_request"
    ((ip_hash, agent_hash, company_hash),) = rows(ctx, query)
    assert (len(ip_hash), len(agent_hash), len(company_hash)) == (4, 4, 8)


def test_the_same_ip_has_another_hash_on_another_message(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head") for _ in range(2)]
    run_at(ctx, START, SENT)
    for lead in leads:
        record(ctx, click(message(ctx, lead), SENT + HOUR))
    hashes = [row[0] for row in rows(ctx, "SELECT ip_hash FROM tracking_request")]
    assert len(set(hashes)) == 2


def test_the_same_link_twice_within_a_second_is_one_click_and_a_repeat_changes_nothing(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    at = SENT + HOUR
    assert record(ctx, click(mail, at), click(mail, at + timedelta(milliseconds=300))) == 1
    before = all_rows(ctx)
    assert record(ctx, click(mail, at)) == 0
    assert all_rows(ctx) == before
    assert record(ctx, click(mail, at + 5 * MINUTE)) == 1
    assert engagement(ctx, lead) == pytest.approx(20, rel=1e-3)


def test_a_click_on_an_unknown_message_is_ignored(ctx: AppContext) -> None:
    assert signals.record(ctx, [], START, [click(999, START)]) == 0


def test_bots_and_suspects_count_for_nothing_and_are_stored_with_their_reasons(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    record(ctx, click(mail, SENT + 3 * SECOND, ip="192.0.2.1", agent="Mozilla/5.0 (X11) Firefox/99"))
    record(ctx, click(mail, SENT + HOUR, method="head"))
    record(ctx, click(mail, SENT + 2 * HOUR, link="trap", honeypot=True, ip="192.0.2.3"))
    assert [verdict for verdict, _ in verdicts(ctx)] == ["suspect", "bot", "bot"]
    assert verdicts(ctx)[0][1] == "sooner than 10 s after delivery"
    assert engagement(ctx, lead) == 0
    run_at(ctx, SENT + 2 * HOUR + 5 * MINUTE)
    assert one(ctx, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "wait-for-click"


def test_a_second_link_within_two_seconds_takes_back_the_first_clicks_score(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    at = SENT + HOUR
    counted = "SELECT sum(n) FROM daily_count WHERE measure = 'signal clicked'"
    record(ctx, click(mail, at))
    assert (engagement(ctx, lead), one(ctx, counted)) == (10, 1)
    record(ctx, click(mail, at + SECOND, link="prices"))
    assert [verdict for verdict, _ in verdicts(ctx)] == ["suspect", "suspect"]
    assert (engagement(ctx, lead), one(ctx, counted)) == (0, 0)
    run_at(ctx, at + 5 * MINUTE)
    assert one(ctx, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "wait-for-click"


def test_the_third_click_of_a_company_makes_suspects_of_the_two_before(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head", email=f"p{n}@acme.example") for n in range(3)]
    public = [add_lead(ctx, title="Head", email=f"p{n}@gmail.com") for n in range(3)]
    run_at(ctx, START, SENT)
    for number, lead in enumerate([*leads, *public]):
        record(ctx, click(message(ctx, lead), SENT + HOUR + number * SECOND, ip=f"192.0.2.{number}"))
    assert [verdict for verdict, _ in verdicts(ctx)] == ["suspect"] * 3 + ["human"] * 3
    assert [engagement(ctx, lead) for lead in leads] == [0, 0, 0]
    assert [engagement(ctx, lead) for lead in public] == [10, 10, 10]


def test_reported_clicks_count_at_once_without_a_grace_period(ctx: AppContext) -> None:
    lead, _ = mailed(ctx)
    run_at(ctx, SENT + MINUTE)
    at = SENT + HOUR
    answered = signals.find_answered_touch(ctx, lead, "01-hello")
    reported = signals.build_reported_signal(lead, CLICKED, None, at, at, "01-hello", None, answered)
    signals.record(ctx, [reported], at)
    run_at(ctx, at)
    assert one(ctx, "SELECT click_filter_key IS NULL FROM signal")
    assert one(ctx, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "02-more"


def test_published_thresholds_reclassify_every_click(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    record(ctx, click(mail, SENT + HOUR))
    with ctx.database.write() as tx:
        tx.execute(click_queries.message.update().values(accepted_at=SENT + MINUTE))
    for too_soon, verdict, counts in (
        ("9 seconds", "human", 10),
        ("60 minutes", "suspect", 0),
        ("8 seconds", "human", 10),
    ):
        policy = sample_rules()["sales/policy.yaml"] + f"click_filtering: {{min_time_after_delivery: {too_soon}}}\n"
        publish_approved(ctx, sample_rules() | {"sales/policy.yaml": policy}, SENT + DAY)
        signals.apply_pending_signals(ctx, SENT + DAY)
        assert [found for found, _ in verdicts(ctx)] == [verdict]
        assert engagement(ctx, lead) == counts


def test_a_later_delivery_event_makes_an_early_click_a_suspect(ctx: AppContext) -> None:
    lead, mail = mailed(ctx)
    at = SENT + HOUR
    record(ctx, click(mail, at))
    assert engagement(ctx, lead) == 10
    with ctx.database.write() as tx:
        arrived = click_queries.message.update().values(state="delivered", state_at=at - 4 * SECOND)
        tx.execute(arrived.where(click_queries.message.c.id == mail))
        click_queries.mark_for_reclassification(tx, [mail])
    signals.apply_pending_signals(ctx, at + MINUTE)
    assert verdicts(ctx) == [("suspect", "sooner than 10 s after delivery")]
    assert engagement(ctx, lead) == 0


def test_a_batch_of_clicks_costs_the_same_number_of_statements_whatever_its_size(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head", email=f"p{n}@firm{n % 20}.example") for n in range(40)]
    run_at(ctx, START, SENT)
    mails = [message(ctx, lead) for lead in leads]
    costs = []
    for number, few in ((1, mails[:2]), (2, mails)):
        at = SENT + number * HOUR
        clicks = [click(mail, at + n * MINUTE / 100) for n, mail in enumerate(few)]
        with recorded_statements(ctx.database) as seen:
            record(ctx, *clicks)
        costs.append(len(seen))
    assert costs[0] == costs[1]


def test_a_scanner_that_follows_every_link_of_everybody_hands_nobody_off(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head", email=f"p{n}@firm{n // 4}.example") for n in range(60)]
    run_at(ctx, START, SENT)
    trace = [
        click(message(ctx, lead), SENT + (2 + n % 5) * SECOND + turn * 0.2 * SECOND, link=link, method=how)
        for n, lead in enumerate(leads)
        for turn, (link, how) in enumerate(LOOKS)
    ]  # fmt: skip
    assert record(ctx, *trace) == len(trace)
    run_at(ctx, SENT + MINUTE, SENT + 5 * MINUTE, SENT + HOUR)
    assert one(ctx, "SELECT count(*) FROM signal WHERE verdict = 'human'") == 0
    assert one(ctx, "SELECT count(*) FROM offer") == 0
    assert {custody(ctx, lead) for lead in leads} == {("track", "welcome")}
    assert one(ctx, "SELECT count(*) FROM enrollment WHERE step <> 'wait-for-click'") == 0


def test_clicks_per_link_message_and_hour_are_limited(ctx: AppContext) -> None:
    _, mail = mailed(ctx)
    at = SENT + HOUR
    flood = [click(mail, at + n * SECOND, ip=f"192.0.2.{n}") for n in range(100)]
    assert record(ctx, *flood[:25]) == 25
    assert record(ctx, *flood) == 35
    assert record(ctx, *flood) == 0
    assert record(ctx, click(mail, at + MINUTE, link="prices")) == 1
    assert record(ctx, click(mail, at + HOUR)) == 1
    assert one(ctx, "SELECT count(*) FROM tracking_request") == 62


def test_clicks_are_reported_for_each_link_and_machines_apart(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head") for _ in range(3)]
    run_at(ctx, START, SENT)
    mails = [message(ctx, lead) for lead in leads]
    for hours, mail, link, how in (
        (1, mails[0], "guide", "GET"),
        (2, mails[0], "guide", "GET"),
        (3, mails[1], "guide", "GET"),
        (4, mails[1], "prices", "HEAD"),
        (5, mails[2], "prices", "GET"),
    ):
        record(ctx, click(mail, SENT + hours * HOUR, link=link, method=how, ip=f"192.0.2.{hours}"))
    record(ctx, click(mails[2], SENT + 8 * SECOND, link="prices", ip="192.0.2.9"))
    assert clicks_per_link(ctx) == [
        ("welcome", "01-hello", "guide", 2, 3, 3, 0, 0),
        ("welcome", "01-hello", "prices", 1, 1, 3, 1, 1),
    ]
    assert clicks_per_link(ctx, "keep") == []
