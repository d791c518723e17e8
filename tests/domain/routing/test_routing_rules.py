"""Which rule gives a lead to whom, and what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.conditions import Any, Comparison, Every, Field, Fit, Not, Postcode
from nurture.domain.policy.team import Pool, Rep, Turn
from nurture.domain.routing.account import Account, AccountKind, Match
from nurture.domain.routing.round_robin import Standing
from nurture.domain.routing.routing import (
    DEFAULT_RULES,
    AccountOwner,
    Asked,
    FormerOwner,
    Missing,
    NamedAccounts,
    Plan,
    Routed,
    RoutingRule,
    ToPool,
    ToRep,
    route,
)

DACH = Field("country", Comparison.IN, ("DE", "AT", "CH"))
PARTNERS = Field("channel", Comparison.IS, "partner")


def rep(name: str, weight: int = 1, in_hand: int | None = None) -> Rep:
    return Rep(name, name.title(), f"{name}@example.com", 5, weight=weight, in_hand=in_hand)


def plan(*rules: RoutingRule, missing: Missing | None = None) -> Plan:
    reps = (rep("ada", 3), rep("ben"), rep("cleo", in_hand=9), rep("dan"))
    pools = {"all": Pool("all", ("ada", "ben", "cleo")), "few": Pool("few", ("dan",))}
    pools["shares"] = Pool("shares", ("ada", "ben", "cleo"), Turn.WEIGHTED)
    return Plan.of(reps, pools, rules or DEFAULT_RULES, missing)


REST = RoutingRule("rest", ToPool("all"))
OWNERS = (RoutingRule("account", AccountOwner()), RoutingRule("former", FormerOwner()))
FULL = Standing(today=5)
ON_LEAVE = Standing(away="on leave until 2027-01-06", deputy="ben")
GONE = Standing(away="gone since 2026-12-31")
HOLIDAY = Standing(away="a public holiday", back=True)


def owned(owner: str, kind: AccountKind = AccountKind.PROSPECT) -> Match:
    return Match(Account(7, owner, kind, ("contoso.example",)), because="same domain")


def test_an_accounts_owner_comes_before_everybody_and_the_chain_says_why() -> None:
    asked = Asked(account=owned("dan"), former="ben")
    assert route(asked, plan(*OWNERS, REST)) == Routed(
        "dan", None, ("account: dan owns account 7 (same domain), 0 of 5 today",), "account"
    )


def test_each_rule_that_was_asked_has_its_sentence() -> None:
    dach = RoutingRule("dach", ToPool("few"), DACH)
    assert route(Asked({"country": "FR"}), plan(*OWNERS, dach, REST)).because == (
        "account: no account matches",
        "former: nobody had it before",
        "dach: not true that country in DE, AT, CH",
        "rest: pool all, round robin: it is Ada's turn, 0 of 5 today",
    )


def test_the_former_owner_gets_a_lead_back_unless_they_gave_it_back() -> None:
    assert route(Asked(former="ben"), plan(*OWNERS, REST)).rep == "ben"
    again = route(Asked(former="ben", refused={"ben"}), plan(*OWNERS, REST))
    assert again.rep == "ada"
    assert again.because[1] == "former: ben had it before, but ben gave it back before"


@pytest.mark.parametrize("kind", list(AccountKind))
def test_an_owner_on_leave_has_a_deputy_and_one_who_left_hands_on(kind: AccountKind) -> None:
    asked = Asked(account=owned("dan", kind), team={"dan": ON_LEAVE})
    assert route(asked, plan(*OWNERS, REST)).rep == "ben"
    customer = kind is AccountKind.CUSTOMER
    left = route(replace(asked, team={"dan": GONE}), plan(*OWNERS, REST))
    assert (left.rep, left.queue) == ((None, "account-owner") if customer else ("ada", None))


def test_deputies_of_deputies_stand_in_and_a_ring_of_them_ends() -> None:
    team = {"dan": ON_LEAVE, "ben": Standing(away="on leave", deputy="cleo")}
    assert route(Asked(account=owned("dan"), team=team), plan(*OWNERS, REST)).rep == "cleo"
    team["cleo"] = Standing(away="on leave", deputy="dan")
    assert route(Asked(account=owned("dan"), team=team), plan(*OWNERS, REST)).rep == "ada"


@pytest.mark.parametrize("standing", [FULL, HOLIDAY])
def test_a_lead_waits_for_its_own_rep_but_not_for_ever(standing: Standing) -> None:
    patient = replace(OWNERS[0], wait=timedelta(days=5))
    asked = Asked(account=owned("dan"), team={"dan": standing})
    assert route(asked, plan(patient, REST)).waits
    assert route(replace(asked, waited=timedelta(days=5)), plan(patient, REST)).rep == "ada"


def test_a_customers_lead_never_goes_to_new_business() -> None:
    gone = Asked(account=owned("dan", AccountKind.CUSTOMER), refused={"dan"})
    rules = (RoutingRule("first", ToPool("few")), *OWNERS, REST)
    found = route(gone, plan(*rules))
    assert (found.rep, found.queue) == (None, "account-owner")
    assert found.because[0] == "first: not asked: account 7 is a customer"
    care = RoutingRule("care", ToPool("all"), customers=True)
    assert route(gone, plan(*rules, care)).rep == "ada"


def test_unsure_accounts_wait_for_a_person_with_the_candidates() -> None:
    both = (Account(7, "dan"), Account(9, "ben"))
    asked = Asked(account=Match(None, both, "two names are alike"))
    found = route(asked, plan(*OWNERS, REST))
    assert (found.queue, found.candidates) == ("account-unsure", (7, 9))
    same = replace(asked, account=Match(None, (Account(7, "dan"), Account(9, "dan")), "alike"))
    assert route(same, plan(*OWNERS, REST)).rep == "dan"


def test_what_may_be_a_customers_lead_is_not_given_to_new_business_first() -> None:
    both = (Account(7, "dan", AccountKind.CUSTOMER), Account(9, "ben"))
    found = route(Asked(account=Match(None, both, "alike")), plan(REST, *OWNERS))
    assert (found.queue, found.candidates) == ("account-unsure", (7, 9))


def test_named_accounts_go_by_domain_of_the_lead_or_of_its_account() -> None:
    key = RoutingRule("key", NamedAccounts({"contoso.example": "cleo"}))
    assert route(Asked(domain="contoso.example"), plan(key, REST)).rep == "cleo"
    assert route(Asked(account=owned("")), plan(key, REST)).rep == "cleo"
    assert route(Asked(domain="other.example"), plan(key, REST)).rep == "ada"


def test_partner_or_direct_is_settled_by_the_order_of_the_rules() -> None:
    rules = (RoutingRule("partners", ToPool("few"), PARTNERS), RoutingRule("dach", ToRep("ben"), DACH), REST)
    asked = Asked({"country": "DE", "channel": "partner"})
    assert route(asked, plan(*rules)).rep == "dan"
    assert route(asked, plan(rules[1], rules[0], REST)).rep == "ben"


@pytest.mark.parametrize("country", [None, "", "  "])
def test_a_fact_that_a_rule_needs_is_waited_for_then_somebody_gets_the_lead(country: str | None) -> None:
    dach = RoutingRule("dach", ToPool("few"), DACH, ("country",))
    asked = Asked({"country": country})
    ways = plan(*OWNERS, dach, REST, missing=Missing(then=ToRep("ben")))
    found = route(asked, ways)
    assert (found.queue, found.needs) == ("needs-country", "country")
    late = route(replace(asked, overdue={"country"}), ways)
    assert late.rep == "ben"
    assert late.because[-1].startswith(
        "dach: country is still not known, waited for in vain; ben takes these"
    )
    assert route(Asked({"country": "AT"}), ways).rep == "dan"


def test_nobody_is_asked_for_a_fact_that_decides_nothing() -> None:
    both = RoutingRule("both", ToPool("few"), Every((PARTNERS, DACH)), ("country",))
    either = RoutingRule("either", ToPool("few"), Any((PARTNERS, DACH)), ("country",))
    neither = RoutingRule("neither", ToPool("few"), Not(Any((PARTNERS, DACH))), ("country",))
    direct, partner = Asked({"channel": "direct"}), Asked({"channel": "partner"})
    assert route(direct, plan(both, REST)).rep == "ada"
    assert route(partner, plan(both, REST)).needs == "country"
    assert route(partner, plan(either, REST)).rep == "dan"
    assert route(direct, plan(either, REST)).needs == "country"
    assert route(partner, plan(neither, REST)).rep == "ada"


@pytest.mark.parametrize(
    ("postcode", "inside"),
    [("80331", True), ("D-80331", True), ("89 999", True), ("90000", False), (80331, True), ("", False)],
)
def test_postcodes_are_compared_without_their_dress(postcode: object, inside: bool) -> None:
    south = RoutingRule("south", ToRep("dan"), Postcode("DE", "80000", "89999"))
    facts = {"country": "de", "postcode": postcode}
    assert (route(Asked(facts), plan(south, REST)).rep == "dan") is inside  # type: ignore[arg-type]
    assert route(Asked({**facts, "country": "AT"}), plan(south, REST)).rep == "ada"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "inside"), [("SW1A 1AA", True), ("sw9", True), ("SE1 7PB", False), (1067, False)]
)
def test_a_range_of_postcodes_may_be_told_by_their_beginnings(code: str | int, inside: bool) -> None:
    rule = RoutingRule("london", ToRep("dan"), Postcode("GB", "SW1", "SW9"))
    assert (route(Asked({"country": "GB", "postcode": code}), plan(rule, REST)).rep == "dan") is inside
    saxony = RoutingRule("saxony", ToRep("dan"), Postcode("DE", "01000", "01999"))
    assert route(Asked({"country": "DE", "postcode": 1067}), plan(saxony, REST)).rep == "dan"


def test_the_fit_letter_decides_as_it_was_found() -> None:
    best = RoutingRule("best", ToRep("dan"), Fit(at_least="B"))
    assert route(Asked(fit="A"), plan(best, REST)).rep == "dan"
    assert route(Asked(fit="C"), plan(best, REST)).rep == "ada"
    assert route(Asked(), plan(best, REST)).rep == "ada"


def test_a_full_pool_waits_and_one_that_all_refused_hands_on() -> None:
    team = dict.fromkeys(("ada", "ben", "cleo"), FULL)
    assert route(Asked(team=team), plan(REST, RoutingRule("more", ToPool("few")))).waits
    refused = frozenset(team)
    assert route(Asked(refused=refused), plan(REST, RoutingRule("more", ToPool("few")))).rep == "dan"
    assert (
        route(Asked(refused=refused | {"dan"}), plan(REST, RoutingRule("more", ToPool("few")))).queue
        == "no-rep"
    )


def test_a_pool_that_is_away_for_today_only_is_waited_for() -> None:
    team = dict.fromkeys(("ada", "ben", "cleo"), HOLIDAY)
    more = RoutingRule("more", ToPool("few"))
    assert route(Asked(team=team), plan(REST, more)).waits
    assert route(Asked(team=dict.fromkeys(team, GONE)), plan(REST, more)).rep == "dan"


names = st.sampled_from(["ada", "ben", "cleo", "dan"])
standings = st.builds(
    Standing,
    away=st.sampled_from(["", "", "", "on leave"]),
    back=st.booleans(),
    deputy=st.none() | names,
    today=st.integers(0, 6),
    in_hand=st.integers(0, 10),
    newest=st.integers(0, 99),
)
kinds = st.sampled_from(list(AccountKind))
accounts = st.builds(Account, st.integers(1, 9), names | st.just(""), kinds)
matches = st.builds(Match, st.none() | accounts, st.lists(accounts, max_size=2).map(tuple))
anything = st.builds(
    Asked,
    facts=st.fixed_dictionaries(
        {}, optional={"country": st.sampled_from(["DE", "FR", ""]), "channel": st.just("partner")}
    ),
    account=matches,
    former=st.none() | names | st.just("zoe"),
    refused=st.frozensets(names),
    waited=st.integers(0, 9).map(lambda days: timedelta(days=days)),
    overdue=st.sampled_from([frozenset(), frozenset({"country"})]),
    team=st.dictionaries(names, standings),
)
EVERYTHING = plan(
    *(replace(rule, wait=timedelta(days=5)) for rule in OWNERS),
    RoutingRule("partners", ToRep("dan"), PARTNERS),
    RoutingRule("dach", ToPool("shares"), DACH, ("country",)),
    REST,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(anything)
def test_whoever_is_chosen_may_have_it_and_everybody_else_is_somewhere(asked: Asked) -> None:
    found = route(asked, EVERYTHING)
    assert route(asked, EVERYTHING) == found
    assert found.because
    if found.rep is not None:
        standing, chosen = asked.team.get(found.rep, Standing()), EVERYTHING.reps[found.rep]
        assert standing.available
        assert standing.today < chosen.capacity
        assert chosen.in_hand is None or standing.in_hand < chosen.in_hand
        assert found.rep not in asked.refused
        assert found.queue is None
        match = asked.account
        if match.account is not None and match.account.kind is AccountKind.CUSTOMER:
            assert found.rule in ("account", "former")


def test_a_day_of_weighted_leads_keeps_to_the_weights_and_nobody_gets_more_than_fits() -> None:
    shares = plan(RoutingRule("rest", ToPool("shares")))
    team = {name: Standing() for name in ("ada", "ben", "cleo")}
    given_: dict[str, Counter[str]] = {}
    served: Counter[str] = Counter()
    for number in range(1, 30):
        found = route(Asked(team=team, given=given_), shares)
        if found.rep is None:
            assert found.waits
            break
        one = team[found.rep]
        team[found.rep] = replace(one, today=one.today + 1, in_hand=one.in_hand + 1, newest=number)
        if found.turn:
            given_.setdefault(found.turn, Counter())[found.rep] += 1
        served[found.rep] += 1
    assert served == {"ada": 5, "ben": 5, "cleo": 5}
    assert sum(sum(one.values()) for one in given_.values()) == 7  # then Ada was full
