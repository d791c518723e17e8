"""Test that a lead that asks for contact is with sales after one sweep, whatever its state was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import bindparam, func, select, text

from nurture.db.engine import Database
from nurture.db.tables import delivery as delivery_tables
from nurture.db.tables.base import table
from nurture.db.types import UtcDateTime
from nurture.domain.lead import Closing, PausedBy
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.handoff import call_back, responses
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.intake import import_file
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import signal_queries
from nurture.journey.tracks import manual
from nurture.reporting import explain
from nurture.reporting.leads import list_leads
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.engagement.test_replies import process_replies, reply_address
from tests.journey.handoff.lead_states import (
    DAY,
    HOUR,
    NOW,
    STATES,
    closed,
    find_offer,
    lead_in,
    on_track,
    paused,
    reach,
    waiting_for_capacity,
)
from tests.journey.observe import (
    custody,
    due_at,
    events,
    new_signal,
    one,
    record_signal,
    recorded_statements,
    rows,
)
from tests.mail.inbound.replying import mail

DEMO, REPLIED, DECIDING = SignalKind.REQUESTED_DEMO, SignalKind.REPLIED, SignalKind.DECIDING
POLICY: Final = "sales/policy.yaml"
WELCOME: Final = "tracks/welcome/track.yaml"
KEEP: Final = "tracks/keep/track.yaml"


def rules() -> dict[str, str]:
    """The tiny definitions with a criterion for demos; only heads and deputies match a track."""
    found = sample_rules()
    demo = "  - name: demo\n    when: {did: requested_demo}\n"
    found[POLICY] = found[POLICY].replace("hand_off_when:\n", f"hand_off_when:\n{demo}")
    found[POLICY] = found[POLICY].replace("then: {track: keep}, cool_off", "then: {track: welcome}, cool_off")
    found[WELCOME] = found[WELCOME].replace("goal:", "topic: news\ngoal:").replace("after 30 days", "after 1 day")
    found[KEEP] = found[KEEP].replace("audience: everybody", "audience: {field: title, contains: [deputy]}")
    return found


def _context(db: Database, folder: Path, sources: dict[str, str]) -> AppContext:
    ctx = make_context(db, folder, rules=sources)
    ctx.reply_domain = "in.example.com"
    return ctx


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return _context(db, tmp_path, rules())


@pytest.fixture
def roomy(db: Database, tmp_path: Path) -> AppContext:
    """A context whose reps have room for a lead in each state."""
    found = rules()
    found[POLICY] = found[POLICY].replace("capacity: 5", "capacity: 500")
    return _context(db, tmp_path, found)


def with_sales(ctx: AppContext, lead: int) -> bool:
    """Return whether the lead is with a rep, or will be at a known time."""
    kind, ref = custody(ctx, lead)
    return due_at(ctx, lead) is not None and (kind in ("offer", "rep") or (kind, ref) == ("queue", "hand-off"))


def mailed_since(ctx: AppContext, lead: int, since: datetime) -> int:
    message = table(delivery_tables.Message)
    of_lead = (message.c.lead_id == lead) & (message.c.kind == "touch") & (message.c.planned_at >= since)
    with ctx.database.read() as tx:
        return int(tx.execute(select(func.count()).where(of_lead)).scalar_one())


def nobody_answers(ctx: AppContext, leads: Mapping[str, int], since: datetime) -> None:
    """Let weeks pass without a rep who answers: the leads stay with sales, or wait for a person."""
    decision = ("queue", "manager-decision")
    for days in (1, 2, 3, 9, 10, 11, 18):
        run_at(ctx, since + days * DAY)
        for state, lead in leads.items():
            waits = custody(ctx, lead) == decision
            assert waits or with_sales(ctx, lead), (days, state, custody(ctx, lead), events(ctx, lead))
    assert {state: custody(ctx, lead) for state, lead in leads.items()} == dict.fromkeys(leads, decision)
    listed = list_leads(ctx, since + 18 * DAY, queue="manager-decision")
    assert {row.id for row in listed} >= set(leads.values())
    assert {state: mailed_since(ctx, lead, since) for state, lead in leads.items()} == dict.fromkeys(leads, 0)


def ask_for_contact(ctx: AppContext, leads: Mapping[str, int], kind: SignalKind) -> None:
    """Let the leads ask for contact: one sweep later they are with sales, and stay there."""
    later = NOW + 3 * HOUR
    value = "2026-02-20" if kind is DECIDING else None
    for lead in leads.values():
        record_signal(ctx, lead, kind, later, value)
    run_at(ctx, later)
    for state, lead in leads.items():
        assert with_sales(ctx, lead), (state, custody(ctx, lead), events(ctx, lead))
    nobody_answers(ctx, leads, later)


@pytest.mark.parametrize("kind", [DEMO, REPLIED, DECIDING])
def test_after_a_request_the_lead_is_with_sales_within_one_sweep(roomy: AppContext, kind: SignalKind) -> None:
    ask_for_contact(roomy, reach(roomy, STATES), kind)


@pytest.mark.parametrize("kind", [DEMO, REPLIED, DECIDING])
def test_a_request_of_a_lead_for_which_no_rep_has_room_stays_with_sales(ctx: AppContext, kind: SignalKind) -> None:
    ask_for_contact(ctx, reach(ctx, {"waiting for capacity": waiting_for_capacity}), kind)


def test_interest_alone_hands_off_no_lead_that_may_not_be_mailed(roomy: AppContext) -> None:
    begins = ("suppressed", "just", "unsub", "no mail", "without a basis", "without an", "paused")
    leads = reach(roomy, {name: state for name, state in STATES.items() if name.startswith(begins)})
    for hour in range(1, 5):
        for lead in leads.values():
            record_signal(roomy, lead, SignalKind.CLICKED, NOW + hour * HOUR)
    run_at(roomy, NOW + DAY, NOW + 2 * DAY)
    assert {state: custody(roomy, lead) for state, lead in leads.items() if with_sales(roomy, lead)} == {}


SILENT: Final = [
    "unsubscribed",
    "suppressed by complaint",
    "no mail about its topic",
    "without a basis",
    "without an address",
]


@pytest.mark.parametrize("answer", ["not-now", "wrong-person"])
def test_a_lead_that_may_not_be_mailed_returns_to_its_queue_and_is_not_offered_again(
    roomy: AppContext, answer: str
) -> None:
    def count_offers(lead: int) -> int:
        return int(one(roomy, "SELECT count(*) FROM offer WHERE lead_id = :lead", lead=lead))

    leads = reach(roomy, {name: STATES[name] for name in SILENT})
    queues = {lead: custody(roomy, lead) for lead in leads.values()}
    for lead in queues:
        record_signal(roomy, lead, DEMO, NOW + HOUR)
    run_at(roomy, NOW + HOUR)
    offers = {lead: count_offers(lead) for lead in queues}
    for lead in queues:
        responses.reject(roomy, find_offer(roomy, lead), answer, NOW + 2 * HOUR)
    run_at(roomy, NOW + 2 * DAY, NOW + 9 * DAY, NOW + 40 * DAY)
    for state, lead in leads.items():
        back = (queues[lead], ("resting", "no-track"))  # the opt-out may concern one topic only
        assert custody(roomy, lead) in back, state
        assert count_offers(lead) == offers[lead], state
        assert mailed_since(roomy, lead, NOW) == 0, state
        record_signal(roomy, lead, REPLIED, NOW + 41 * DAY)
    run_at(roomy, NOW + 41 * DAY)
    assert {lead: count_offers(lead) - 1 for lead in queues} == offers


def test_a_call_that_no_rep_makes_waits_for_a_person(roomy: AppContext) -> None:
    leads = reach(roomy, {name: STATES[name] for name in (*SILENT, "on its track")})
    with roomy.database.write() as tx:
        for lead in leads.values():
            leads_queries.set_callback_date(tx, lead, date(2026, 1, 7), NOW)
        signal_queries.make_due(tx, list(leads.values()), NOW, include_parked=True)
    called = START.replace(day=7, hour=0)
    run_at(roomy, NOW, called)
    for state, lead in leads.items():
        assert with_sales(roomy, lead), state
    nobody_answers(roomy, leads, called)


def test_an_answer_after_a_decision_ends_the_request(ctx: AppContext) -> None:
    lead = lead_in(ctx, STATES["unsubscribed"])
    record_signal(ctx, lead, DEMO, NOW + HOUR)
    run_at(ctx, NOW + HOUR, NOW + HOUR + DAY)
    assert custody(ctx, lead) == ("queue", "manager-decision")
    week = NOW + HOUR + 8 * DAY
    run_at(ctx, week)
    decide_waiting(ctx, lead, Decision(DecisionKind.ASSIGN, "ana", rep="ana"), week)
    offer = one(ctx, "SELECT id FROM offer WHERE state = 'offered'")
    responses.reject(ctx, offer, "not-now", week + HOUR)
    run_at(ctx, week + DAY, week + 40 * DAY)
    assert custody(ctx, lead) == ("queue", "suppressed")


@pytest.mark.parametrize("named", ["call", "date"])
def test_a_stated_date_outlives_an_unanswered_offer_for_interest(ctx: AppContext, named: str) -> None:
    lead = lead_in(ctx, on_track)
    if named == "call":
        with ctx.database.write() as tx:
            leads_queries.set_callback_date(tx, lead, date(2026, 1, 20), NOW)
    else:
        record_signal(ctx, lead, DECIDING, NOW, "2026-04-20")  # 90 days before is 2026-01-20
    for hour in range(1, 4):
        record_signal(ctx, lead, SignalKind.CLICKED, NOW + hour * HOUR)
    run_at(ctx, NOW + 4 * HOUR)
    assert with_sales(ctx, lead)
    run_at(ctx, NOW + 2 * DAY)
    assert custody(ctx, lead) == ("track", "welcome")
    run_at(ctx, NOW + 3 * DAY)
    assert custody(ctx, lead) == ("track", "welcome")
    run_at(ctx, START.replace(day=20, hour=0))
    assert with_sales(ctx, lead)


def test_a_request_that_a_rep_accepted_is_spent_when_the_lead_comes_back(ctx: AppContext) -> None:
    lead = lead_in(ctx, closed(Closing.LOST))
    record_signal(ctx, lead, SignalKind.REGISTERED, NOW + 30 * DAY)
    run_at(ctx, NOW + 30 * DAY, NOW + 30 * DAY + HOUR)
    assert custody(ctx, lead) == ("track", "welcome")
    record_signal(ctx, lead, REPLIED, NOW + 31 * DAY)
    run_at(ctx, NOW + 31 * DAY)
    assert with_sales(ctx, lead)


def test_a_lead_that_a_readiness_rule_discards_by_name_is_not_handed_off(ctx: AppContext) -> None:
    for settings in ({"consent_basis": None}, {"email": None}):
        student = add_lead(ctx, title="student", **settings)  # type: ignore[arg-type]
        record_signal(ctx, student, DEMO, START)
        run_at(ctx, START)
        assert custody(ctx, student) in (("queue", "no-consent-basis"), ("queue", "no-address"))
        record_signal(ctx, student, REPLIED, START)
        run_at(ctx, START)
        assert custody(ctx, student) in (("queue", "no-consent-basis"), ("queue", "no-address"))


def test_a_request_of_a_customer_goes_to_the_rep_who_had_it(ctx: AppContext) -> None:
    lead = lead_in(ctx, closed(Closing.WON))
    run_at(ctx, NOW + HOUR / 2)
    assert custody(ctx, lead) == ("resting", "customer")
    record_signal(ctx, lead, DEMO, NOW + HOUR)
    run_at(ctx, NOW + HOUR)
    assert custody(ctx, lead)[0] == "offer"
    first, again = rows(ctx, "SELECT rep FROM offer WHERE lead_id = :id ORDER BY id", id=lead)
    assert first == again


@pytest.mark.parametrize("queue", ["no-consent-basis", "no-address", "suppressed", "no-track"])
def test_a_date_that_comes_near_and_a_call_wake_a_lead_in_a_queue(ctx: AppContext, queue: str) -> None:
    state = {"no-consent-basis": "without a basis", "no-address": "without an address", "suppressed": "unsubscribed"}
    lead = lead_in(ctx, STATES[state.get(queue, "without a track")])
    record_signal(ctx, lead, DECIDING, NOW + HOUR, "2026-04-20")  # 90 days before is 2026-01-20
    run_at(ctx, NOW + HOUR)
    assert custody(ctx, lead)[1] == queue
    near = START.replace(day=20, hour=0)
    run_at(ctx, *(START + day * DAY for day in range(1, 15)))
    assert START + 14 * DAY < (due_at(ctx, lead) or near) <= near
    run_at(ctx, near)
    assert with_sales(ctx, lead)
    offer = one(ctx, "SELECT max(id) FROM offer")
    call_back.call_back(ctx, offer, date(2026, 1, 23), near + HOUR)
    run_at(ctx, near + HOUR, near + 2 * DAY)
    assert not with_sales(ctx, lead)
    run_at(ctx, near + 3 * DAY)
    assert with_sales(ctx, lead)


@pytest.mark.parametrize("silence", ["paused", "unsubscribed", "lost"])
def test_a_file_that_newly_requests_a_demo_is_a_request_of_today(ctx: AppContext, tmp_path: Path, silence: str) -> None:
    def bring_in(demo: str, at: datetime) -> None:
        file = tmp_path / "leads.csv"
        file.write_text(
            "Lead ID,Email,Job Title,Consent,Registered On,Demo Requested\n"
            f"7,mia@people.example,Head,yes,2025-11-03,{demo}\n"
        )
        import_file.import_file(ctx, file, at)

    bring_in("", START)
    run_at(ctx, START, NOW)
    lead = one(ctx, "SELECT id FROM lead")
    if silence == "paused":
        manual.pause(ctx, lead, NOW + 90 * DAY, NOW)
    elif silence == "unsubscribed":
        record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, NOW)
    else:
        close_lead(ctx, lead, Closing.LOST, NOW)
    run_at(ctx, NOW)
    assert not with_sales(ctx, lead)
    bring_in("yes", NOW + DAY)
    run_at(ctx, NOW + DAY)
    assert with_sales(ctx, lead)
    responses.reject(ctx, one(ctx, "SELECT max(id) FROM offer"), "wrong-person", NOW + DAY + HOUR)
    bring_in("yes", NOW + 2 * DAY)
    run_at(ctx, NOW + 2 * DAY)
    assert not with_sales(ctx, lead)


@pytest.mark.parametrize(
    "queue", ["ambiguous", "no-rep", "account-ambiguous", "account-owner-unavailable", "missing-field"]
)
def test_a_request_reminds_a_person_of_a_lead_in_review(ctx: AppContext, queue: str) -> None:
    lead = add_lead(ctx, title="Head")
    wanted = "UPDATE custody SET kind='queue', ref=:queue, due_at=:due, version=version+1 WHERE lead_id=:lead"
    with ctx.database.write() as tx:
        wanted_due = text(wanted).bindparams(bindparam("due", type_=UtcDateTime()))
        tx.execute(wanted_due, {"queue": queue, "lead": lead, "due": START + 7 * DAY})
    record_signal(ctx, lead, SignalKind.CLICKED, NOW)
    assert due_at(ctx, lead) == START + 7 * DAY
    record_signal(ctx, lead, DEMO, NOW)
    assert due_at(ctx, lead) == NOW
    run_at(ctx, NOW)
    assert with_sales(ctx, lead) or (custody(ctx, lead), due_at(ctx, lead)) == (("queue", "ambiguous"), NOW + DAY)
    listed = list_leads(ctx, NOW, queue="ambiguous")
    assert [row.next_action for row in listed] == (
        ["choose the matching lead: it asked for contact, and matches two known leads"] if queue == "ambiguous" else []
    )


# Out-of-office messages and replies


def _away(ctx: AppContext, folder: Path, until: str = "30 January 2026", number: str = "1") -> bytes:
    return mail(
        f"I am out of office until {until}.",
        to=reply_address(ctx, folder),
        subject="Automatic reply: Hello",
        number=number,
        Auto_Submitted="auto-replied",
    )


def _pause(ctx: AppContext) -> tuple[object, ...]:
    (row,) = rows(ctx, "SELECT paused_until IS NULL, paused_by FROM lead")
    return row


def test_a_personal_answer_ends_an_out_of_office_pause_and_hands_off(ctx: AppContext, tmp_path: Path) -> None:
    lead = lead_in(ctx, on_track)
    process_replies(ctx, _away(ctx, tmp_path), now=NOW)
    run_at(ctx, NOW)
    assert (bool(_pause(ctx)[0]), _pause(ctx)[1]) == (False, "out-of-office")
    said = mail("Yes, we want to buy. Please call me today.", to=reply_address(ctx, tmp_path), number="2")
    process_replies(ctx, said, now=NOW + HOUR)
    assert (bool(_pause(ctx)[0]), _pause(ctx)[1]) == (True, None)
    run_at(ctx, NOW + 2 * HOUR)
    assert with_sales(ctx, lead)
    assert "resumed" in events(ctx, lead)


def test_a_colleagues_answer_hands_off_and_keeps_the_out_of_office_pause(ctx: AppContext, tmp_path: Path) -> None:
    lead = lead_in(ctx, on_track)
    said = mail("Call us.", to=reply_address(ctx, tmp_path), sender="Kim <kim@people.example>", number="2")
    process_replies(ctx, _away(ctx, tmp_path), said, now=NOW)
    run_at(ctx, NOW + HOUR)
    assert _pause(ctx)[1] == "out-of-office"
    assert with_sales(ctx, lead)


def test_a_pause_by_the_lead_stays_after_an_answer(ctx: AppContext, tmp_path: Path) -> None:
    lead = lead_in(ctx, paused(PausedBy.PREFERENCE_PAGE))
    process_replies(ctx, _away(ctx, tmp_path, "30 August 2026"), now=NOW + HOUR)
    said = mail("Call me.", to=reply_address(ctx, tmp_path), number="2")
    process_replies(ctx, said, now=NOW + 2 * HOUR)
    run_at(ctx, NOW + 2 * HOUR)
    assert with_sales(ctx, lead)
    assert _pause(ctx)[1] == PausedBy.PREFERENCE_PAGE
    responses.reject(ctx, one(ctx, "SELECT max(id) FROM offer"), "wrong-person", NOW + 3 * HOUR)
    run_at(ctx, NOW + 3 * HOUR, NOW + 20 * DAY)
    assert custody(ctx, lead) == ("track", "welcome")
    assert mailed_since(ctx, lead, NOW) == 0


def test_an_answer_written_before_the_out_of_office_reply_does_not_end_the_pause(
    ctx: AppContext, tmp_path: Path
) -> None:
    lead_in(ctx, on_track)
    process_replies(ctx, _away(ctx, tmp_path), now=NOW + HOUR)
    early = mail("Call me.", to=reply_address(ctx, tmp_path), number="2").replace(b" 11:30:", b" 10:30:")
    process_replies(ctx, early, now=NOW + 2 * HOUR)
    assert _pause(ctx)[1] == "out-of-office"


@pytest.mark.parametrize("state", ["on its track", "paused on its page", "suppressed by page"])
def test_an_answer_that_asks_to_be_left_alone_is_no_request(ctx: AppContext, tmp_path: Path, state: str) -> None:
    lead = lead_in(ctx, STATES[state])
    said = mail("Please stop writing to me.", to=reply_address(ctx, tmp_path), number="2")
    process_replies(ctx, said, now=NOW + HOUR)
    run_at(ctx, NOW + HOUR, NOW + DAY)
    assert custody(ctx, lead) == ("queue", "suppressed")


# Cost, and journal texts


def test_waking_costs_as_many_statements_for_many_leads_as_for_one(ctx: AppContext) -> None:
    def cost(leads: list[int], at: datetime) -> int:
        with recorded_statements(ctx.database) as seen:
            engagement_signals.record(ctx, [new_signal(lead, DEMO, at) for lead in leads], at)
        return len(seen)

    few = [add_lead(ctx, title="Head", consent_basis=None)]
    many = [add_lead(ctx, title="Head", consent_basis=None) for _ in range(40)]
    run_at(ctx, START)
    assert cost(few, NOW) == cost(many, NOW + HOUR)
    assert {due_at(ctx, lead) for lead in many} == {NOW + HOUR}


def test_a_lead_in_a_queue_that_did_something_else_keeps_its_day(ctx: AppContext) -> None:
    lead = lead_in(ctx, STATES["without a basis"])
    assert due_at(ctx, lead) == START + 7 * DAY
    record_signal(ctx, lead, SignalKind.CLICKED, NOW + HOUR)
    assert due_at(ctx, lead) == NOW + HOUR
    run_at(ctx, NOW + HOUR)
    assert due_at(ctx, lead) == START + 7 * DAY
    assert "reminder" not in events(ctx, lead)
    run_at(ctx, START + 7 * DAY + HOUR)
    assert due_at(ctx, lead) == START + 14 * DAY
    assert events(ctx, lead).count("reminder") == 1


def test_explain_shows_which_request_overrides_the_hold(ctx: AppContext) -> None:
    lead = lead_in(ctx, paused(PausedBy.PREFERENCE_PAGE))
    assert explain.explain(ctx, lead, NOW).hold.guard == "paused"
    record_signal(ctx, lead, DEMO, NOW + HOUR)
    hold = explain.explain(ctx, lead, NOW + HOUR).hold
    assert (hold.guard, hold.skipped_guard) == ("", "paused")
    assert hold.reason == "demo: requested_demo on 2026-01-05"


def test_explain_shows_a_lead_in_a_queue(ctx: AppContext) -> None:
    lead = lead_in(ctx, STATES["without a basis"])
    hold = explain.explain(ctx, lead, NOW).hold
    assert (hold.guard, hold.reason) == ("queue", "waits in the queue no-consent-basis")
    record_signal(ctx, lead, DEMO, NOW + HOUR)
    said = dict(explain.summary(explain.explain(ctx, lead, NOW + HOUR)))
    assert said["now"] == "a request has precedence over queue: demo: requested_demo on 2026-01-05"
    assert "held by" not in said
