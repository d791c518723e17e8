"""Customers rest: their requests go to the owner of their account, and no track for leads takes them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.handoff import responses
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import OutcomeReport
from nurture.journey.tracks import enroll, manual
from nurture.reporting import audit
from nurture.reporting.explain import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules
from tests.journey.intake.lead_files import import_leads, row
from tests.journey.observe import add_leads, custody, due_at, one, record_signal, recorded_statements, rows
from tests.journey.routing.test_router import account

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YEAR = 365 * DAY
CUSTOMER = ("resting", "customer")


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def won_lead(ctx: AppContext) -> int:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    close_lead(ctx, lead, Closing.WON, START + HOUR)
    run_at(ctx, START + 2 * HOUR)
    return lead


def test_a_won_lead_rests_a_year_and_is_looked_at_again(ctx: AppContext) -> None:
    lead = won_lead(ctx)
    assert (custody(ctx, lead), due_at(ctx, lead)) == (CUSTOMER, START + 2 * HOUR + YEAR)
    run_at(ctx, START + 2 * HOUR + YEAR)
    assert (custody(ctx, lead), due_at(ctx, lead)) == (CUSTOMER, START + 2 * HOUR + 2 * YEAR)
    assert rows(ctx, "SELECT closing FROM outcome") == [("won",)]
    assert explain(ctx, lead, START + 2 * HOUR).owner == "nobody: resting until 5 January 2028: customer"
    assert audit.run_audit(ctx, START + 2 * HOUR + YEAR).ok


def test_a_request_of_a_customer_goes_to_the_owner_of_its_account(ctx: AppContext) -> None:
    account(ctx, "People", "people.example", "ben")
    lead = won_lead(ctx)
    record_signal(ctx, lead, SignalKind.REPLIED, START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead)[0] == "offer"
    assert rows(ctx, "SELECT lead_id, rep FROM offer") == [(lead, "ben")]
    responses.reject(ctx, 1, "bad-fit", START + DAY)  # closes a lead
    assert custody(ctx, lead) == CUSTOMER


def test_a_customer_without_an_owner_is_offered_to_nobody_else(ctx: AppContext) -> None:
    lead = won_lead(ctx)
    record_signal(ctx, lead, SignalKind.REPLIED, START + DAY)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead) == ("queue", "account-owner-unavailable")
    assert one(ctx, "SELECT count(*) FROM offer") == 0


def test_interest_from_before_the_sale_hands_nobody_off(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    record_signal(ctx, lead, SignalKind.REPLIED, START)
    close_lead(ctx, lead, Closing.WON, START + HOUR)
    run_at(ctx, START + 2 * HOUR)
    assert custody(ctx, lead) == CUSTOMER


def test_no_track_for_leads_takes_a_customer(ctx: AppContext) -> None:
    lead = won_lead(ctx)
    with pytest.raises(InvalidState, match="is a customer"):
        manual.enroll(ctx, lead, "keep", START + DAY)
    account(ctx, "People", "people.example", "ben")
    record_signal(ctx, lead, SignalKind.REPLIED, START + DAY)
    run_at(ctx, START + DAY)
    responses.reject(ctx, 1, "not-now", START + DAY)  # leads go on with the track keep after 30 days
    assert (custody(ctx, lead), due_at(ctx, lead)) == (CUSTOMER, START + 31 * DAY)


def test_a_customer_on_arrival_rests_and_is_no_win(ctx: AppContext, tmp_path: Path) -> None:
    import_leads(ctx, tmp_path, row(Status="customer"), now=START)
    assert (custody(ctx, 1), due_at(ctx, 1)) == (CUSTOMER, START)
    run_at(ctx, START)
    import_leads(ctx, tmp_path, row(Status="customer", Job_Title="Chief"), now=START + DAY)
    assert due_at(ctx, 1) == START + DAY  # a changed field is looked at
    assert one(ctx, "SELECT count(*) FROM outcome") == 0
    report = OutcomeReport(1, Closing.WON, START, 500.0)
    assert outcomes.record_outcomes(ctx, [report], "crm", START + DAY) == ["same"]
    assert audit.run_audit(ctx, START + DAY).ok


def test_who_is_no_customer_after_all_is_closed(ctx: AppContext) -> None:
    lead = won_lead(ctx)
    report = OutcomeReport(lead, Closing.LOST, START + DAY)
    assert outcomes.record_outcomes(ctx, [report], "crm", START + DAY) == ["conflict"]
    number = outcomes.list_contradictions(ctx)[0].id
    outcomes.resolve_contradiction(ctx, number, accept=True, by="Sam", now=START + 2 * DAY)
    assert (custody(ctx, lead), due_at(ctx, lead)) == (("closed", "lost"), None)
    assert one(ctx, "SELECT count(*) FROM lead WHERE customer_since IS NOT NULL") == 0
    assert audit.run_audit(ctx, START + 2 * DAY).ok


def test_a_second_sale_to_a_customer_is_won_or_lost_and_it_stays_a_customer(ctx: AppContext) -> None:
    account(ctx, "People", "people.example", "ben")
    lead = won_lead(ctx)
    record_signal(ctx, lead, SignalKind.REPLIED, START + DAY)
    run_at(ctx, START + DAY)
    responses.accept(ctx, 1, START + DAY)
    close_lead(ctx, lead, Closing.LOST, START + 2 * DAY)
    assert custody(ctx, lead) == CUSTOMER
    assert rows(ctx, "SELECT closing FROM outcome ORDER BY id") == [("won",), ("lost",)]


def test_due_customers_cost_the_same_statements_for_few_and_many(ctx: AppContext) -> None:
    counts = []
    for number in (2, 2, 60):
        leads = add_leads(ctx, number)
        reports = [OutcomeReport(lead, Closing.WON, START) for lead in leads]
        with recorded_statements(ctx.database) as recorded:
            outcomes.record_outcomes(ctx, reports, "crm", START)
            enroll.classify_batch(ctx, START, 100)
        counts.append(len(recorded))
        assert {due_at(ctx, lead) for lead in leads} == {START + YEAR}
    assert counts[1] == counts[2]


def test_an_ending_with_a_date_rests_until_then_and_is_classified_again(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    for file, old, new in (
        ("sales/policy.yaml", "{close: discarded}}", "{close: lost}, cool_off: 100 days}"),
        ("sales/policy.yaml", "{discard: not a buyer}", "{discard: not a buyer, again_after: 200 days}"),
    ):
        assert old in rules[file]
        rules[file] = rules[file].replace(old, new)
    ctx = make_context(db, tmp_path, rules=rules)
    student, clerk, head = add_lead(ctx, title="student"), add_lead(ctx, title="Clerk"), add_lead(ctx, title="Head")
    run_at(ctx, START)
    record_signal(ctx, clerk, SignalKind.REPLIED, START)
    run_at(ctx, START)
    responses.reject(ctx, 1, "bad-fit", START + HOUR)
    contract = OutcomeReport(head, Closing.LOST, START, again_at=START + 300 * DAY)
    assert outcomes.record_outcomes(ctx, [contract], "cli", START) == ["closed"]
    ends = {student: START + 200 * DAY, clerk: START + HOUR + 100 * DAY, head: START + 300 * DAY}
    for lead, end in ends.items():
        assert (custody(ctx, lead), due_at(ctx, lead)) == (("resting", "later"), end)
        record_signal(ctx, lead, SignalKind.CLICKED, START + 2 * HOUR)  # no new interest: no reason to look earlier
        assert due_at(ctx, lead) == end
    run_at(ctx, START + 250 * DAY)
    assert (custody(ctx, student), custody(ctx, clerk)) == (("resting", "later"), ("track", "keep"))
    assert due_at(ctx, student) == START + 450 * DAY
    report = OutcomeReport(head, Closing.WON, START + DAY)
    assert outcomes.record_outcomes(ctx, [report], "crm", START + 250 * DAY) == ["conflict"]
    record_signal(ctx, head, SignalKind.REPLIED, START + 260 * DAY)
    run_at(ctx, START + 260 * DAY)
    assert custody(ctx, head)[0] == "offer"
    assert rows(ctx, "SELECT lead_id, closing FROM outcome ORDER BY lead_id") == [
        (student, "discarded"),
        (clerk, "lost"),
        (head, "lost"),
    ]
    assert audit.run_audit(ctx, START + 260 * DAY).ok
