# ruff: noqa: E501  (a problem is on one line, as printed)
"""Which criteria of `hand_off_when` are requests, and which are interest."""

from __future__ import annotations

import pytest

from nurture.definitions.folder import read_folder
from nurture.definitions.read_all import check, load
from nurture.domain.planning.conditions import NewerThan, SignalCondition
from nurture.domain.signals import SignalKind
from tests.definitions.build import POLICY, SHIPPED, bundle

WHEN = "  - {name: replied, when: {did: replied}}\n"


def sources(criterion: str) -> dict[str, str]:
    return bundle(policy=POLICY.replace(WHEN, f"  - {criterion}\n"))


@pytest.mark.parametrize(
    ("criterion", "signals"),
    [
        ("{name: a, when: {did: replied}}", {SignalKind.REPLIED}),
        ("{name: a, kind: interest, when: {did: replied}}", set()),
        ("{name: a, when: {did: submitted}}", set()),
        ("{name: a, kind: request, when: {did: submitted, link: price}}", {SignalKind.SUBMITTED}),
        ("{name: a, when: {any: [{did: requested_demo}, {did: clicked, times: 3}]}}", {SignalKind.REQUESTED_DEMO}),
    ],
)
def test_the_kind_is_derived_or_written(criterion: str, signals: set[SignalKind]) -> None:
    policy = load(sources(criterion)).unversioned_policy
    assert policy is not None
    assert policy.request_signals == signals
    assert [one.name for one in policy.requests] == ["a"] * bool(signals)


@pytest.mark.parametrize(
    ("criterion", "problem"),
    [
        ("{name: a, kind: request, when: {score: {at_least: 4}}}", "6: `a` is not a request: it contains no signal and no stated date. Use `did` or `timeline`, or write `kind: interest`"),
        ("{name: a, kind: request, when: {field: demo_requested, is: yes}}", "6: `a` is not a request: it contains no signal and no stated date. Use `did` or `timeline`, or write `kind: interest`"),
        ("{name: a, kind: plea, when: {did: replied}}", "6: `kind`: `plea` is not 'request' or 'interest'. Write for example `kind: request`"),
    ],
)  # fmt: skip
def test_a_kind_that_cannot_be_is_a_problem(criterion: str, problem: str) -> None:
    assert [f"{one.line}: {one.message}. {one.suggestion}" for one in check(sources(criterion))] == [problem]


def test_the_shipped_policy_names_the_kind_of_each_criterion() -> None:
    policy = load(read_folder(SHIPPED)).unversioned_policy
    assert policy is not None
    assert {one.name: one.kind for one in policy.criteria if one.kind is None} == {}
    assert [one.name for one in policy.requests] == ["asked-for-demo", "replied", "decides-soon"]
    assert policy.requests[0].when == NewerThan(SignalCondition(SignalKind.REQUESTED_DEMO))
