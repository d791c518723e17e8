"""`routing:` and `missing_fields:` in the policy."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.definitions.read_all import check, load
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import FieldCondition, PostcodeCondition
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.routing import (
    DEFAULT_OWNER_WAIT,
    DEFAULT_RULES,
    AccountOwner,
    FormerOwner,
    MissingFieldPolicy,
    NamedAccounts,
    RoutingRule,
    ToPool,
    ToRep,
)
from tests.definitions.build import POLICY, bundle

ROUTING = """\
pools: {dach: {reps: [mara], rotation: weighted}}
routing:
  - {name: account, to: account owner, wait: 2 days}
  - {name: former, to: Former Owner}
  - {name: key, accounts: {www.Contoso.example: mara}}
  - {name: dach, when: {field: country, is: [DE, "NO"]}, required_fields: [country], to: {pool: dach}, territory: yes}
  - {name: south, when: {postcode: {country: de, from: "80000", to: "89 999"}}, to: {rep: mara}, wait: 5 days}
  - {name: clients, when: {field: product, is: support}, to: {pool: dach}, customers: yes}
  - {name: rest, when: always, to: {pool: everyone}}
missing_fields: {wait: 4 days, then: {rep: mara}}
"""


def read(routing: str) -> Policy:
    return load(bundle(policy=POLICY + routing)).policy(1)


def test_without_routing_owners_come_first_then_everyone() -> None:
    policy = read("")
    assert policy.routing == DEFAULT_RULES
    assert policy.missing_fields == MissingFieldPolicy(timedelta(days=3), ToPool("everyone"))
    assert policy.routing_plan.pools["everyone"].reps == ("mara",)


def test_rules_are_read_in_their_order() -> None:
    policy = read(ROUTING)
    countries = FieldCondition("country", Comparison.IN, ("DE", "NO"))
    assert policy.routing[:5] == (
        RoutingRule("account", AccountOwner(), max_wait=timedelta(days=2)),
        RoutingRule("former", FormerOwner(), max_wait=DEFAULT_OWNER_WAIT),
        RoutingRule("key", NamedAccounts({"contoso.example": "mara"}), max_wait=DEFAULT_OWNER_WAIT),
        RoutingRule("dach", ToPool("dach"), countries, ("country",), territory=True),
        RoutingRule("south", ToRep("mara"), PostcodeCondition("DE", "80000", "89999"), max_wait=DEFAULT_OWNER_WAIT),
    )
    assert policy.routing[5].takes_customers
    assert policy.missing_fields == MissingFieldPolicy(timedelta(days=4), ToRep("mara"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("to: {pool: dach}, t", "to: {pool: dahc}, t", "20: there is no pool `dahc`. Did you mean `dach`?"),
        ("to: {rep: mara}, w", "to: {rep: maar}, w", "21: the rule `south` names `maar`, who is not a rep."),
        (
            "www.Contoso.example: mara",
            "contoso: mara",
            "19: `contoso` is not a company's domain. Write for example `contoso.example`",
        ),
        ("{name: key, a", "{name: key, to: account owner, a", "19: the rule `key` has both `to` and `accounts`."),
        ("to: Former Owner", "to: former", "18: `to: former` of the rule `former` is not a target."),
        (
            "{field: product, is: support}",
            "{did: replied}",
            "22: a routing rule uses signals or a condition that changes with time",
        ),
        ("to: account owner, w", "to: former owner, w", "17: no rule goes to the account owner"),
        ("  - {name: rest, when: always, to: {pool: everyone}}\n", "", "22: a lead that matches no routing rule"),
        (
            "required_fields: [country], ",
            "required_fields: [country], wait: 2 days, ",
            "20: the rule `dach` has `wait`",
        ),
        (
            "name: former, ",
            "name: former, required_fields: [country], ",
            "18: the rule `former` requires country, but its target",
        ),
        ('"80000"', '"90000"', "21: no postcode is from `90000` to `89 999`. Write the lower one first"),
        ("country: de", "country: Germany", "21: `Germany` is not a country code."),
        (
            "{wait: 4 days, then: {rep: mara}}",
            "{then: {rep: tom}}",
            "24: `missing_fields` names `tom`, who is not a rep",
        ),
        ("{field: product, is: support}", "{fit: {at_least: B}}", "16: `routing` uses fit, but no rule gives"),
    ],
)
def test_an_invalid_rule_says_line_problem_and_remedy(old: str, new: str, problem: str) -> None:
    text = POLICY + ROUTING
    assert old in text
    problems = [str(one) for one in check(bundle(policy=text.replace(old, new)))]
    assert any(one.removeprefix("sales/policy.yaml:").startswith(problem) for one in problems), problems


def test_territories_that_name_the_same_country_are_a_problem_unless_overlaps_are_allowed() -> None:
    rules = """\
routing:
  - {name: account, to: account owner}
  - {name: dach, when: {field: country, is: [DE, AT]}, to: {rep: mara}, territory: yes}
  - {name: at, when: {field: country, is: AT}, to: {rep: mara}, territory: yes}
  - {name: rest, when: always, to: {pool: everyone}}
"""
    (found,) = check(bundle(policy=POLICY + rules))
    assert "the territories `dach` and `at` both claim country AT" in str(found)
    assert check(bundle(policy=f"{POLICY}{rules}overlaps: allowed\n")) == []
