"""Decide whether a condition can be evaluated although some fields are unknown."""

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
    leaves,
)
from nurture.domain.planning.date_conditions import DateCondition


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
    names: set[str] = set()
    for one in leaves(condition):
        if isinstance(one, FieldCondition | DateCondition):
            names.add(one.name)
        elif isinstance(one, PostcodeCondition):
            names |= {"country", "postcode"}
    return frozenset(names)


def uses_fit(condition: Condition) -> bool:
    """Return whether a condition uses the fit letter."""
    return any(isinstance(one, FitCondition) for one in leaves(condition))
