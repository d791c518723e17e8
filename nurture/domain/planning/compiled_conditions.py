"""Compile conditions on fields into functions: routing evaluates them for thousands of leads a second.

Each returns the same answer and the same reason as `conditions.evaluate`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from nurture.domain.lead import Custodian, FieldValue, FieldValues, Lead
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    EvaluationContext,
    FieldCondition,
    FitCondition,
    FitRule,
    Not,
    evaluate,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.scoring.scoring import Points

CompiledCondition = Callable[[FieldValues, str], tuple[bool, str]]
"""Takes (fields, fit letter); returns whether the condition holds, and why."""

ALWAYS: Final = AllOf(())
ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)  # fields have no time
_NO_POINTS: Final = Points()


def field_context(fields: FieldValues, fit_letter: str) -> EvaluationContext:
    """Return an evaluation context for *fields* with a fit letter that is already known."""
    view = LeadView(Lead(0, fields), Custodian.QUEUE, None)
    return EvaluationContext(view, _NO_POINTS, fit_rules=(FitRule(fit_letter, ALWAYS),) if fit_letter else ())


def compile_condition(condition: Condition) -> CompiledCondition:
    """Return *condition* as a function of fields and fit letter."""
    match condition:
        case FieldCondition():
            return _compile_field(condition)
        case AllOf(parts=parts):
            return _compile_all_of([compile_condition(part) for part in parts])
        case AnyOf(parts=parts):
            return _compile_any_of([compile_condition(part) for part in parts])
        case Not(part=part):
            return _compile_not(compile_condition(part))
        case FitCondition():
            return _compile_fit(condition)
        case _:
            return _compile_other(condition)


def _compile_other(condition: Condition) -> CompiledCondition:
    def test(fields: FieldValues, fit: str) -> tuple[bool, str]:
        return evaluate(condition, field_context(fields, fit), ANY_TIME)[:2]

    return test


def _compile_fit(condition: FitCondition) -> CompiledCondition:
    answers = {fit: evaluate(condition, field_context({}, fit), ANY_TIME)[:2] for fit in ("A", "B", "C", "D", "")}
    return lambda _, fit: answers[fit]


def _compile_all_of(parts: list[CompiledCondition]) -> CompiledCondition:
    def test(fields: FieldValues, fit: str) -> tuple[bool, str]:
        reasons = []
        for part in parts:
            result = part(fields, fit)
            if not result[0]:
                return result
            reasons.append(result[1])
        return True, " and ".join(reasons) or "always"

    return test


def _compile_any_of(parts: list[CompiledCondition]) -> CompiledCondition:
    def test(fields: FieldValues, fit: str) -> tuple[bool, str]:
        reasons = []
        for part in parts:
            result = part(fields, fit)
            if result[0]:
                return result
            reasons.append(result[1])
        return False, "none of: " + "; ".join(reasons)

    return test


def _compile_not(part: CompiledCondition) -> CompiledCondition:
    def test(fields: FieldValues, fit: str) -> tuple[bool, str]:
        met, reason = part(fields, fit)
        return not met, reason

    return test


def _compile_field(condition: FieldCondition) -> CompiledCondition:
    """Cache the answer for each value of the field: few values differ."""
    name, cache = condition.name, dict[tuple[type, FieldValue], tuple[bool, str]]()

    def test(fields: FieldValues, _: str) -> tuple[bool, str]:
        value = fields.get(name)
        key = value.__class__, value
        cached = cache.get(key)
        if cached is None:
            if len(cache) >= _MAX_CACHED_ANSWERS:
                cache.clear()
            cached = cache[key] = evaluate(condition, field_context({name: value}, ""), ANY_TIME)[:2]
        return cached

    return test


_MAX_CACHED_ANSWERS: Final = 10_000
