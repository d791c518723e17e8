"""`tiers:` in the policy: what they say, and what is wrong with them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.definitions.read_all import check, load
from nurture.domain.policy.business_hours import DurationUnit, SlaDuration
from tests.definitions.build import EMAIL, POLICY, bundle

FIT = "fit: {A: {field: employees, at_least: 200}}\n"
TIERS = """\
tiers:
  - {name: fast, rules: [replied], fit: [A], wait: 30 minutes, accept: {take_back: 45 business minutes, reroute: 3}}
  - {name: hot, hot: yes}
priority: {hot: [replied]}
sla: {accept: {take_back: 8 business hours, reroute: 1}}
"""


def _problems(tiers: str) -> list[str]:
    texts = {"handoff/remind.md": EMAIL, "handoff/escalate.md": EMAIL}
    return [str(one) for one in check(bundle(policy=POLICY + FIT + tiers) | texts)]


def test_the_first_tier_that_takes_a_hand_off_decides_its_speed() -> None:
    policy = load(bundle(policy=POLICY + FIT + TIERS)).policy(1)
    fast, slow = policy.tier_of("replied", {"employees": 300}), policy.tier_of("replied", {"employees": 3})
    assert (fast and fast.name, slow and slow.name, policy.tier_of("other", {})) == ("fast", "hot", None)
    assert policy.sla_of("fast").accept.take_back == SlaDuration(45, DurationUnit.BUSINESS_MINUTES)
    assert policy.sla_of("fast").max_reroutes == 3
    assert policy.sla_of("hot") == policy.sla_of(None) == policy.sla_of("gone") == policy.effective_sla
    assert str(SlaDuration(45, DurationUnit.BUSINESS_MINUTES)) == "45 business minutes"


def test_a_hot_lead_waits_for_no_single_rep_unless_its_tier_says_how_long() -> None:
    policy = load(bundle(policy=POLICY + FIT + TIERS)).policy(1)
    assert policy.owner_wait("replied", {"employees": 300}) == timedelta(minutes=30)
    assert policy.owner_wait("replied", {}) == timedelta()
    assert policy.owner_wait("other", {}) is None


@pytest.mark.parametrize(
    ("tiers", "problem"),
    [
        ("tiers: fast\n", "`tiers` is not a list of tiers"),
        ("tiers: [{name: fast}]\n", "the tier `fast` takes every hand-off"),
        ("tiers: [{name: fast, rules: [repleid]}]\n", "no hand-off rule is named `repleid`. Did you mean `replied`?"),
        ("tiers: [{name: fast, fit: [Z]}]\n", "no rule of `fit` gives `Z`"),
        (
            "tiers: [{name: a, hot: yes, accept: {remind: 90 business minutes, take_back: 1 business hour}}]\n",
            "`take_back` after 1 business hour does not come after `remind` after 90 business minutes",
        ),
    ],
)
def test_a_wrong_tier_is_one_problem_with_a_remedy(tiers: str, problem: str) -> None:
    (found,) = _problems(tiers)
    assert problem in found
