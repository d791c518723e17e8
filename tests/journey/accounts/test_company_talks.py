"""One voice per company: the same rep, also within a batch, and no call to action while somebody talks to sales."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.journey.handoff import responses, roster
from nurture.journey.handoff.offer_page import load_offer_details
from nurture.journey.routing.replay import replay
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.observe import custody, one, record_signal, recorded_statements, rows
from tests.sqlite import create_migrated

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONE_VOICE = {
    "one_rep_per_company: no": "one_rep_per_company: 30 days",
    "capacity: 5": "capacity: 50",
    "please-check:": "not-mine:",
}


def _rules(replaced: dict[str, str]) -> dict[str, str]:
    rules = sample_rules()
    for old, new in replaced.items():
        rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(old, new)
    news = rules["tracks/keep/01-news.md"]
    rules["tracks/keep/01-news.md"] = news.replace("subject: News", "subject: News\ncall_to_action: yes")
    return rules


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=_rules(ONE_VOICE))


def _ready(ctx: AppContext, *emails: str, after: timedelta = timedelta(), **fields: object) -> list[int]:
    leads = [add_lead(ctx, email=email, demo_requested=True, at=START + after, **fields) for email in emails]
    run_at(ctx, START + after)
    return leads


def _reps(ctx: AppContext, leads: list[int]) -> list[str]:
    newest = "SELECT rep FROM offer WHERE lead_id = :id ORDER BY id DESC LIMIT 1"
    return [str(one(ctx, newest, id=lead)) for lead in leads]


def test_two_people_of_a_company_go_to_one_rep_in_one_batch_and_later(ctx: AppContext) -> None:
    both = _ready(ctx, "lea@warm.example", "max@sales.warm.example")
    later = _ready(ctx, "ina@warm.example", after=10 * DAY)
    assert len(set(_reps(ctx, both + later))) == 1
    reason = one(ctx, "SELECT routing_reason FROM offer WHERE lead_id = :id", id=later[0])
    assert "talks to lead" in str(reason)
    assert replay(ctx, None).differences == []


FULL = {
    "one_rep_per_company: no": "one_rep_per_company: 30 days",
    "capacity: 5": "capacity: 1",
    "accept_within: 1 day": """tiers:
  - {name: demo, rules: [ready], wait: 30 minutes, accept: {take_back: 1 day}}
accept_within: 1 day""",
}
AFTER = timedelta(minutes=30)


def _second_person(db: Database, folder: Path, **replaced: str) -> tuple[AppContext, int]:
    """Return a lead whose company's rep, Ana, is full with the first person of it, after its wait of 30 minutes."""
    ctx = make_context(db, folder, rules=_rules(FULL | replaced))
    _, second = _ready(ctx, "lea@warm.example", "max@warm.example")
    assert custody(ctx, second) == ("queue", "hand-off")
    run_at(ctx, START + AFTER)
    assert replay(ctx, None).differences == []
    return ctx, second


def test_a_manager_decides_about_a_second_person_whose_company_s_rep_is_full(db: Database, tmp_path: Path) -> None:
    ctx, second = _second_person(db, tmp_path)
    assert custody(ctx, second) == ("queue", "manager-decision")
    assert rows(ctx, "SELECT rep FROM offer") == [("ana",)]
    line = next(one for one in explain.explain(ctx, second, START + AFTER).history if one.ref == "manager-decision")
    assert "1 of 1 today, the maximum wait is over; a manager decides, so that no second rep begins" in line.reason


def test_the_deputy_of_a_full_rep_talks_to_the_second_person_of_the_company(db: Database, tmp_path: Path) -> None:
    deputy = {"email: ana@house.example, capacity: 1": "email: ana@house.example, deputy: ben, capacity: 1"}
    ctx, second = _second_person(db, tmp_path, **deputy)
    assert _reps(ctx, [second]) == ["ben"]
    assert "ben is the deputy, 0 of 1 today" in str(
        one(ctx, "SELECT routing_reason FROM offer WHERE lead_id = :id", id=second)
    )


def test_the_next_rep_talks_to_the_second_person_if_the_policy_says_so(db: Database, tmp_path: Path) -> None:
    shared = {"one_rep_per_company: no": "one_rep_per_company: {for: 30 days, when_unavailable: next rep}"}
    ctx, second = _second_person(db, tmp_path, **shared)
    assert _reps(ctx, [second]) == ["ben"]


SHARED = {"one_rep_per_company: 30 days": "one_rep_per_company: {for: 30 days, when_unavailable: next rep}"}
DEPUTY = {"email: ana@house.example, capacity: 50": "email: ana@house.example, deputy: ben, capacity: 50"}
REROUTED = {
    "accept_within: 1 day": """tiers:
  - {name: demo, rules: [ready], accept: {take_back: 1 day, reroute: 2}}
accept_within: 1 day"""
}
DECLINED = "but ana declined it or did not answer"


def _second_person_refused(db: Database, folder: Path, *, answers: bool, **replaced: str) -> tuple[AppContext, int]:
    """Return the second of two people offered to Ana, who leaves that offer unanswered, or both, if not *answers*."""
    ctx = make_context(db, folder, rules=_rules(ONE_VOICE | REROUTED | replaced))
    first, second = _ready(ctx, "lea@warm.example", "max@warm.example")
    assert _reps(ctx, [first, second]) == ["ana", "ana"]
    if answers:
        responses.accept(ctx, one(ctx, "SELECT id FROM offer WHERE lead_id = :id", id=first), START + HOUR)
    run_at(ctx, START + DAY + HOUR)
    assert replay(ctx, None).differences == []
    return ctx, second


def test_a_manager_decides_about_a_second_person_that_the_company_s_rep_left_unanswered(
    db: Database, tmp_path: Path
) -> None:
    ctx, second = _second_person_refused(db, tmp_path, answers=True)
    assert custody(ctx, second) == ("queue", "manager-decision")
    line = next(one for one in explain.explain(ctx, second, START + 3 * DAY).history if one.ref == "manager-decision")
    assert f"{DECLINED}; a manager decides, so that no second rep begins" in line.reason


def test_the_deputy_of_a_rep_who_did_not_answer_talks_to_the_second_person(db: Database, tmp_path: Path) -> None:
    ctx, second = _second_person_refused(db, tmp_path, answers=True, **DEPUTY)
    assert _reps(ctx, [second]) == ["ben"]
    reason = one(ctx, "SELECT routing_reason FROM offer WHERE lead_id = :id ORDER BY id DESC LIMIT 1", id=second)
    assert f"{DECLINED}; ben is the deputy, 0 of 50 today" in str(reason)


def test_the_next_rep_gets_what_the_company_s_rep_did_not_answer_if_the_policy_says_so(
    db: Database, tmp_path: Path
) -> None:
    ctx, second = _second_person_refused(db, tmp_path, answers=True, **SHARED)
    assert _reps(ctx, [second]) == ["ben"]


def test_a_rep_who_answered_no_offer_of_a_company_keeps_nobody_of_it(db: Database, tmp_path: Path) -> None:
    ctx, second = _second_person_refused(db, tmp_path, answers=False)
    assert _reps(ctx, [second]) == ["ben"]


def test_a_second_person_whose_company_s_rep_is_on_leave_goes_to_the_deputy_or_a_manager(ctx: AppContext) -> None:
    (first,) = _ready(ctx, "lea@warm.example")
    assert _reps(ctx, [first]) == ["ana"]
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), START)
    for day, deputy in ((1, None), (8, "ben")):
        roster.add_leave(ctx, "ana", (START + day * DAY).date(), (START + day * DAY).date(), deputy, START)
    second, third = _ready(ctx, "max@warm.example", after=DAY) + _ready(ctx, "ina@warm.example", after=8 * DAY)
    assert custody(ctx, second) == ("queue", "manager-decision")
    assert _reps(ctx, [third]) == ["ben"]
    line = next(one for one in explain.explain(ctx, second, START + DAY).history if one.ref == "manager-decision")
    assert ", and has no deputy; a manager decides" in line.reason
    assert replay(ctx, None).differences == []


def test_a_second_person_goes_to_the_next_rep_if_the_company_s_rep_left_for_good(ctx: AppContext) -> None:
    (first,) = _ready(ctx, "lea@warm.example")
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), START)
    close_lead(ctx, first, Closing.LOST, START + DAY, reason="no")
    rules = _rules(ONE_VOICE)
    lines = [line for line in rules["sales/policy.yaml"].splitlines() if "id: ana" not in line]
    rules["sales/policy.yaml"] = "\n".join(lines).replace("owner: ana", "owner: ben")
    publish_approved(ctx, rules, START + DAY)
    (second,) = _ready(ctx, "max@warm.example", after=2 * DAY)
    assert _reps(ctx, [first, second]) == ["ana", "ben"]


def test_the_brief_names_the_colleague_and_the_rep(ctx: AppContext) -> None:
    first, second = _ready(ctx, "lea@warm.example", "max@warm.example", full_name="Lea & Max")
    offer = one(ctx, "SELECT id FROM offer WHERE lead_id = :id", id=second)
    details = load_offer_details(ctx, offer, START)
    assert details.profile["colleague"] == {"name": "Lea & Max", "lead_id": first, "rep": "Ana"}
    assert load_offer_details(ctx, one(ctx, "SELECT min(id) FROM offer"), START).profile["colleague"]


@pytest.mark.parametrize("emails", [("a@gmail.com", "b@gmail.com"), ("a@one.example", "b@two.example")])
def test_free_mail_and_other_companies_are_shared_out(ctx: AppContext, emails: tuple[str, str]) -> None:
    assert len(set(_reps(ctx, _ready(ctx, *emails)))) == 2


def test_the_site_of_a_lead_with_free_mail_tells_its_company(ctx: AppContext) -> None:
    (first,) = _ready(ctx, "lea@warm.example")
    (second,) = _ready(ctx, "max@gmail.com", website="https://www.warm.example/about")
    assert len(set(_reps(ctx, [first, second]))) == 1


@pytest.mark.parametrize(("days", "same"), [(20, True), (40, False)])
def test_a_conversation_counts_until_it_ended_long_enough_ago(ctx: AppContext, days: int, same: bool) -> None:
    (first,) = _ready(ctx, "lea@warm.example")
    offer = one(ctx, "SELECT id FROM offer")
    responses.accept(ctx, offer, START)
    close_lead(ctx, first, Closing.LOST, START + 50 * DAY, reason="no")
    (other,) = _ready(ctx, "max@warm.example", after=(50 + days) * DAY)
    reason = str(one(ctx, "SELECT routing_reason FROM offer WHERE lead_id = :id", id=other))
    assert (f"talks to lead {first} of the same company" in reason) is same


def test_a_rep_who_says_that_the_company_is_another_reps_gets_no_colleague_of_it(ctx: AppContext) -> None:
    _ready(ctx, "lea@warm.example")
    responses.reject(ctx, one(ctx, "SELECT id FROM offer"), "not-mine", START)
    (other,) = _ready(ctx, "max@warm.example", after=HOUR)
    assert "talks to lead" not in str(one(ctx, "SELECT routing_reason FROM offer WHERE lead_id = :id", id=other))


def test_the_policy_can_turn_it_off(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=_rules({}))
    assert len(set(_reps(ctx, _ready(ctx, "lea@warm.example", "max@warm.example")))) == 2


def test_calls_to_action_wait_while_a_colleague_is_with_sales(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="max@warm.example")
    other = add_lead(ctx, email="max@cold.example")
    (colleague,) = _ready(ctx, "lea@warm.example")
    sent = "SELECT lead_id FROM message WHERE kind = 'touch' AND accepted_at IS NOT NULL"
    times = [START + 10 * DAY + 3 * HOUR, START + 10 * DAY + 4 * HOUR]
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), START)
    run_at(ctx, *times)
    assert rows(ctx, sent) == [(other,)]
    held = explain.explain(ctx, lead, times[-1]).hold
    assert held.guard == "account_hold"
    assert f"lead {colleague} of the same company is with sales" in held.reason
    close_lead(ctx, colleague, Closing.LOST, times[-1], reason="no")
    run_at(ctx, START + 11 * DAY + 4 * HOUR, START + 11 * DAY + 5 * HOUR)
    assert sorted(rows(ctx, sent)) == [(lead,), (other,)]


def test_a_person_who_asks_is_handed_off_while_a_colleague_is_with_sales(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="max@warm.example")
    (colleague,) = _ready(ctx, "lea@warm.example")
    record_signal(ctx, lead, SignalKind.REPLIED, START + HOUR)
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead)[0] == "offer"
    assert len(set(_reps(ctx, [lead, colleague]))) == 1


def test_routing_costs_as_many_statements_for_many_people_as_for_one(ctx: AppContext) -> None:
    def cost(count: int) -> int:
        for number in range(count):
            add_lead(ctx, email=f"p{number}@c{count}.example", demo_requested=True)
        with recorded_statements(ctx.database) as executed:
            run_at(ctx, START)
        return len(executed)

    cost(1)
    assert cost(2) == cost(9)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 25), st.sampled_from("abrx")), min_size=2, max_size=8))
def test_no_two_people_of_a_company_have_two_reps_within_thirty_days(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[tuple[int, int, str]]
) -> None:
    """*arrivals* are company, day, and whether the rep accepts, gives back, rejects, or leaves the offer open."""
    folder = tmp_path_factory.mktemp("law")
    database = create_migrated(folder / "law.db")
    rules = _rules(ONE_VOICE | {"accept_within: 1 day": "accept_within: 60 days"})
    ctx = make_context(database, folder, rules=rules)
    companies: dict[int, list[int]] = {}
    for number, (company, day, answer) in enumerate(sorted(arrivals, key=lambda row: row[1])):
        at = timedelta(days=day, seconds=number)
        (lead,) = _ready(ctx, f"p{number}@c{company}.example", after=at)
        companies.setdefault(company, []).append(lead)
        offer = one(ctx, "SELECT max(id) FROM offer WHERE lead_id = :id", id=lead)
        if answer in "ab":
            responses.accept(ctx, offer, START + at)
        if answer in "br":
            responses.reject(ctx, offer, "bad-fit", START + at)
    assert all(len(set(_reps(ctx, leads))) == 1 for leads in companies.values())
