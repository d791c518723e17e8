"""Evidence: a condition whose evidence a lead lacks never holds; most leads lack that of most criteria."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import event, given, settings

from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    EvaluationContext,
    FieldCondition,
    NewerThan,
    Not,
    ScoreCondition,
    SignalCondition,
    evaluate,
)
from nurture.domain.planning.evidence import Evidence, Fact, evidence_of, needed_evidence
from nurture.domain.signals import SignalKind
from tests.domain.builders import view
from tests.domain.planning.test_conditions import conditions, contexts, hour

CLICKED, REPLIED = SignalCondition(SignalKind.CLICKED), SignalCondition(SignalKind.REPLIED)
BIG = FieldCondition("employees", Comparison.AT_LEAST, 500)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(conditions, contexts(), hour)
def test_without_its_evidence_no_condition_ever_holds(
    condition: Condition, context: EvaluationContext, asked: datetime
) -> None:
    needed = needed_evidence(condition)
    if needed is None or not evidence_of(context.view).isdisjoint(needed):
        event("not ruled out")
        return
    event("ruled out")
    for days in range(130):
        assert not evaluate(condition, context, asked + timedelta(days=days)).met


@pytest.mark.parametrize(
    ("condition", "needed"),
    [
        (CLICKED, {SignalKind.CLICKED}),
        (NewerThan(CLICKED), {SignalKind.CLICKED}),
        (ScoreCondition(at_least=1), {Fact.SCORE}),
        (ScoreCondition(at_least=0), None),
        (ScoreCondition(below=1), None),
        (DecidesWithin(30), {Fact.TIMELINE}),
        (BIG, None),
        (Not(CLICKED), None),
        (AllOf((BIG, CLICKED)), {SignalKind.CLICKED}),
        (AnyOf((CLICKED, REPLIED)), {SignalKind.CLICKED, SignalKind.REPLIED}),
        (AnyOf((CLICKED, BIG)), None),
        (AllOf((AnyOf((CLICKED, REPLIED)), DecidesWithin(3))), {Fact.TIMELINE}),
    ],
)
def test_the_evidence_of_a_condition_is_what_it_cannot_hold_without(condition: Condition, needed: Evidence) -> None:
    assert needed_evidence(condition) == needed


def test_a_lead_that_did_nothing_has_no_evidence() -> None:
    assert evidence_of(view("s0")) == frozenset()
