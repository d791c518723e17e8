"""Test escalation (remind, escalate, take back, re-route) and the follow-up of accepted leads."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.handoff import call_back, follow_up, reassign, responses, roster
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, due_at, events, one, record_signal, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 1, 5, 10, tzinfo=UTC)

PEOPLE = """
business_hours: {zone: UTC, hours: "monday to friday 09:00-17:00"}
managers: [{id: lena, name: Lena, email: lena@house.example}]
reps:
  - {id: ana, name: Ana, email: ana@house.example, capacity: 5, manager: lena}
  - {id: ben, name: Ben, email: ben@house.example, capacity: 5, manager: lena}
  - {id: cem, name: Cem, email: cem@house.example, capacity: 5, manager: lena}
sla:
  accept: {remind: 2 business hours, escalate: 4 business hours, take_back: 1 business day, reroute: 1}
  follow_up: {remind: 1 business day, escalate: 2 business days, take_back: 3 business days}
"""


def escalation_rules(people: str = PEOPLE) -> dict[str, str]:
    """Return the tiny definitions with managers, business hours and an SLA."""
    rules = sample_rules()
    policy = rules["sales/policy.yaml"]
    reps = policy[policy.index("reps:") : policy.index("accept_within")]
    rules["sales/policy.yaml"] = policy.replace(reps, people.lstrip("\n"))
    return rules


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path, MONDAY, escalation_rules())


def _offered(ctx: AppContext, at: datetime = MONDAY) -> tuple[int, int]:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=at)
    run_at(ctx, at)
    return lead, _open(ctx, lead)


def _open(ctx: AppContext, lead: int) -> int:
    offer: int = one(ctx, "SELECT id FROM offer WHERE lead_id = :id AND state = 'offered'", id=lead)
    return offer


def _mails(ctx: AppContext) -> list[tuple[str, str, str]]:
    wanted = "SELECT send_key, rep, state FROM message WHERE kind = 'sla' ORDER BY id"
    return rows(ctx, wanted)  # type: ignore[return-value]


def test_each_step_of_an_open_offer_is_done_once_at_its_business_hour(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    assert due_at(ctx, lead) == MONDAY + 2 * HOUR
    run_at(ctx, *(MONDAY + minutes * HOUR / 60 for minutes in (119, 120, 121, 239, 240, 241)))
    run_at(ctx, MONDAY + 20 * HOUR, MONDAY + DAY, MONDAY + DAY + HOUR)
    assert _mails(ctx)[:2] == [(f"sla:{offer}:1", "ana", "accepted"), (f"sla:{offer}:2", "lena", "accepted")]
    wanted = "SELECT at FROM journal WHERE lead_id = :id AND event = 'taken_back'"
    assert str(one(ctx, wanted, id=lead)).startswith("2026-01-06T10:00")
    assert [row[:3] for row in rows(ctx, "SELECT id, rep, state FROM offer ORDER BY id")] == [
        (1, "ana", "expired"),
        (2, "ben", "offered"),
    ]


def test_nights_and_weekends_do_not_count(ctx: AppContext) -> None:
    friday = MONDAY + 4 * DAY + 6 * HOUR  # 16:00
    lead, _ = _offered(ctx, friday)
    assert due_at(ctx, lead) == friday + 3 * DAY - 6 * HOUR  # Monday 10:00
    run_at(ctx, *(friday + hours * HOUR for hours in (2, 20, 44, 60)))
    assert _mails(ctx) == []


def test_reminders_are_emails_that_say_what_to_do(ctx: AppContext, tmp_path: Path) -> None:
    lead, offer = _offered(ctx)
    run_at(ctx, MONDAY + 2 * HOUR, MONDAY + 4 * HOUR)
    mails = [path.read_text("utf-8") for path in (tmp_path / "maildir" / "new").iterdir()]
    shown = "\n".join(mails).replace("=\n", "")
    shown = " ".join(shown.split())
    assert f"nurture handoffs accept {offer}" in shown
    assert f"nurture handoffs reassign {offer} REP" in shown
    assert "taken back on Tuesday 6 January 2026, 10:00 (UTC)" in shown
    assert events(ctx, lead)[-2:] == ["reminded", "escalated"]


def test_a_manager_reads_why_the_lead_was_offered_and_who_has_to_answer(sqlite_db: Database, tmp_path: Path) -> None:
    rules = escalation_rules()
    policy = rules["sales/policy.yaml"]
    rules["sales/policy.yaml"] = policy.replace("- name: ready\n", "- name: ready\n    label: asked for a demo\n", 1)
    ctx = make_context(sqlite_db, tmp_path, MONDAY, rules)
    _offered(ctx)
    run_at(ctx, MONDAY + 2 * HOUR, MONDAY + 4 * HOUR)
    mails = [path.read_text("utf-8").replace("=\n", "") for path in (tmp_path / "maildir" / "new").glob("sla*")]
    assert sorted(("Unless you answer before" in mail, "Unless Ana answers before" in mail) for mail in mails) == [
        (False, True),
        (True, False),
    ]
    assert all("Asked for a demo" in mail and "demo_requested is" not in mail for mail in mails)


def test_what_was_escalated_counts_as_late_until_it_is_done(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    run_at(ctx, MONDAY + 4 * HOUR)
    loaded = roster.load_roster(ctx, MONDAY + 4 * HOUR)
    assert sum(one.overdue_offers for one in loaded) == 1
    responses.accept(ctx, offer, MONDAY + 4 * HOUR)
    run_at(ctx, MONDAY + DAY + 4 * HOUR)
    loaded = roster.load_roster(ctx, MONDAY + DAY + 4 * HOUR)
    assert (sum(one.overdue_offers for one in loaded), sum(one.to_follow_up for one in loaded)) == (0, 1)
    follow_up.record_follow_up(ctx, lead, "call", MONDAY + DAY + 4 * HOUR)
    assert sum(one.to_follow_up for one in roster.load_roster(ctx, MONDAY + DAY + 4 * HOUR)) == 0


def test_after_the_last_rep_the_lead_goes_back_to_a_track(ctx: AppContext) -> None:
    lead, _ = _offered(ctx)
    for hours in (2, 4, 24, 26, 28, 48, 72):
        run_at(ctx, MONDAY + hours * HOUR)
    assert rows(ctx, "SELECT rep, state, round FROM offer ORDER BY id") == [
        ("ana", "expired", 1),
        ("ben", "expired", 2),
    ]
    assert custody(ctx, lead)[0] == "track"


def test_where_no_other_rep_is_left_the_lead_goes_back_to_a_track(sqlite_db: Database, tmp_path: Path) -> None:
    alone = "\n".join(line for line in PEOPLE.split("\n") if "id: ben" not in line and "id: cem" not in line)
    ctx = make_context(sqlite_db, tmp_path, MONDAY, escalation_rules(alone))
    lead, _ = _offered(ctx)
    run_at(ctx, MONDAY + DAY, MONDAY + DAY + HOUR)
    assert custody(ctx, lead) == ("track", "welcome")
    assert one(ctx, "SELECT count(*) FROM offer") == 1


def test_a_late_sweep_takes_back_without_reminding(ctx: AppContext) -> None:
    _offered(ctx)
    run_at(ctx, MONDAY + 2 * DAY)
    assert _mails(ctx) == []
    assert one(ctx, "SELECT state FROM offer WHERE id = 1") == "expired"


def test_an_answer_stops_the_escalation(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.accept(ctx, offer, MONDAY + HOUR)
    run_at(ctx, *(MONDAY + hours * HOUR for hours in (2, 4, 8)))
    assert _mails(ctx) == []
    assert due_at(ctx, lead) == MONDAY + HOUR + DAY


def test_an_accepted_lead_that_nobody_calls_is_escalated(ctx: AppContext) -> None:
    _, offer = _offered(ctx)
    responses.accept(ctx, offer, MONDAY)
    for hours in (0, 4, 23, 24, 25, 47, 48, 49, 72):
        run_at(ctx, MONDAY + hours * HOUR)
    assert _mails(ctx)[:2] == [(f"sla:{offer}:3", "ana", "accepted"), (f"sla:{offer}:4", "lena", "accepted")]
    assert rows(ctx, "SELECT rep, state FROM offer ORDER BY id")[0] == ("ana", "lapsed")
    assert one(ctx, "SELECT rep FROM offer WHERE id = 2") == "ben"


@pytest.mark.parametrize("how", ["call", "reply"])
def test_a_follow_up_stops_the_escalation(ctx: AppContext, how: str) -> None:
    lead, offer = _offered(ctx)
    responses.accept(ctx, offer, MONDAY)
    if how == "call":
        assert follow_up.record_follow_up(ctx, lead, "call", MONDAY + HOUR) == "ana"
    else:
        record_signal(ctx, lead, SignalKind.REPLIED, MONDAY + HOUR)
    run_at(ctx, *(MONDAY + days * DAY for days in (1, 2, 3, 4)))
    assert _mails(ctx) == []
    assert custody(ctx, lead) == ("rep", "ana")
    assert one(ctx, "SELECT follow_up_method FROM offer") == how
    assert due_at(ctx, lead) == MONDAY + HOUR + 60 * DAY + HOUR  # one working hour later


def test_a_reply_before_acceptance_is_no_follow_up(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY + HOUR)
    responses.accept(ctx, offer, MONDAY + 2 * HOUR)
    run_at(ctx, MONDAY + 3 * HOUR)
    assert one(ctx, "SELECT followed_up_at FROM offer") is None
    with pytest.raises(InvalidState, match="No rep has lead"):
        follow_up.record_follow_up(ctx, add_lead(ctx, at=MONDAY), "call", MONDAY + 3 * HOUR)


def test_a_closed_lead_does_not_count_as_open_work(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.accept(ctx, offer, MONDAY)
    close_lead(ctx, lead, Closing.LOST, MONDAY + HOUR, reason="no budget")
    assert one(ctx, "SELECT follow_up_method FROM offer") == "closed"


def test_an_open_offer_is_given_to_another_rep(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    run_at(ctx, MONDAY + 2 * HOUR)
    reassign.reassign(ctx, offer, "cem", MONDAY + 3 * HOUR)
    assert rows(ctx, "SELECT rep, state, escalation_level FROM offer ORDER BY id") == [
        ("ana", "reassigned", 1),
        ("cem", "offered", 0),
    ]
    assert due_at(ctx, lead) == MONDAY + 5 * HOUR
    assert "reassigned" in events(ctx, lead)


def test_an_accepted_lead_is_reassigned_once_the_other_rep_accepts(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.accept(ctx, offer, MONDAY)
    reassign.reassign(ctx, offer, "ben", MONDAY + HOUR)
    assert custody(ctx, lead)[0] == "offer"
    responses.accept(ctx, _open(ctx, lead), MONDAY + 2 * HOUR)
    assert custody(ctx, lead) == ("rep", "ben")
    assert rows(ctx, "SELECT state FROM offer ORDER BY id") == [("reassigned",), ("accepted",)]


@pytest.mark.parametrize(
    ("to", "message"), [("ana", "is already with ana"), ("zoe", "Reps: ana, ben, cem"), ("ben", "5 of 5 today")]
)
def test_what_cannot_be_reassigned_changes_nothing(ctx: AppContext, to: str, message: str) -> None:
    _, offer = _offered(ctx)
    for _ in range(14):
        add_lead(ctx, demo_requested=True, at=MONDAY)
    run_at(ctx, MONDAY)
    with pytest.raises(Exception, match=message):
        reassign.reassign(ctx, offer, to, MONDAY + HOUR)
    assert one(ctx, "SELECT state FROM offer WHERE id = :id", id=offer) == "offered"
    if to == "ben":
        reassign.reassign(ctx, offer, to, MONDAY + HOUR, force=True)
        assert one(ctx, "SELECT state FROM offer WHERE id = :id", id=offer) == "reassigned"


def test_a_lead_that_its_rep_asked_for_begins_a_hand_off_of_its_own(ctx: AppContext) -> None:
    lead, offer = _offered(ctx)
    responses.reject(ctx, offer, "not-now", MONDAY + HOUR)
    asked = MONDAY + 7 * DAY
    call_back.claim_lead(ctx, lead, "ben", asked)
    run_at(ctx, asked + DAY, asked + DAY)
    assert rows(ctx, "SELECT rep, state, round FROM offer ORDER BY id") == [
        ("ana", "rejected", 1),
        ("ben", "expired", 1),
        ("cem", "offered", 2),
    ]


def test_open_offers_go_to_the_next_rep_when_leave_begins(ctx: AppContext) -> None:
    lead, _ = _offered(ctx)
    begins = date(2026, 1, 6)
    roster.add_leave(ctx, "ana", begins, begins, None, MONDAY)
    assert due_at(ctx, lead) == MONDAY + 2 * HOUR, "the ladder comes sooner"
    run_at(ctx, MONDAY + 4 * HOUR)
    assert due_at(ctx, lead) == MONDAY + DAY
    roster.cancel_leave(ctx, "ana", begins, MONDAY + 5 * HOUR)
    roster.add_leave(ctx, "ana", MONDAY.date(), begins, None, MONDAY + 5 * HOUR)
    run_at(ctx, MONDAY + 5 * HOUR)
    assert rows(ctx, "SELECT rep, state, round FROM offer ORDER BY id") == [
        ("ana", "expired", 1),
        ("ben", "offered", 2),
    ]


def test_an_offer_is_taken_back_when_leave_begins_even_without_reroutes(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = make_context(sqlite_db, tmp_path, MONDAY, escalation_rules(PEOPLE.replace("reroute: 1", "reroute: 0")))
    lead, _ = _offered(ctx)
    roster.add_leave(ctx, "ana", MONDAY.date(), MONDAY.date(), None, MONDAY + HOUR)
    run_at(ctx, MONDAY + HOUR)
    assert custody(ctx, lead) == ("offer", "2")


def test_a_lead_that_only_somebody_on_leave_takes_is_offered_when_they_are_back(
    sqlite_db: Database, tmp_path: Path
) -> None:
    more = (
        "pools: {south: {reps: [ana]}}\nrouting: [{name: account, to: account owner}, "
        "{name: all, when: always, to: {pool: south}}]\n"
    )
    ctx = make_context(sqlite_db, tmp_path, MONDAY, escalation_rules(PEOPLE + more))
    roster.add_leave(ctx, "ana", MONDAY.date(), MONDAY.date(), None, MONDAY)
    lead = add_lead(ctx, demo_requested=True, at=MONDAY)
    run_at(ctx, MONDAY)
    assert custody(ctx, lead) == ("queue", "no-rep")
    run_at(ctx, MONDAY + DAY, MONDAY + DAY)
    assert custody(ctx, lead) == ("offer", "1")
    other = add_lead(ctx, demo_requested=True, at=MONDAY + DAY)
    tuesday = date(2026, 1, 6)
    roster.add_leave(ctx, "ana", tuesday, tuesday, None, MONDAY + DAY)
    run_at(ctx, MONDAY + DAY)
    roster.cancel_leave(ctx, "ana", tuesday, MONDAY + DAY + HOUR)
    run_at(ctx, MONDAY + DAY + HOUR, MONDAY + DAY + HOUR)
    assert custody(ctx, other)[0] == "offer", "who comes back sooner is given it sooner"


def test_explain_shows_the_next_step(ctx: AppContext) -> None:
    lead, _ = _offered(ctx)
    trace = explain.explain(ctx, lead, MONDAY + HOUR)
    assert trace.next_action == "ana answers; else ana is reminded at 2026-01-05 12:00 UTC"
    escalation = dict(explain.summary(trace))["escalation"]
    assert escalation == (
        "remind on 2026-01-05 12:00 UTC, escalate on 2026-01-05 14:00 UTC, take back on 2026-01-06 10:00 UTC"
    )
