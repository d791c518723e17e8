"""Test handing leads to sales, and taking them back."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import responses
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    add_leads,
    all_rows,
    custody,
    due_at,
    events,
    messages,
    one,
    record_signal,
    rows,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _offer(ctx: AppContext, lead: int) -> int:
    wanted = "SELECT id FROM offer WHERE lead_id = :id AND state = 'offered'"
    offer: int = one(ctx, wanted, id=lead)
    return offer


def _offered(ctx: AppContext, at: datetime = START) -> tuple[int, int]:
    """Return a lead that has been on its track for an hour, and its open offer."""
    lead = add_lead(ctx, title="Head", at=at)
    run_at(ctx, at, at + HOUR)
    record_signal(ctx, lead, SignalKind.REPLIED, at + HOUR)
    run_at(ctx, at + HOUR)
    return lead, _offer(ctx, lead)


def _enrollments(ctx: AppContext, lead: int) -> list[tuple[str, str | None]]:
    return rows(ctx, "SELECT track, end_reason FROM enrollment WHERE lead_id = :id ORDER BY id", id=lead)  # type: ignore[return-value]


def test_reps_take_turns_and_each_offer_names_its_reasons(ctx: AppContext) -> None:
    add_leads(ctx, 4, demo_requested=True)
    run_at(ctx, START)
    assert [row[0] for row in rows(ctx, "SELECT rep FROM offer ORDER BY id")] == ["ana", "ben", "ana", "ben"]
    ((handoff_reason, routing_reason),) = rows(ctx, "SELECT handoff_reason, routing_reason FROM offer WHERE id = 1")
    assert handoff_reason == "ready: demo_requested is yes"
    assert "everyone: pool everyone, round robin: Ana is next" in routing_reason


def test_turns_go_on_over_the_days(ctx: AppContext) -> None:
    for day in range(3):
        add_lead(ctx, demo_requested=True)
        run_at(ctx, START + day * HOUR)
    assert [row[0] for row in rows(ctx, "SELECT rep FROM offer ORDER BY id")] == ["ana", "ben", "ana"]


def test_leads_beyond_the_daily_capacity_wait_for_the_next_day(ctx: AppContext) -> None:
    add_leads(ctx, 23, demo_requested=True)
    offer_counts = []
    for day in range(3):
        now = START + day * DAY
        run_at(ctx, now, now + 3 * HOUR)
        reps = rows(ctx, "SELECT rep FROM offer WHERE state = 'offered'")
        offer_counts.append(sorted(Counter(rep for (rep,) in reps).values()))
        write(ctx, "UPDATE offer SET state = 'accepted' WHERE state = 'offered'")
    assert offer_counts == [[5, 5], [5, 5], [1, 2]]
    assert one(ctx, "SELECT count(DISTINCT lead_id) FROM offer") == 23


def test_those_who_waited_longest_are_offered_first(ctx: AppContext) -> None:
    early = add_leads(ctx, 12, demo_requested=True)
    run_at(ctx, START)
    add_leads(ctx, 10, at=START + HOUR, demo_requested=True)
    run_at(ctx, START + HOUR, START + DAY)
    offered = [row[0] for row in rows(ctx, "SELECT lead_id FROM offer ORDER BY id")]
    assert set(early) <= set(offered[:12])


def test_a_lead_that_waits_for_capacity_says_so_and_gets_no_touch(ctx: AppContext) -> None:
    leads = add_leads(ctx, 11, demo_requested=True)
    run_at(ctx, START, START + 2 * HOUR)
    waiting = [lead for lead in leads if custody(ctx, lead)[0] == "queue"]
    assert [custody(ctx, lead) for lead in waiting] == [("queue", "hand-off")]
    assert events(ctx, waiting[0])[-1] == "held"
    assert due_at(ctx, waiting[0]) == START.replace(hour=0) + DAY
    assert messages(ctx) == []


def test_accepting_ends_the_track_and_makes_the_rep_the_custodian(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    assert _enrollments(ctx, lead) == [("welcome", None)]
    responses.accept(ctx, offer, START + 2 * HOUR)
    assert custody(ctx, lead) == ("rep", "ana")
    assert _enrollments(ctx, lead) == [("welcome", "accepted")]
    assert due_at(ctx, lead) == START + 2 * HOUR + 2 * DAY
    assert one(ctx, "SELECT state FROM offer") == "accepted"


def test_while_an_offer_is_open_the_track_is_held(ctx: AppContext) -> None:
    lead, _ = _offered(ctx)
    before = len(messages(ctx))
    for hour in range(2, 24):
        run_at(ctx, START + hour * HOUR)
    assert len(messages(ctx)) == before
    assert custody(ctx, lead)[0] == "offer"


@pytest.mark.parametrize(("first", "second"), [("accept", "accept"), ("reject", "accept"), ("reject", "reject")])
def test_an_offer_is_answered_once(ctx: AppContext, first: str, second: str) -> None:
    _, offer = _offered(ctx)

    def answer(how: str) -> None:
        if how == "accept":
            responses.accept(ctx, offer, START + 2 * HOUR)
        else:
            responses.reject(ctx, offer, "not-now", START + 2 * HOUR)

    answer(first)
    before = all_rows(ctx)
    with pytest.raises(InvalidState, match=f"already {first}ed"):
        answer(second)
    assert all_rows(ctx) == before


def test_an_offer_that_is_not_there_is_named(ctx: AppContext) -> None:
    with pytest.raises(NotFound, match="hand-off 77"):
        responses.accept(ctx, 77, START)


def test_an_unknown_reason_changes_nothing_and_names_the_known_ones(ctx: AppContext) -> None:
    _, offer = _offered(ctx)
    before = all_rows(ctx)
    with pytest.raises(InvalidState, match="bad-fit, not-now, please-check, wrong-person"):
        responses.reject(ctx, offer, "dunno", START + 2 * HOUR)
    assert all_rows(ctx) == before


def test_wrong_person_resumes_the_track_after_its_cool_off(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.reject(ctx, offer, "wrong-person", START + 2 * HOUR)
    assert custody(ctx, lead) == ("track", "welcome")
    assert _enrollments(ctx, lead) == [("welcome", None)]
    assert due_at(ctx, lead) == START + 2 * HOUR + 7 * DAY


def test_only_a_hand_off_shortens_a_cool_off(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.reject(ctx, offer, "wrong-person", START + DAY)
    over, before = START + 8 * DAY, messages(ctx)
    record_signal(ctx, lead, SignalKind.VISITED, START + 2 * DAY)
    run_at(ctx, *(START + day * DAY + 2 * HOUR for day in range(2, 8)))
    assert messages(ctx) == before
    assert due_at(ctx, lead) == over
    record_signal(ctx, lead, SignalKind.REPLIED, over - HOUR)
    run_at(ctx, over - HOUR)
    assert custody(ctx, lead)[0] == "offer"


def test_not_now_goes_to_its_track_after_a_cool_off(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    rejected = START + 2 * HOUR
    responses.reject(ctx, offer, "not-now", rejected)
    assert custody(ctx, lead) == ("track", "keep")
    assert _enrollments(ctx, lead) == [("welcome", "moved to keep"), ("keep", None)]
    for day in range(60):
        run_at(ctx, rejected + day * DAY)
    sent = [step for who, step, state, _ in messages(ctx) if who == lead and step != "01-hello"]
    first = one(ctx, "SELECT min(send_at) FROM message WHERE track = 'keep'")
    assert sent[0] == "01-news"
    assert str(first)[:10] >= f"{rejected + 30 * DAY:%Y-%m-%d}"


def test_bad_fit_closes_the_lead_and_please_check_queues_it(ctx: AppContext) -> None:
    unfit, first = _offered(ctx)
    responses.reject(ctx, first, "bad-fit", START + 2 * HOUR)
    assert custody(ctx, unfit) == ("closed", "discarded")
    assert _enrollments(ctx, unfit)[0][1] == "discarded"
    odd, second = _offered(ctx, START + 3 * HOUR)
    responses.reject(ctx, second, "please-check", START + 5 * HOUR)
    assert custody(ctx, odd) == ("queue", "needs-a-look")
    assert due_at(ctx, odd) is not None


def test_signals_that_a_rep_has_answered_do_not_hand_the_lead_off_again(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.reject(ctx, offer, "wrong-person", START + 2 * HOUR)
    for day in range(10):
        run_at(ctx, START + 2 * HOUR + day * DAY)
    assert custody(ctx, lead)[0] == "track"
    assert one(ctx, "SELECT count(*) FROM offer") == 1


def test_a_date_that_the_rep_learned_brings_the_lead_back_in_time(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    decides = date(2026, 9, 1)
    responses.reject(ctx, offer, "not-now", START + 2 * HOUR, decides)
    found = None
    for day in range(40, 200):
        now = START + day * DAY
        run_at(ctx, now)
        if one(ctx, "SELECT count(*) FROM offer") == 2:
            found = now
            break
    assert found is not None
    assert found.date() in (decides - timedelta(days=90), decides - timedelta(days=89))
    assert one(ctx, "SELECT rule FROM offer WHERE id = 2") == "decides-soon"
    assert custody(ctx, lead)[0] == "offer"


def test_an_offer_that_nobody_answers_expires_and_the_track_goes_on(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head of stock")
    run_at(ctx, START)
    for minute in range(3):
        record_signal(ctx, lead, SignalKind.CLICKED, START + minute * timedelta(minutes=1))
    run_at(ctx, START + HOUR)
    run_at(ctx, START + HOUR + DAY - timedelta(minutes=1))
    assert one(ctx, "SELECT state FROM offer") == "offered"
    run_at(ctx, START + HOUR + DAY)
    assert one(ctx, "SELECT state FROM offer") == "expired"
    assert custody(ctx, lead) == ("track", "welcome")
    assert due_at(ctx, lead) == START + HOUR + DAY + 7 * DAY


def test_a_lead_that_came_straight_to_sales_finds_a_track_when_its_offer_expires(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True, title="Head")
    run_at(ctx, START, START + DAY)
    assert custody(ctx, lead) == ("track", "welcome")


def test_a_rep_who_gave_a_lead_back_does_not_get_it_again(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    assert one(ctx, "SELECT rep FROM offer WHERE id = :id", id=offer) == "ana"
    responses.reject(ctx, offer, "wrong-person", START + 2 * HOUR)
    record_signal(ctx, lead, SignalKind.REPLIED, START + 8 * DAY)
    run_at(ctx, START + 8 * DAY)
    assert one(ctx, "SELECT rep FROM offer WHERE id = :id", id=_offer(ctx, lead)) == "ben"


def test_a_lead_that_every_rep_gave_back_waits_for_a_person(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.reject(ctx, offer, "wrong-person", START + 2 * HOUR)
    for days in (8, 16):
        record_signal(ctx, lead, SignalKind.REPLIED, START + days * DAY)
        run_at(ctx, START + days * DAY)
        if days == 8:
            responses.reject(ctx, _offer(ctx, lead), "wrong-person", START + days * DAY)
    assert custody(ctx, lead) == ("queue", "no-rep")
    assert due_at(ctx, lead) == START + 23 * DAY


def test_a_lead_that_sales_gives_back_after_opting_out_leaves_for_its_queue(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, START + 2 * HOUR)
    responses.reject(ctx, offer, "wrong-person", START + 2 * HOUR)
    run_at(ctx, START + 2 * HOUR, START + 10 * DAY)
    assert custody(ctx, lead) == ("queue", "suppressed")
    assert [row[2] for row in messages(ctx)] == ["accepted"]


def test_a_lead_whose_fields_fail_the_rules_does_not_keep_other_offers_from_expiring(
    db: Database, tmp_path: Path
) -> None:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] = rules["tracks/welcome/track.yaml"].replace(
        "audience: {field: title, contains: [head]}", "audience: {field: employees, at_least: 10}"
    )
    ctx = make_context(db, tmp_path, rules=rules)
    bad = add_lead(ctx, demo_requested=True, employees=50)
    good = add_lead(ctx, demo_requested=True, employees=50)
    run_at(ctx, START)
    write(ctx, "UPDATE lead SET fields = '{\"employees\": [1]}' WHERE id = :id", id=bad)
    run_at(ctx, START + DAY)
    assert custody(ctx, good) == ("track", "welcome")
    assert custody(ctx, bad) == ("queue", "track-missing")


def test_an_accepted_lead_without_a_follow_up_gets_a_reminder(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.accept(ctx, offer, START + 2 * HOUR)
    run_at(ctx, START + 3 * DAY)
    assert events(ctx, lead)[-1] == "reminder"
    assert custody(ctx, lead) == ("rep", "ana")


def test_each_offer_has_one_brief_to_its_rep(ctx: AppContext) -> None:
    add_leads(ctx, 3, demo_requested=True)
    run_at(ctx, START, START + HOUR)
    assert rows(ctx, "SELECT send_key, rep, state FROM message WHERE kind = 'brief' ORDER BY id") == [
        ("brief:1", "ana", "accepted"),
        ("brief:2", "ben", "accepted"),
        ("brief:3", "ana", "accepted"),
    ]
