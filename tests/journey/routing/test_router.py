"""Test batch routing: read in sets, decided in the policy's order, stored with its input."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nurture.db.engine import Database
from nurture.journey.handoff import call_back, responses
from nurture.journey.handoff import queue as handoff_queue
from nurture.journey.ownership import queries as accounts_queries
from nurture.journey.ownership.queries import NewAccount
from nurture.journey.routing import queries as routing_queries
from nurture.journey.routing.replay import replay
from nurture.journey.tracks import enroll
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    add_leads,
    custody,
    due_at,
    events,
    one,
    recorded_statements,
    rows,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = """
pools:
  all: {reps: [ana, ben], rotation: weighted}
  dach: {reps: [cleo]}
routing:
  - {name: account, to: account owner}
  - {name: former, to: former owner}
  - name: dach
    when: {field: country, is: [DE, AT]}
    required_fields: [country]
    to: {pool: dach}
    territory: yes
  - {name: rest, when: always, to: {pool: all}}
missing_fields: {wait: 3 days, then: {pool: all}}
"""


def ruled(routing_: str = RULES) -> dict[str, str]:
    rules = sample_rules()
    policy = rules["sales/policy.yaml"].replace(
        "email: ben@house.example, capacity: 5}",
        "email: ben@house.example, capacity: 5, weight: 2, deputy: cleo}\n"
        "  - {id: cleo, name: Cleo, email: cleo@house.example, capacity: 5, country: DE}",
    )
    return {**rules, "sales/policy.yaml": policy + routing_}


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=ruled())


@pytest.fixture
def lite(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path, rules=ruled())


def account(ctx: AppContext, name: str, domain: str, owner: str, kind: str = "prospect") -> int:
    new = NewAccount("crm", name, name, [domain], owner, kind, START, START)
    with ctx.database.write() as tx:
        accounts_queries.insert_accounts(tx, [new])
    found: int = one(ctx, "SELECT id FROM account WHERE external_id = :name", name=name)
    return found


def ready(ctx: AppContext, *, at: datetime = START, **fields: Any) -> int:
    fields.setdefault("country", "FR")
    lead = add_lead(ctx, demo_requested=True, at=at, **fields)
    run_at(ctx, at)
    return lead


def owner(ctx: AppContext, lead: int) -> tuple[str | None, str | None]:
    wanted = "SELECT rep, queue FROM routing_decision WHERE lead_id = :id ORDER BY id DESC LIMIT 1"
    ((rep, queue),) = rows(ctx, wanted, id=lead)
    return rep, queue


def test_an_accounts_owner_gets_its_leads_and_the_lead_is_linked(ctx: AppContext) -> None:
    number = account(ctx, "Contoso GmbH", "contoso.example", "ana", "customer")
    lead = ready(ctx, email="nora@eu.contoso.example")
    assert owner(ctx, lead) == ("ana", None)
    assert rows(ctx, "SELECT account_id, method FROM lead_account WHERE lead_id = :id", id=lead) == [
        (number, "matched")
    ]
    ((chain,),) = rows(ctx, "SELECT routing_reason FROM offer WHERE lead_id = :id", id=lead)
    assert chain == f"account: ana owns account {number} (the address is at its domain), 0 of 5 today"
    assert replay(ctx).differences == []


def test_ambiguous_accounts_wait_in_their_queue_with_the_candidates(lite: AppContext) -> None:
    numbers = [account(lite, f"Contoso {who}", "contoso.example", who) for who in ("ana", "ben")]
    lead = ready(lite, email="nora@contoso.example")
    assert custody(lite, lead) == ("queue", "account-ambiguous")
    detail = "SELECT detail FROM journal WHERE lead_id = :id AND ref = 'account-ambiguous'"
    assert str(numbers[0]) in str(one(lite, detail, id=lead))


def test_a_missing_field_holds_the_lead_for_its_time_then_somebody_gets_it(lite: AppContext) -> None:
    lead = ready(lite, country="")
    assert custody(lite, lead) == ("queue", "missing-field")
    run_at(lite, START + 2 * DAY)
    assert custody(lite, lead) == ("queue", "missing-field")
    run_at(lite, START + 3 * DAY, START + 3 * DAY)
    assert owner(lite, lead) == ("ben", None)
    assert "returned" in events(lite, lead)
    assert replay(lite).decisions == 2


def test_a_deputy_takes_leads_during_leave(lite: AppContext) -> None:
    account(lite, "Contoso", "contoso.example", "ben")
    with lite.database.write() as tx:
        routing_queries.add_leave(tx, "ben", date(2026, 1, 5), date(2026, 1, 9), None, START)
    assert owner(lite, ready(lite, email="a@contoso.example")) == ("cleo", None)
    with lite.database.write() as tx:
        assert routing_queries.cancel_leave(tx, "ben", date(2026, 1, 5), START) == 1
    assert owner(lite, ready(lite, email="b@contoso.example")) == ("ben", None)


def test_a_rep_on_a_public_holiday_gets_no_leads_today(sqlite_db: Database, tmp_path: Path) -> None:
    new_year = datetime(2026, 1, 1, 9, tzinfo=START.tzinfo)
    rules = ruled(RULES + "business_hours: {zone: Europe/Berlin, hours: 'monday to friday 09:00-17:00'}\n")
    ctx = make_context(sqlite_db, tmp_path, new_year, rules)
    lead = ready(ctx, at=new_year, country="DE")
    assert custody(ctx, lead) == ("queue", "hand-off")
    assert due_at(ctx, lead) == datetime(2026, 1, 2, 8, tzinfo=START.tzinfo)
    run_at(ctx, new_year + DAY)
    assert owner(ctx, lead) == ("cleo", None)


def test_the_former_owner_gets_a_returning_lead_unless_they_rejected_it(lite: AppContext) -> None:
    lead = ready(lite)
    offer, first = rows(lite, "SELECT id, rep FROM offer WHERE lead_id = :id", id=lead)[0]
    responses.reject(lite, offer, "wrong-person", START + HOUR)
    write(
        lite,
        "UPDATE custody SET kind='queue', ref='hand-off', due_at=:at, version=version+1 WHERE lead_id=:id",
        at=str(START + HOUR),
        id=lead,
    )
    handoff_queue.offer_all(lite, START + HOUR)
    assert owner(lite, lead)[0] not in (first, None)


def test_the_rep_who_promised_a_call_gets_the_lead_on_that_day(lite: AppContext) -> None:
    lead = ready(lite)
    first, _ = owner(lite, lead)
    offer = one(lite, "SELECT id FROM offer WHERE lead_id = :id", id=lead)
    call_back.call_back(lite, offer, (START + 40 * DAY).date(), START)
    ready(lite)
    run_at(lite, START + 40 * DAY, START + 40 * DAY)
    assert custody(lite, lead)[0] == "offer"
    assert owner(lite, lead) == (first, None)
    decided = "SELECT rule FROM routing_decision WHERE lead_id = :id ORDER BY id DESC LIMIT 1"
    assert one(lite, decided, id=lead) == "former"


def test_shares_follow_weights_over_batches_and_counts_are_stored(lite: AppContext) -> None:
    for _ in range(3):
        for number in range(2):
            ready(lite, company=f"Firm {number}")
    assert rows(lite, "SELECT rep, assigned FROM round_robin_count ORDER BY rep") == [("ana", 2), ("ben", 4)]
    assert replay(lite).differences == []


def test_reps_off_duty_are_passed_over_and_that_is_replayed(sqlite_db: Database, tmp_path: Path) -> None:
    rules = ruled(
        RULES
        + "business_hours: {zone: UTC, hours: 'monday to friday 09:00-17:00'}\n"
        + "priority: {hot: [replied], aging_interval: 1 day}\n"
    )
    policy = rules["sales/policy.yaml"]
    rules["sales/policy.yaml"] = policy.replace("{id: ben, ", "{id: ben, hours: 'monday to friday 06:00-20:00', ")
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    for _ in range(3):
        assert owner(ctx, ready(ctx)) == ("ben", None)  # at 08:00
    assert rows(ctx, "SELECT rep, assigned FROM round_robin_count") == [("ben", 3)]
    assert replay(ctx).differences == []


def test_a_replay_reports_decisions_that_differ(lite: AppContext) -> None:
    lead = ready(lite)
    write(lite, "UPDATE routing_decision SET rep = 'cleo' WHERE lead_id = :id", id=lead)
    ((difference,),) = [replay(lite, lead).differences]
    assert (difference.lead_id, difference.before, difference.after) == (lead, "cleo, by rest", "ben, by rest")


def test_capacity_is_never_exceeded_and_waiting_leads_are_offered_later(lite: AppContext) -> None:
    add_leads(lite, 23, demo_requested=True)
    write(lite, "UPDATE lead SET country = 'FR'")
    for day in range(4):
        run_at(lite, START + day * DAY)
        by_day = "SELECT rep, count(*) FROM offer GROUP BY rep, substr(offered_at, 1, 10)"
        counts = rows(lite, by_day)
        assert max(count for *_, count in counts) <= 5
    assert one(lite, "SELECT count(DISTINCT lead_id) FROM offer") == 23


def test_a_batch_costs_as_many_statements_for_three_hundred_leads_as_for_twelve(db: Database, tmp_path: Path) -> None:
    rules = ruled()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("capacity: 5", "capacity: 5000")
    ctx = make_context(db, tmp_path, rules=rules)
    account(ctx, "Contoso Shipbuilding", "contoso.example", "ana")
    costs = []
    for count in (12, 12, 300):
        for company in ("Contoso Shipbuilding", "Contoso Shipbuildings", "Fabrikam"):
            add_leads(ctx, count // 3, demo_requested=True, company=company)
        write(ctx, "UPDATE lead SET country = CASE WHEN id % 4 = 0 THEN '' ELSE 'FR' END")
        enroll.classify_batch(ctx, START, 1_000)
        with recorded_statements(ctx.database) as statements:
            handoff_queue.offer_all(ctx, START)
        costs.append(len(statements))
    assert costs[1] == costs[2] <= costs[0]  # the first reads the definitions and the accounts
