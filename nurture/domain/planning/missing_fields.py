"""Whether a question can be answered although some facts are not known."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from nurture.domain.planning.conditions import (
    Any,
    Condition,
    Every,
    Field,
    Fit,
    Not,
    Postcode,
    Question,
    evaluate,
)

_ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)


def hinges_on(condition: Condition, unknown: Collection[str], about: Question) -> bool:
    """Tell whether a fact that is not known can decide *condition*; if not, nobody need be asked for it.

    A condition that names none of *unknown* hinges on them if it holds: whoever wrote that they are needed
    needs them for what comes next.
    """
    answer = _held(condition, unknown, about)
    return answer is None or (answer and not facts_named(condition) & set(unknown))


def _held(condition: Condition, unknown: Collection[str], about: Question) -> bool | None:
    """Answer yes, no, or None: it depends."""
    match condition:
        case Every(parts=parts):
            answers = [_held(part, unknown, about) for part in parts]
            return False if False in answers else None if None in answers else True
        case Any(parts=parts):
            answers = [_held(part, unknown, about) for part in parts]
            return True if True in answers else None if None in answers else False
        case Not(part=part):
            answer = _held(part, unknown, about)
            return None if answer is None else not answer
        case _:
            if facts_named(condition) & set(unknown):
                return None
            return evaluate(condition, about, _ANY_TIME).yes


def facts_named(condition: Condition) -> frozenset[str]:
    """Return the facts that a condition asks about; not those behind a fit letter."""
    match condition:
        case Field(name=name):
            return frozenset({name})
        case Postcode():
            return frozenset({"country", "postcode"})
        case Every(parts=parts) | Any(parts=parts):
            return frozenset[str]().union(*map(facts_named, parts))
        case Not(part=part):
            return facts_named(part)
        case _:
            return frozenset()


def asks_fit(condition: Condition) -> bool:
    """Tell whether a condition asks for the fit letter."""
    match condition:
        case Fit():
            return True
        case Every(parts=parts) | Any(parts=parts):
            return any(map(asks_fit, parts))
        case Not(part=part):
            return asks_fit(part)
        case _:
            return False
