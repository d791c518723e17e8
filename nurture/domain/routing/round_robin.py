"""Whose turn it is in a pool: round robin, weighted, or least loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from nurture.domain.policy.team import Pool, Rep, Turn


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rep stands today.

    *away* says why they take no leads (on leave until ..., left on ..., a public holiday), "" if they do;
    *back* tells that they are away for today only, so that their own leads wait for them. *deputy* takes
    theirs while they are away for longer. *today* counts the leads offered to them this day, *in_hand* their
    open work, *newest* is the number of their newest offer ever (0 for none).
    """

    away: str = ""
    back: bool = False
    deputy: str | None = None
    today: int = 0
    in_hand: int = 0
    newest: int = 0

    @property
    def available(self) -> bool:
        """Tell whether they take leads today."""
        return not self.away


UNSEEN = Standing()
Team = Mapping[str, Standing]
Given = Mapping[str, Mapping[str, int]]
"""How many leads each rep was ever given in turn, by the key of the turn."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Whose turn it is, why, and the key under which this turn is counted, "" if it is not."""

    rep: str
    because: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Circle:
    """Who of a pool can take a lead: *free* are those of *present* who have room and did not refuse it."""

    pool: Pool
    reps: Mapping[str, Rep]
    present: Sequence[str]
    free: Sequence[str]
    team: Team = field(default_factory=dict)

    def standing(self, rep: str) -> Standing:
        """Return where a rep stands."""
        return self.team.get(rep, UNSEEN)


def has_room(rep: Rep, standing: Standing) -> bool:
    """Tell whether a rep may be given one more lead today."""
    return standing.today < rep.capacity and (rep.in_hand is None or standing.in_hand < rep.in_hand)


def whose_turn(circle: Circle, given: Given) -> Turned:
    """Return the rep whose turn it is; somebody must be free. The pool's order settles ties."""
    match circle.pool.by:
        case Turn.ROUND_ROBIN:
            rep = min(circle.free, key=lambda one: circle.standing(one).newest)
            return Turned(rep, "round robin")
        case Turn.LEAST_LOADED:
            rep = min(circle.free, key=lambda one: _load(circle.standing(one)))
            return Turned(rep, f"least loaded: {circle.standing(rep).in_hand} open")
        case Turn.WEIGHTED:
            return _by_weight(circle, given)


def _load(standing: Standing) -> tuple[int, int, int]:
    return standing.in_hand, standing.today, standing.newest


def _by_weight(circle: Circle, given: Given) -> Turned:
    """Share by weight: exactly where all that are present are free, as nearly as it goes where not.

    Only turns that were open to all are counted, apart for each set of people and weights: so a rep who comes
    back, is new, or was full is not flooded with what the others had meanwhile.
    """
    weights = {rep: circle.reps[rep].weight for rep in circle.present}
    if len(circle.free) == len(circle.present):
        key = turn_key(circle.pool.name, weights)
        rep = next_by_quota(weights, given.get(key, {}))
        return Turned(rep, f"weighted, {weights[rep]} of {sum(weights.values())}", key)
    rep = min(circle.free, key=lambda one: _strain(circle.standing(one), weights[one]))
    return Turned(rep, f"weighted, {weights[rep]} of {sum(weights.values())}, others cannot take it")


def _strain(standing: Standing, weight: int) -> tuple[float, int]:
    return (standing.today + 1) / weight, standing.newest


def turn_key(pool: str, weights: Mapping[str, int]) -> str:
    """Return the key under which turns of these people with these weights are counted."""
    told = ",".join(f"{rep}={weight}" for rep, weight in weights.items())
    return f"{pool}:{sha256(told.encode()).hexdigest()[:16]}"


def next_by_quota(weights: Mapping[str, int], given: Mapping[str, int]) -> str:
    """Return who is next so that at any prefix everybody is less than 1 away from their ideal share.

    The quota method of Balinski and Young: of those who stay below their upper quota with one more lead, the
    one whose next lead falls due first. That is scheduling unit jobs by the earliest deadline: the k-th lead
    of somebody with share s may be given from lead floor((k-1)/s)+1 on and falls due at lead ceil(k/s). An
    ideal fractional schedule meets all these dates, so a whole one exists: earliest deadline first finds it.
    """
    total = sum(weights.values())
    turn = sum(given.get(rep, 0) for rep in weights) + 1
    may = [rep for rep, weight in weights.items() if given.get(rep, 0) * total < weight * turn]
    return min(may, key=lambda rep: -(-(given.get(rep, 0) + 1) * total // weights[rep]))
