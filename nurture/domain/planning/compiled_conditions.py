"""Conditions on facts, made ready once: routing asks them of thousands of leads a second.

Each gives the same answer, in the same words, as `conditions.evaluate` does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from nurture.domain.lead import Custodian, Fact, Facts, Lead
from nurture.domain.planning.conditions import (
    Any,
    Condition,
    Every,
    Field,
    Fit,
    FitRule,
    Not,
    Question,
    evaluate,
)
from nurture.domain.planning.lead_view import View
from nurture.domain.scoring.scoring import Points

Test = Callable[[Facts, str], tuple[bool, str]]
"""Answers about (facts, fit letter): yes or no, and why."""

ALWAYS: Final = Every(())
ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)  # facts have no time
_NO_POINTS: Final = Points()


def question(facts: Facts, fit: str) -> Question:
    """Return what conditions are asked about; the fit letter was found before, and holds for everything."""
    view = View(Lead(0, facts), Custodian.QUEUE, None)
    return Question(view, _NO_POINTS, fit=(FitRule(fit, ALWAYS),) if fit else ())


def made_ready(condition: Condition) -> Test:
    """Return *condition* as a test."""
    match condition:
        case Field():
            return _field(condition)
        case Every(parts=parts):
            return _every([made_ready(part) for part in parts])
        case Any(parts=parts):
            return _any([made_ready(part) for part in parts])
        case Not(part=part):
            return _not(made_ready(part))
        case Fit():
            return _fit(condition)
        case _:
            return _whole(condition)


def _whole(condition: Condition) -> Test:
    def test(facts: Facts, fit: str) -> tuple[bool, str]:
        return evaluate(condition, question(facts, fit), ANY_TIME)[:2]

    return test


def _fit(condition: Fit) -> Test:
    answers = {fit: evaluate(condition, question({}, fit), ANY_TIME)[:2] for fit in ("A", "B", "C", "D", "")}
    return lambda _, fit: answers[fit]


def _every(parts: list[Test]) -> Test:
    def test(facts: Facts, fit: str) -> tuple[bool, str]:
        told = []
        for part in parts:
            answer = part(facts, fit)
            if not answer[0]:
                return answer
            told.append(answer[1])
        return True, " and ".join(told) or "always"

    return test


def _any(parts: list[Test]) -> Test:
    def test(facts: Facts, fit: str) -> tuple[bool, str]:
        told = []
        for part in parts:
            answer = part(facts, fit)
            if answer[0]:
                return answer
            told.append(answer[1])
        return False, "none of: " + "; ".join(told)

    return test


def _not(part: Test) -> Test:
    def test(facts: Facts, fit: str) -> tuple[bool, str]:
        yes, because = part(facts, fit)
        return not yes, f"not ({because})"

    return test


def _field(condition: Field) -> Test:
    """Remember the answer to each value that the fact had: there are few that differ."""
    name, answers = condition.name, dict[tuple[type, Fact], tuple[bool, str]]()

    def test(facts: Facts, _: str) -> tuple[bool, str]:
        fact = facts.get(name)
        key = fact.__class__, fact
        known = answers.get(key)
        if known is None:
            if len(answers) >= _MOST_REMEMBERED:
                answers.clear()
            known = answers[key] = evaluate(condition, question({name: fact}, ""), ANY_TIME)[:2]
        return known

    return test


_MOST_REMEMBERED: Final = 10_000
