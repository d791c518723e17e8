"""Queues: who is notified of what waits, when, and how long; only a person ends the wait of a hot lead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.domain.lead import Queue
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.handoff import responses, sweep
from nurture.journey.handoff.waiting.checks import check_queue_batch
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.handoff.waiting.emails import plan_morning_emails
from nurture.journey.handoff.waiting.lists import load_waiting
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.reporting.audit import run_audit
from nurture.reporting.queues import report_queues
from nurture.runtime.context import AppContext
from tests.journey.builders import add_lead, make_context, run_at
from tests.journey.handoff.test_sla_sweep import PEOPLE, escalation_rules
from tests.journey.observe import (
    add_leads,
    custody,
    due_at,
    events,
    one,
    record_signal,
    recorded_statements,
    rows,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 1, 5, 10, tzinfo=UTC)
QUEUES = """queues:
  manager-decision: {owner: lena, within: 4 business hours, deputy: ana}
  needs-budget: {owner: lena, within: 1 business day, deputy: ana}
  others: {owner: lena, within: 5 business days, deputy: ana}
"""
DECISION = ("queue", "manager-decision")


def waiting_rules(people: str = PEOPLE) -> dict[str, str]:
    """Return the definitions with managers, an SLA, a hot rule, and a queue whose name looks like one of ours."""
    rules = escalation_rules(people)
    policy = rules["sales/policy.yaml"]
    old = next(line for line in policy.splitlines(keepends=True) if line.startswith("queues:"))
    policy = policy.replace(old, QUEUES).replace("{queue: needs-a-look}", "{queue: needs-budget}")
    rules["sales/policy.yaml"] = policy + "priority: {hot: [ready], aging_interval: 1 day}\n"
    return rules


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path, MONDAY, waiting_rules())


def _ignored(ctx: AppContext) -> int:
    """Return a hot lead that two reps have ignored; the second offer ended on Wednesday at 10:00."""
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_at(ctx, MONDAY, MONDAY + DAY, MONDAY + 2 * DAY)
    return lead


def _mails(ctx: AppContext) -> list[tuple[str, str]]:
    return rows(ctx, "SELECT rep, send_at FROM message WHERE kind = 'waiting' ORDER BY id")  # type: ignore[return-value]


def _notified(ctx: AppContext, at: datetime) -> set[str]:
    return {rep for rep, sent in _mails(ctx) if f"{sent}".replace(" ", "T").startswith(f"{at:%Y-%m-%dT%H:%M}")}


def test_a_hot_lead_that_nobody_answers_waits_for_the_manager_who_is_notified_at_once(ctx: AppContext) -> None:
    lead = _ignored(ctx)
    assert custody(ctx, lead) == DECISION
    assert _notified(ctx, MONDAY + 2 * DAY) >= {"lena"}
    assert events(ctx, lead)[-1] == "recycled"
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        found = load_waiting(tx, policy, ctx.holidays, MONDAY + 2 * DAY, person="lena", limit=9)
    assert found.histories[lead] == ["Ben did not answer (07 Jan 2026)", "Ana did not answer (06 Jan 2026)"]
    assert "a manager decides: expired; it is hot" in str(one(ctx, "SELECT next_action FROM custody"))
    spent = "SELECT signals_since FROM lead WHERE id = :id"
    assert one(ctx, spent, id=lead) is None


def test_no_sweep_ends_the_wait_for_a_decision_and_the_deputy_is_notified_after_its_time(ctx: AppContext) -> None:
    lead = _ignored(ctx)
    assert due_at(ctx, lead) == MONDAY + 2 * DAY + 4 * HOUR
    run_at(ctx, MONDAY + 2 * DAY + 3 * HOUR)
    assert _notified(ctx, MONDAY + 2 * DAY + 3 * HOUR) == set()
    run_at(ctx, MONDAY + 2 * DAY + 4 * HOUR)
    assert _notified(ctx, MONDAY + 2 * DAY + 4 * HOUR) == {"ana", "lena"}
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY + 3 * DAY)
    run_at(ctx, *(MONDAY + days * DAY for days in range(3, 60)))
    assert custody(ctx, lead) == DECISION
    assert _notified(ctx, MONDAY + 50 * DAY) == {"ana", "lena"}
    assert [(found.kind, found.lead_ids) for found in run_audit(ctx, MONDAY + 60 * DAY).findings] == [
        ("queue-overdue", (lead,))
    ]


@pytest.mark.parametrize(
    ("decision", "custodian"),
    [
        (Decision(DecisionKind.ASSIGN, "lena", rep="cem"), "offer"),
        (Decision(DecisionKind.NURTURE, "lena", reason="asked by mistake"), "track"),
        (Decision(DecisionKind.DISCARD, "lena", reason="a competitor"), "closed"),
    ],
)
def test_a_decision_ends_the_wait_once(ctx: AppContext, decision: Decision, custodian: str) -> None:
    lead, at = _ignored(ctx), MONDAY + 2 * DAY + HOUR
    assert decide_waiting(ctx, lead, decision, at) == "manager-decision"
    assert custody(ctx, lead)[0] == custodian
    with pytest.raises(InvalidState, match="waits in no queue"):
        decide_waiting(ctx, lead, decision, at)
    run_at(ctx, at, at + HOUR)
    assert custody(ctx, lead)[0] == custodian
    assert [(row.queue, row.left, row.late) for row in report_queues(ctx, at) if row.queue == "manager-decision"] == [
        ("manager-decision", 1, 0)
    ]
    if decision.rep:
        assert rows(ctx, "SELECT rep, state, hot FROM offer ORDER BY id DESC LIMIT 1") == [("cem", "offered", 1)]


def test_nobody_gets_two_lists_at_the_same_time(ctx: AppContext) -> None:
    _ignored(ctx)
    run_at(ctx, *(MONDAY + 2 * DAY + hours * HOUR for hours in (4, 24, 24 * 7)))
    mails = _mails(ctx)
    assert {rep for rep, _ in mails} == {"ana", "lena"}
    assert len(mails) == len(set(mails))
    assert one(ctx, "SELECT count(*) FROM message WHERE kind = 'waiting' AND state = 'rejected'") == 0


def test_a_decision_without_a_rep_needs_a_reason(ctx: AppContext) -> None:
    lead = _ignored(ctx)
    with pytest.raises(InvalidState, match="needs a reason"):
        decide_waiting(ctx, lead, Decision(DecisionKind.NURTURE, "lena"), MONDAY + 2 * DAY)
    assert custody(ctx, lead) == DECISION


def test_a_queue_of_the_policy_is_never_taken_for_one_of_a_missing_field(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True, title="Head", at=MONDAY)
    run_at(ctx, MONDAY)
    responses.reject(ctx, 1, "please-check", MONDAY)
    run_at(ctx, *(MONDAY + days * DAY for days in (0, 1, 7, 8, 14, 21)))
    assert custody(ctx, lead) == ("queue", "needs-budget")
    assert one(ctx, "SELECT count(*) FROM offer") == 1
    assert _notified(ctx, MONDAY + 8 * DAY) == {"ana", "lena"}  # each morning: it is late


def test_the_managers_work_a_queue_that_only_an_older_policy_named(sqlite_db: Database, tmp_path: Path) -> None:
    rules = waiting_rules()
    needed = ("needs-budget", "reply-possible-opt-out", "reply-unclear-short", "reply-wrong-person")
    named = "".join(f"  {name}: {{owner: lena, within: 1 business day}}\n" for name in (*Queue, *needed))
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(QUEUES, f"queues:\n{named}")
    ctx = make_context(sqlite_db, tmp_path, MONDAY, rules)
    lead = add_lead(ctx, email=None, at=MONDAY)
    run_at(ctx, MONDAY)
    write(ctx, "UPDATE custody SET ref = 'named-by-an-older-policy', version = version + 1")
    run_at(ctx, MONDAY + DAY)
    assert _notified(ctx, MONDAY + DAY) == {"lena"}
    found = {one.kind: one.lead_ids for one in run_audit(ctx, MONDAY + 2 * DAY).findings}
    assert found.get("queue-overdue") == (lead,)


def test_the_time_of_a_lead_counts_from_its_entry_however_often_it_is_routed_again(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", at=MONDAY)
    run_at(ctx, MONDAY)
    write(ctx, "UPDATE lead SET customer_since = created_at WHERE id = :id", id=lead)
    record_signal(ctx, lead, SignalKind.REPLIED, MONDAY)
    run_at(ctx, *(MONDAY + hours * HOUR for hours in range(0, 24 * 20, 12)))
    assert custody(ctx, lead) == ("queue", "account-owner-unavailable")
    assert events(ctx, lead).count("returned") >= 2
    (row,) = [row for row in report_queues(ctx, MONDAY + 20 * DAY) if row.queue == "account-owner-unavailable"]
    assert (row.waiting, row.waiting_late, row.oldest) == (1, 1, MONDAY)
    assert "queue-overdue" in {found.kind for found in run_audit(ctx, MONDAY + 20 * DAY).findings}


def test_the_owner_of_queues_gets_one_list_each_business_morning(ctx: AppContext, tmp_path: Path) -> None:
    add_leads(ctx, 30, at=MONDAY, title="Head", consent_basis=None)
    lead = add_lead(ctx, email=None, at=MONDAY, full_name="Ida [Klein](http://evil.example)")
    run_at(ctx, *(MONDAY + hours * HOUR for hours in range(0, 24 * 7, 3)))
    assert custody(ctx, lead) == ("queue", "no-address")
    days = [str(at)[:10] for rep, at in _mails(ctx) if rep == "lena"]
    assert days == ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08", "2026-01-09"]
    mails = [path.read_text("utf-8").replace("=\n", "") for path in (tmp_path / "maildir" / "new").iterdir()]
    lists = [mail for mail in mails if "wait" in mail.split("\n\n")[0]]
    assert len(lists) == 5
    assert all("No address" in mail and "http://evil" not in mail for mail in lists)


def test_checking_queues_costs_as_many_statements_for_many_leads_as_for_few(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, MONDAY, waiting_rules())
    with ctx.database.read() as tx:
        ctx.definitions.current(tx)  # read once, whatever the number of leads
    counts = []
    for number in (3, 60):
        for _ in range(number):
            add_lead(ctx, email=None, at=MONDAY)
        sweep.hand_off(ctx, MONDAY)
        with ctx.database.write() as tx:
            tx.connection.exec_driver_sql(
                "UPDATE custody SET kind = 'queue', ref = 'needs-budget', version = version + 1"
            )
        with recorded_statements(db) as statements:
            check_queue_batch(ctx, MONDAY + 400 * DAY, 500)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 32


def test_before_anything_is_published_nobody_gets_a_list(sqlite_db: Database, tmp_path: Path) -> None:
    clock_row.bind_mode(sqlite_db, "virtual", MONDAY)
    assert plan_morning_emails(AppContext(sqlite_db, MaildirProvider(tmp_path / "maildir")), MONDAY) == 0


def test_leads_that_became_late_together_are_listed_in_one_email_and_their_reviews_send_none(ctx: AppContext) -> None:
    for minutes in range(0, 15, 3):
        add_lead(ctx, email=None, at=MONDAY + timedelta(minutes=minutes))
        run_at(ctx, MONDAY + timedelta(minutes=minutes))
    days = (MONDAY + days * DAY for days in range(1, 16))
    run_at(ctx, *(day + timedelta(minutes=minutes) for day in days for minutes in range(0, 15, 3)))
    late = [str(sent)[:10] for rep, sent in _mails(ctx) if rep == "ana"]
    assert late[0] == "2026-01-12", "when they became late: also the one of that morning"
    assert len(late) == len(set(late)) == 7
