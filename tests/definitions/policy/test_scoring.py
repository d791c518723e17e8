# ruff: noqa: E501  (a problem is on one line, as printed)
"""`points:`, `fit:` and `click_filtering:` in the policy."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.definitions.read_all import check, load
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import FieldCondition, FitCondition, FitRule
from nurture.domain.policy.policy import Policy
from nurture.domain.scoring.click_filtering import ClickThresholds
from nurture.domain.signals import SignalKind
from tests.definitions.build import POLICY, bundle

POINTS = "points: {clicked: 10, replied: 40, half_life: 30 days}"
PATH = "sales/policy.yaml"


def read(points: str = POINTS, more: str = "") -> Policy:
    policy = load(bundle(policy=POLICY.replace(POINTS, points) + more)).unversioned_policy
    assert policy is not None
    return policy


def problems(points: str = POINTS, more: str = "") -> list[str]:
    policy = POLICY.replace(POINTS, points) + more
    return [f"{problem.line}: {problem.message}. {problem.suggestion}" for problem in check(bundle(policy=policy))]


def test_one_half_life_needs_no_name() -> None:
    points = read().points
    assert points.points_by_kind == {SignalKind.CLICKED: 10, SignalKind.REPLIED: 40}
    assert (points.half_lives, points.half_life_index) == ((30.0,), {})


def test_several_half_lives_have_names_and_the_first_is_the_default() -> None:
    points = read(
        "points: {half_lives: {fast: 7 days, slow: 90 days}, clicked: 10, "
        "replied: {points: 40, half_life: slow}, visited: {points: 2, half_life: fast}}"
    ).points
    assert (points.half_lives, points.half_life_names) == ((7.0, 90.0), ("fast", "slow"))
    slots = [points.index_for(kind) for kind in (SignalKind.CLICKED, SignalKind.REPLIED, SignalKind.VISITED)]
    assert slots == [0, 1, 0]


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ("{half_life: 30 days, half_lives: {a: 7 days}}", "2: both `half_life` and `half_lives` are set. Keep one of them"),
        ("{half_lives: {}}", "2: `half_lives` has no half-lives. Write for example `half_lives: {fast: 7 days, slow: 90 days}`"),
        ("{half_lives: 7 days}", "2: `half_lives` has no half-lives. Write for example `half_lives: {fast: 7 days, slow: 90 days}`"),
        ("{half_lives: {a: 1 day, b: 2 days, c: 3 days, d: 4 days, e: 5 days}}", "2: `half_lives` has 5 half-lives; at most 4 are allowed. Give signals with similar decay the same one"),
        ("{half_lives: {fast: soon}}", "2: `fast`: `soon` is not a duration. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("{half_lives: {fast: 7 days, slow: 90 days}, clicked: {points: 1, half_life: slwo}}", "2: `clicked`: there is no half-life `slwo`. Did you mean `slow`?"),
        ("{clicked: {points: 1, half_life: slow}}", "2: `clicked`: there is no half-life `slow`. Write for example `half_lives: {fast: 7 days, slow: 90 days}`"),
        ("{clicked: {worth: 1}}", "2: `clicked`: `worth` is not a key of points. Write for example `clicked: {points: 10, half_life: fast}`"),
        ("{clicked: {half_life: fast}}", "2: `clicked`: `points` is missing. Write for example `clicked: {points: 10, half_life: fast}`"),
        ("{clicked: -5}", "2: `clicked`: `-5` is below 0, and points cannot be. Use a condition instead: `{not: {did: ...}}`"),
        ("{opened: 1}", "2: `opened`: mail programs open mail by themselves: it has no points. Remove this line"),
    ],
)  # fmt: skip
def test_invalid_points_say_line_problem_and_remedy(points: str, problem: str) -> None:
    assert problem in problems(f"points: {points}")


def test_fit_rules_are_evaluated_from_the_best_letter_whatever_their_order() -> None:
    policy = read(more="fit: {C: {field: a, is: 1}, A: {all: [{field: a, is: 1}, {field: b, is: 2}]}}\n")
    assert [rule.letter for rule in policy.fit] == ["A", "C"]
    assert policy.fit[1] == FitRule("C", FieldCondition("a", Comparison.IS, 1))
    assert [policy.grade(fields)[0] for fields in ({"a": 1, "b": 2}, {"a": 1}, {})] == ["A", "C", "D"]
    assert policy.grade({"a": 1})[1] == "a is 1"
    assert read().grade({"a": 1}) == ("", "")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("fit: {}\n", "`fit` has no letters. Write for example `A: {field: employees, at_least: 200}` under it"),
        ("fit: {D: always}\n", "`fit` gives the letters A, B and C, not `D`. All other leads get D: remove it"),
        ("fit: {A: {did: replied}}\n", "fit A uses more than fields. Use only `field`, `all`, `any` and `not`; signals belong in `points`"),
        ("fit: {A: {fit: {at_least: B}}}\n", "fit A uses more than fields. Use only `field`, `all`, `any` and `not`; signals belong in `points`"),
        ("fit: {A: {any: [{field: a, is: 1}, {not: {score: {below: 3}}}]}}\n", "fit A uses more than fields. Use only `field`, `all`, `any` and `not`; signals belong in `points`"),
    ],
)  # fmt: skip
def test_invalid_fit_says_line_problem_and_remedy(more: str, problem: str) -> None:
    assert any(said.endswith(problem) for said in problems(more=more))


def test_a_fit_condition_has_a_bound() -> None:
    policy_text = POLICY.replace("when: {did: replied}}", "when: {fit: {at_least: B}}}")
    fit = "fit: {A: {field: a, is: 1}}\n"
    policy = load(bundle(policy=policy_text + fit)).unversioned_policy
    assert policy is not None
    assert policy.criteria[0].when == FitCondition(at_least="B")
    assert any(
        "a condition uses fit, but no rule gives a letter" in one.message for one in check(bundle(policy=policy_text))
    )
    for invalid in ("{fit: {}}", "{fit: {at_least: B, below: A}}", "{fit: {at_least: E}}", "{fit: B}"):
        assert check(bundle(policy=policy_text.replace("{fit: {at_least: B}}", invalid) + fit))


def test_missing_keys_of_click_filtering_keep_their_defaults() -> None:
    assert read().click_filtering == ClickThresholds()
    written = read(
        more="click_filtering: {grace_period: 2 minutes, links_at_once: {links: 3, within: 1.5 seconds}, "
        "company_at_once: {leads: 5, within: 1 minute}}\n"
    ).click_filtering
    assert written == ClickThresholds(
        grace_period=timedelta(minutes=2),
        links=3,
        links_within=timedelta(seconds=1.5),
        leads=5,
        leads_within=timedelta(minutes=1),
    )


@pytest.mark.parametrize(
    ("click_filtering", "problem"),
    [
        ("{grace_period: 2 days}", "`grace_period`: `2 days` is not a short duration. Write for example `90 seconds` or `15 minutes`; at most one hour"),
        ("{grace_period: 2 hours}", "`grace_period`: `2 hours` is not a short duration. Write for example `90 seconds` or `15 minutes`; at most one hour"),
        ("{grace_perod: 9 seconds}", "unknown key `grace_perod` in `click_filtering`. Did you mean `grace_period`?"),
        ("{links_at_once: {links: 1, within: 2 seconds}}", "`links`: `1` is not greater than or equal to 2. Write for example `links: 2`"),
        ("{company_at_once: {leads: 3}}", "`within` is missing in `company_at_once`. Write for example `within: 10 seconds`"),
        ("90 seconds", "`click_filtering` needs keys and values below it. Write `grace_period:`, `min_time_after_delivery:`, `links_at_once:`, `company_at_once:` ... on indented lines"),
    ],
)  # fmt: skip
def test_invalid_click_filtering_says_line_problem_and_remedy(click_filtering: str, problem: str) -> None:
    assert any(said.endswith(problem) for said in problems(more=f"click_filtering: {click_filtering}\n"))
