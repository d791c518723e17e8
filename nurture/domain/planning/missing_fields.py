"""Decide whether a condition can be evaluated although some fields are unknown."""

from __future__ import annotations

from collections.abc import Collection

from nurture.domain.planning.compiled_conditions import ANY_TIME
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    EvaluationContext,
    FieldCondition,
    FitCondition,
    Not,
    PostcodeCondition,
    evaluate,
)


def depends_on(condition: Condition, unknown: Collection[str], context: EvaluationContext) -> bool:
    """Return whether an unknown field can change the result of *condition*; if not, nobody needs to be asked for it.

    A condition that uses none of *unknown* depends on them if it holds: the rule's author needs them for what
    follows.
    """
    result = _evaluate_partially(condition, unknown, context)
    return result is None or (result and not fields_used(condition) & set(unknown))


def _evaluate_partially(condition: Condition, unknown: Collection[str], context: EvaluationContext) -> bool | None:
    """Return True, False, or None if it depends on unknown fields."""
    match condition:
        case AllOf(parts=parts):
            results = [_evaluate_partially(part, unknown, context) for part in parts]
            return False if False in results else None if None in results else True
        case AnyOf(parts=parts):
            results = [_evaluate_partially(part, unknown, context) for part in parts]
            return True if True in results else None if None in results else False
        case Not(part=part):
            result = _evaluate_partially(part, unknown, context)
            return None if result is None else not result
        case _:
            if fields_used(condition) & set(unknown):
                return None
            return evaluate(condition, context, ANY_TIME).met


def fields_used(condition: Condition) -> frozenset[str]:
    """Return the fields that a condition uses, without those behind a fit letter."""
    match condition:
        case FieldCondition(name=name):
            return frozenset({name})
        case PostcodeCondition():
            return frozenset({"country", "postcode"})
        case AllOf(parts=parts) | AnyOf(parts=parts):
            return frozenset[str]().union(*map(fields_used, parts))
        case Not(part=part):
            return fields_used(part)
        case _:
            return frozenset()


def uses_fit(condition: Condition) -> bool:
    """Return whether a condition uses the fit letter."""
    match condition:
        case FitCondition():
            return True
        case AllOf(parts=parts) | AnyOf(parts=parts):
            return any(map(uses_fit, parts))
        case Not(part=part):
            return uses_fit(part)
        case _:
            return False
