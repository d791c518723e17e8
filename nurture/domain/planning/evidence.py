"""Name the evidence without which a condition never holds, so that most leads skip most criteria."""

from enum import Enum

from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    NewerThan,
    ScoreCondition,
    SignalCondition,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.signals import SignalKind


class Fact(Enum):
    """Evidence that is no signal of one kind: a score above 0, a stated decision date."""

    SCORE = 1
    TIMELINE = 2


Evidence = frozenset[SignalKind | Fact]


def needed_evidence(condition: Condition) -> Evidence | None:
    """Return what *condition* needs: a lead with none of it never meets it by time alone. None: nothing is needed."""
    match condition:
        case SignalCondition(kind=kind):
            return frozenset({kind})
        case ScoreCondition(at_least=float() | int() as bound) if bound > 0:
            return frozenset({Fact.SCORE})
        case DecidesWithin():
            return frozenset({Fact.TIMELINE})
        case NewerThan(part=part):
            return needed_evidence(part)
        case AllOf(parts=parts):
            needed = [one for one in map(needed_evidence, parts) if one is not None]
            return min(needed, key=len, default=None)
        case AnyOf(parts=parts):
            alternatives = [needed_evidence(part) for part in parts]
            known = [one for one in alternatives if one is not None]
            return frozenset().union(*known) if len(known) == len(alternatives) else None
        case _:
            return None


def evidence_of(view: LeadView) -> Evidence:
    """Return the evidence that is known of a lead, at any time."""
    found: set[SignalKind | Fact] = {one.kind for one in view.signals}
    if found or view.lead.engagement.as_of is not None:
        found.add(Fact.SCORE)
    if view.lead.timeline is not None:
        found.add(Fact.TIMELINE)
    return frozenset(found)
