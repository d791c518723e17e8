"""Routing: which rule gives a lead to which rep, and the reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, AnyOf, FieldCondition, FitCondition, Not, PostcodeCondition
from nurture.domain.policy.team import Pool, Rep, RotationMethod
from nurture.domain.routing.account import Account, AccountKind, AccountMatch
from nurture.domain.routing.round_robin import RepAvailability
from nurture.domain.routing.routing import (
    DEFAULT_RULES,
    AccountOwner,
    FormerOwner,
    MissingFieldPolicy,
    NamedAccounts,
    RoutingPlan,
    RoutingRequest,
    RoutingResult,
    RoutingRule,
    ToPool,
    ToRep,
    route,
)

DACH = FieldCondition("country", Comparison.IN, ("DE", "AT", "CH"))
PARTNERS = FieldCondition("channel", Comparison.IS, "partner")


def rep(name: str, weight: int = 1, max_open_leads: int | None = None) -> Rep:
    return Rep(name, name.title(), f"{name}@example.com", 5, weight=weight, max_open_leads=max_open_leads)


def plan(*rules: RoutingRule, missing_fields: MissingFieldPolicy | None = None) -> RoutingPlan:
    reps = (rep("ada", 3), rep("ben"), rep("cleo", max_open_leads=9), rep("dan"))
    pools = {"all": Pool("all", ("ada", "ben", "cleo")), "few": Pool("few", ("dan",))}
    pools["shares"] = Pool("shares", ("ada", "ben", "cleo"), RotationMethod.WEIGHTED)
    return RoutingPlan.build(reps, pools, rules or DEFAULT_RULES, missing_fields)


REST = RoutingRule("rest", ToPool("all"))
OWNERS = (RoutingRule("account", AccountOwner()), RoutingRule("former", FormerOwner()))
FULL = RepAvailability(offers_today=5)
ON_LEAVE = RepAvailability(away_reason="on leave until 2027-01-06", deputy="ben")
GONE = RepAvailability(away_reason="gone since 2026-12-31")
HOLIDAY = RepAvailability(away_reason="a public holiday", away_today_only=True)


def owned(owner: str, kind: AccountKind = AccountKind.PROSPECT) -> AccountMatch:
    return AccountMatch(Account(7, owner, kind, ("contoso.example",)), reason="same domain")


def test_an_account_owner_comes_first_and_the_reasons_say_why() -> None:
    request = RoutingRequest(account_match=owned("dan"), former_owner="ben")
    assert route(request, plan(*OWNERS, REST)) == RoutingResult(
        "dan", None, ("account: dan owns account 7 (same domain), 0 of 5 today",), "account"
    )


def test_each_evaluated_rule_has_a_reason() -> None:
    dach = RoutingRule("dach", ToPool("few"), DACH)
    assert route(RoutingRequest({"country": "FR"}), plan(*OWNERS, dach, REST)).reasons == (
        "account: no account matches",
        "former: no rep had it before",
        "dach: not true that country in DE, AT, CH",
        "rest: pool all, round robin: Ada is next, 0 of 5 today",
    )


def test_the_former_owner_gets_a_lead_back_unless_they_declined_it() -> None:
    assert route(RoutingRequest(former_owner="ben"), plan(*OWNERS, REST)).rep == "ben"
    again = route(RoutingRequest(former_owner="ben", declined_by={"ben"}), plan(*OWNERS, REST))
    assert again.rep == "ada"
    assert again.reasons[1] == "former: ben had it before, but ben declined it or did not answer"


@pytest.mark.parametrize("kind", list(AccountKind))
def test_a_deputy_replaces_an_owner_on_leave_and_the_next_rule_one_who_left(kind: AccountKind) -> None:
    request = RoutingRequest(account_match=owned("dan", kind), availability={"dan": ON_LEAVE})
    assert route(request, plan(*OWNERS, REST)).rep == "ben"
    customer = kind is AccountKind.CUSTOMER
    left = route(replace(request, availability={"dan": GONE}), plan(*OWNERS, REST))
    assert (left.rep, left.queue) == ((None, "account-owner-unavailable") if customer else ("ada", None))


def test_deputies_of_deputies_are_tried_and_a_cycle_of_them_ends() -> None:
    team = {"dan": ON_LEAVE, "ben": RepAvailability(away_reason="on leave", deputy="cleo")}
    assert route(RoutingRequest(account_match=owned("dan"), availability=team), plan(*OWNERS, REST)).rep == "cleo"
    team["cleo"] = RepAvailability(away_reason="on leave", deputy="dan")
    assert route(RoutingRequest(account_match=owned("dan"), availability=team), plan(*OWNERS, REST)).rep == "ada"


@pytest.mark.parametrize("availability", [FULL, HOLIDAY])
def test_a_lead_waits_for_its_own_rep_but_not_forever(availability: RepAvailability) -> None:
    patient = replace(OWNERS[0], max_wait=timedelta(days=5))
    request = RoutingRequest(account_match=owned("dan"), availability={"dan": availability})
    assert route(request, plan(patient, REST)).is_waiting
    assert route(replace(request, waited=timedelta(days=5)), plan(patient, REST)).rep == "ada"


def test_a_customers_lead_never_goes_to_new_business() -> None:
    gone = RoutingRequest(account_match=owned("dan", AccountKind.CUSTOMER), declined_by={"dan"})
    rules = (RoutingRule("first", ToPool("few")), *OWNERS, REST)
    found = route(gone, plan(*rules))
    assert (found.rep, found.queue) == (None, "account-owner-unavailable")
    assert found.reasons[0] == "first: skipped: account 7 is a customer"
    care = RoutingRule("care", ToPool("all"), includes_customers=True)
    assert route(gone, plan(*rules, care)).rep == "ada"


def test_ambiguous_accounts_wait_for_a_person_with_the_candidates() -> None:
    both = (Account(7, "dan"), Account(9, "ben"))
    request = RoutingRequest(account_match=AccountMatch(None, both, "two names are alike"))
    found = route(request, plan(*OWNERS, REST))
    assert (found.queue, found.candidate_ids) == ("account-ambiguous", (7, 9))
    same = replace(request, account_match=AccountMatch(None, (Account(7, "dan"), Account(9, "dan")), "alike"))
    assert route(same, plan(*OWNERS, REST)).rep == "dan"


def test_a_possible_customers_lead_does_not_go_to_new_business() -> None:
    both = (Account(7, "dan", AccountKind.CUSTOMER), Account(9, "ben"))
    found = route(RoutingRequest(account_match=AccountMatch(None, both, "alike")), plan(REST, *OWNERS))
    assert (found.queue, found.candidate_ids) == ("account-ambiguous", (7, 9))


def test_named_accounts_go_by_domain_of_the_lead_or_of_its_account() -> None:
    key = RoutingRule("key", NamedAccounts({"contoso.example": "cleo"}))
    assert route(RoutingRequest(domain="contoso.example"), plan(key, REST)).rep == "cleo"
    assert route(RoutingRequest(account_match=owned("")), plan(key, REST)).rep == "cleo"
    assert route(RoutingRequest(domain="other.example"), plan(key, REST)).rep == "ada"


def test_partner_or_direct_is_decided_by_the_order_of_the_rules() -> None:
    rules = (RoutingRule("partners", ToPool("few"), PARTNERS), RoutingRule("dach", ToRep("ben"), DACH), REST)
    request = RoutingRequest({"country": "DE", "channel": "partner"})
    assert route(request, plan(*rules)).rep == "dan"
    assert route(request, plan(rules[1], rules[0], REST)).rep == "ben"


@pytest.mark.parametrize("country", [None, "", "  "])
def test_a_lead_waits_for_a_required_field_then_the_fallback_gets_it(country: str | None) -> None:
    dach = RoutingRule("dach", ToPool("few"), DACH, ("country",))
    request = RoutingRequest({"country": country})
    routing_plan = plan(*OWNERS, dach, REST, missing_fields=MissingFieldPolicy(fallback=ToRep("ben")))
    found = route(request, routing_plan)
    assert (found.queue, found.missing_field) == ("missing-field", "country")
    late = route(replace(request, overdue_fields={"country"}), routing_plan)
    assert late.rep == "ben"
    assert late.reasons[-1].startswith("dach: country is still not known after the wait; ben is named by the rule")
    assert route(RoutingRequest({"country": "AT"}), routing_plan).rep == "dan"


def test_nobody_is_asked_for_a_field_that_decides_nothing() -> None:
    both = RoutingRule("both", ToPool("few"), AllOf((PARTNERS, DACH)), ("country",))
    either = RoutingRule("either", ToPool("few"), AnyOf((PARTNERS, DACH)), ("country",))
    neither = RoutingRule("neither", ToPool("few"), Not(AnyOf((PARTNERS, DACH))), ("country",))
    direct, partner = RoutingRequest({"channel": "direct"}), RoutingRequest({"channel": "partner"})
    assert route(direct, plan(both, REST)).rep == "ada"
    assert route(partner, plan(both, REST)).missing_field == "country"
    assert route(partner, plan(either, REST)).rep == "dan"
    assert route(direct, plan(either, REST)).missing_field == "country"
    assert route(partner, plan(neither, REST)).rep == "ada"


@pytest.mark.parametrize(
    ("postcode", "inside"),
    [("80331", True), ("D-80331", True), ("89 999", True), ("90000", False), (80331, True), ("", False)],
)
def test_postcodes_are_compared_without_prefix_and_punctuation(postcode: object, inside: bool) -> None:
    south = RoutingRule("south", ToRep("dan"), PostcodeCondition("DE", "80000", "89999"))
    fields = {"country": "de", "postcode": postcode}
    assert (route(RoutingRequest(fields), plan(south, REST)).rep == "dan") is inside  # type: ignore[arg-type]
    assert route(RoutingRequest({**fields, "country": "AT"}), plan(south, REST)).rep == "ada"  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "inside"), [("SW1A 1AA", True), ("sw9", True), ("SE1 7PB", False), (1067, False)])
def test_a_range_of_postcodes_may_be_given_by_prefixes(code: str | int, inside: bool) -> None:
    rule = RoutingRule("london", ToRep("dan"), PostcodeCondition("GB", "SW1", "SW9"))
    assert (route(RoutingRequest({"country": "GB", "postcode": code}), plan(rule, REST)).rep == "dan") is inside
    saxony = RoutingRule("saxony", ToRep("dan"), PostcodeCondition("DE", "01000", "01999"))
    assert route(RoutingRequest({"country": "DE", "postcode": 1067}), plan(saxony, REST)).rep == "dan"


def test_a_rule_uses_the_given_fit_letter() -> None:
    best = RoutingRule("best", ToRep("dan"), FitCondition(at_least="B"))
    assert route(RoutingRequest(fit_letter="A"), plan(best, REST)).rep == "dan"
    assert route(RoutingRequest(fit_letter="C"), plan(best, REST)).rep == "ada"
    assert route(RoutingRequest(), plan(best, REST)).rep == "ada"


def test_a_full_pool_waits_and_one_that_all_declined_yields_to_the_next_rule() -> None:
    team = dict.fromkeys(("ada", "ben", "cleo"), FULL)
    assert route(RoutingRequest(availability=team), plan(REST, RoutingRule("more", ToPool("few")))).is_waiting
    declined = frozenset(team)
    assert route(RoutingRequest(declined_by=declined), plan(REST, RoutingRule("more", ToPool("few")))).rep == "dan"
    assert (
        route(RoutingRequest(declined_by=declined | {"dan"}), plan(REST, RoutingRule("more", ToPool("few")))).queue
        == "no-rep"
    )


def test_a_lead_waits_for_a_pool_that_is_away_today_only() -> None:
    team = dict.fromkeys(("ada", "ben", "cleo"), HOLIDAY)
    more = RoutingRule("more", ToPool("few"))
    assert route(RoutingRequest(availability=team), plan(REST, more)).is_waiting
    assert route(RoutingRequest(availability=dict.fromkeys(team, GONE)), plan(REST, more)).rep == "dan"


names = st.sampled_from(["ada", "ben", "cleo", "dan"])
availabilities = st.builds(
    RepAvailability,
    away_reason=st.sampled_from(["", "", "", "on leave"]),
    away_today_only=st.booleans(),
    deputy=st.none() | names,
    offers_today=st.integers(0, 6),
    open_leads=st.integers(0, 10),
    last_offer=st.integers(0, 99),
)
kinds = st.sampled_from(list(AccountKind))
accounts = st.builds(Account, st.integers(1, 9), names | st.just(""), kinds)
matches = st.builds(AccountMatch, st.none() | accounts, st.lists(accounts, max_size=2).map(tuple))
anything = st.builds(
    RoutingRequest,
    fields=st.fixed_dictionaries(
        {}, optional={"country": st.sampled_from(["DE", "FR", ""]), "channel": st.just("partner")}
    ),
    account_match=matches,
    former_owner=st.none() | names | st.just("zoe"),
    declined_by=st.frozensets(names),
    waited=st.integers(0, 9).map(lambda days: timedelta(days=days)),
    overdue_fields=st.sampled_from([frozenset(), frozenset({"country"})]),
    availability=st.dictionaries(names, availabilities),
)
EVERYTHING = plan(
    *(replace(rule, max_wait=timedelta(days=5)) for rule in OWNERS),
    RoutingRule("partners", ToRep("dan"), PARTNERS),
    RoutingRule("dach", ToPool("shares"), DACH, ("country",)),
    REST,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(anything)
def test_a_chosen_rep_may_take_the_lead_and_other_leads_wait_or_queue(request: RoutingRequest) -> None:
    found = route(request, EVERYTHING)
    assert route(request, EVERYTHING) == found
    assert found.reasons
    if found.rep is not None:
        availability, chosen = (request.availability.get(found.rep, RepAvailability()), EVERYTHING.reps[found.rep])
        assert availability.available
        assert availability.offers_today < chosen.capacity
        assert chosen.max_open_leads is None or availability.open_leads < chosen.max_open_leads
        assert found.rep not in request.declined_by
        assert found.queue is None
        match = request.account_match
        if match.account is not None and match.account.kind is AccountKind.CUSTOMER:
            assert found.rule in ("account", "former")


def test_a_day_of_weighted_leads_keeps_to_weights_and_capacity() -> None:
    shares = plan(RoutingRule("rest", ToPool("shares")))
    team = {name: RepAvailability() for name in ("ada", "ben", "cleo")}
    counts: dict[str, Counter[str]] = {}
    served: Counter[str] = Counter()
    for number in range(1, 30):
        found = route(RoutingRequest(availability=team, rotation_counts=counts), shares)
        if found.rep is None:
            assert found.is_waiting
            break
        one = team[found.rep]
        team[found.rep] = one._replace(
            offers_today=one.offers_today + 1, open_leads=one.open_leads + 1, last_offer=number
        )
        if found.rotation_key:
            counts.setdefault(found.rotation_key, Counter())[found.rep] += 1
        served[found.rep] += 1
    assert served == {"ada": 5, "ben": 5, "cleo": 5}
    assert sum(sum(one.values()) for one in counts.values()) == 7  # then Ada was full


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(0, 40))
def test_round_robin_fills_a_pool_evenly_within_capacity(capacities: list[int], leads: int) -> None:
    reps = [Rep(f"rep{number}", "Rep", "rep@example.com", capacity) for number, capacity in enumerate(capacities)]
    everyone = RoutingPlan.build(reps, {})
    team = {one.id: RepAvailability() for one in reps}
    for number in range(1, leads + 1):
        found = route(RoutingRequest(availability=team), everyone)
        if found.rep is None:
            break
        offers = team[found.rep].offers_today + 1
        team[found.rep] = RepAvailability(offers_today=offers, last_offer=number)
    given_to = {name: one.offers_today for name, one in team.items()}
    assert sum(given_to.values()) == min(leads, sum(capacities))
    assert all(given_to[one.id] <= one.capacity for one in reps)
    free = [given_to[one.id] for one in reps if given_to[one.id] < one.capacity]
    assert not free or max(given_to.values()) - min(free) <= 1
