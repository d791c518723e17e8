"""Whether a question can be answered although some facts are not known."""

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
    """Tell whether a fact that is not known can decide *condition*; if not, nobody need be asked for it.

    A condition that names none of *unknown* hinges on them if it holds: whoever wrote that they are needed
    needs them for what comes next.
    """
    result = _evaluate_partially(condition, unknown, context)
    return result is None or (result and not fields_used(condition) & set(unknown))


def _evaluate_partially(condition: Condition, unknown: Collection[str], context: EvaluationContext) -> bool | None:
    """Answer yes, no, or None: it depends."""
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
    """Return the facts that a condition asks about; not those behind a fit letter."""
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
    """Tell whether a condition asks for the fit letter."""
    match condition:
        case FitCondition():
            return True
        case AllOf(parts=parts) | AnyOf(parts=parts):
            return any(map(uses_fit, parts))
        case Not(part=part):
            return uses_fit(part)
        case _:
            return False
