"""Warn of conditions under `all:` that exclude each other: no lead can meet them."""

from collections.abc import Iterable
from itertools import combinations
from typing import Final

from nurture.domain.lead import FieldValue
from nurture.domain.planning.comparisons import Comparison, to_number
from nurture.domain.planning.conditions import Condition, FieldCondition, Not

_ONE_OF: Final = frozenset({Comparison.IS, Comparison.IN})
_NONE_OF: Final = frozenset({Comparison.IS_NOT, Comparison.NOT_IN})


def find_contradiction(parts: Iterable[Condition]) -> str:
    """Return in words which two of *parts* exclude each other, "" if none do."""
    for one, other in combinations(parts, 2):
        if Not(one) == other or Not(other) == one:
            return "one of its conditions is the opposite of another"
        if isinstance(one, FieldCondition) and isinstance(other, FieldCondition) and one.name == other.name:
            for first, second in ((one, other), (other, one)):
                if found := _excludes(first, second):
                    return f"`{one.name}` cannot be {found}"
    return ""


def _excludes(first: FieldCondition, second: FieldCondition) -> str:
    """Return what *first* and *second* ask together, if no value of their field meets both."""
    kinds = first.comparison, second.comparison
    if first.comparison in _ONE_OF and second.comparison in _ONE_OF:
        return f"{_words(first)} and {_words(second)}" if not _values(first) & _values(second) else ""
    if first.comparison in _ONE_OF and second.comparison in _NONE_OF:
        return f"{_words(first)} and not {_words(second)}" if _values(first) <= _values(second) else ""
    low, high = (to_number(one.value) if not isinstance(one.value, tuple) else None for one in (first, second))
    if low is not None and high is not None:
        if kinds == (Comparison.AT_LEAST, Comparison.AT_MOST) and low > high:
            return f"at least {first.value} and at most {second.value}"
        if kinds == (Comparison.IS, Comparison.AT_LEAST) and low < high:
            return f"{first.value} and at least {second.value}"
        if kinds == (Comparison.IS, Comparison.AT_MOST) and low > high:
            return f"{first.value} and at most {second.value}"
    if first.comparison is Comparison.EXISTS and first.value is False and second.comparison in _ONE_OF:
        return f"missing and {_words(second)}"
    return ""


def _listed(condition: FieldCondition) -> tuple[FieldValue, ...]:
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def _values(condition: FieldCondition) -> set[str]:
    return {str(value).casefold() for value in _listed(condition)}


def _words(condition: FieldCondition) -> str:
    return " or ".join("yes" if one is True else "no" if one is False else str(one) for one in _listed(condition))
