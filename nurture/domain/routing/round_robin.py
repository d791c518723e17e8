"""Pick the next rep of a pool: round robin, weighted, or least loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from nurture.domain.policy.team import Pool, Rep, RotationMethod


class RepAvailability(NamedTuple):
    """A rep's availability and load today.

    *away_reason* says why they take no leads (on leave until ..., left on ..., a public holiday), "" if they
    do; *away_today_only*: only today, so leads of their own wait for them. *deputy* gets their leads while they
    are away for longer. *offers_today* counts the leads offered to them today, *open_leads* their open leads,
    *last_offer* is the number of their newest offer ever (0 for none).
    """

    away_reason: str = ""
    away_today_only: bool = False
    deputy: str | None = None
    offers_today: int = 0
    open_leads: int = 0
    last_offer: int = 0

    @property
    def available(self) -> bool:
        """Return whether the rep takes leads today."""
        return not self.away_reason


DEFAULT_AVAILABILITY = RepAvailability()
TeamAvailability = Mapping[str, RepAvailability]
RotationCounts = Mapping[str, Mapping[str, int]]
"""How many leads each rep ever got, by rotation key."""


@dataclass(frozen=True, slots=True)
class RotationPick:
    """The picked rep, why, and the key under which the pick is counted, "" if it is not."""

    rep: str
    reason: str
    rotation_key: str = ""


@dataclass(frozen=True, slots=True)
class RotationCandidates:
    """Which reps of a pool can take a lead.

    *with_capacity* are those of *available* who have capacity and did not decline this lead.
    """

    pool: Pool
    reps: Mapping[str, Rep]
    available: Sequence[str]
    with_capacity: Sequence[str]
    availability: TeamAvailability = field(default_factory=dict)

    def availability_of(self, rep: str) -> RepAvailability:
        """Return a rep's availability."""
        return self.availability.get(rep, DEFAULT_AVAILABILITY)


def has_capacity(rep: Rep, availability: RepAvailability) -> bool:
    """Return whether a rep may get one more lead today."""
    return availability.offers_today < rep.capacity and (
        rep.max_open_leads is None or availability.open_leads < rep.max_open_leads
    )


def next_rep(candidates: RotationCandidates, counts: RotationCounts) -> RotationPick:
    """Return the next rep; at least one must have capacity. The pool's order breaks ties."""
    match candidates.pool.rotation:
        case RotationMethod.ROUND_ROBIN:
            rep = min(candidates.with_capacity, key=lambda one: candidates.availability_of(one).last_offer)
            return RotationPick(rep, "round robin")
        case RotationMethod.LEAST_LOADED:
            rep = min(candidates.with_capacity, key=lambda one: _load(candidates.availability_of(one)))
            return RotationPick(rep, f"least loaded: {candidates.availability_of(rep).open_leads} open")
        case RotationMethod.WEIGHTED:
            return _pick_by_weight(candidates, counts)


def _load(availability: RepAvailability) -> tuple[int, int, int]:
    return availability.open_leads, availability.offers_today, availability.last_offer


def _pick_by_weight(candidates: RotationCandidates, counts: RotationCounts) -> RotationPick:
    """Distribute by weight: exactly while all available reps have capacity, else approximately.

    Only picks for which all had capacity are counted, separately for each set of reps and weights: so a rep who
    returns, is new, or was full does not get a backlog of what the others received meanwhile.
    """
    weights = {rep: candidates.reps[rep].weight for rep in candidates.available}
    if len(candidates.with_capacity) == len(candidates.available):
        key = rotation_key(candidates.pool.name, weights)
        rep = next_by_quota(weights, counts.get(key, {}))
        return RotationPick(rep, f"weighted, {weights[rep]} of {sum(weights.values())}", key)
    rep = min(candidates.with_capacity, key=lambda one: _weighted_load(candidates.availability_of(one), weights[one]))
    return RotationPick(rep, f"weighted, {weights[rep]} of {sum(weights.values())}, others have no capacity")


def _weighted_load(availability: RepAvailability, weight: int) -> tuple[float, int]:
    return (availability.offers_today + 1) / weight, availability.last_offer


def rotation_key(pool: str, weights: Mapping[str, int]) -> str:
    """Return the key under which picks among these reps with these weights are counted."""
    encoded = ",".join(f"{rep}={weight}" for rep, weight in weights.items())
    return f"{pool}:{sha256(encoded.encode()).hexdigest()[:16]}"


def next_by_quota(weights: Mapping[str, int], counts: Mapping[str, int]) -> str:
    """Return the next rep such that at any time every rep is less than 1 away from their ideal share.

    This is the quota method of Balinski and Young: among reps who stay below their upper quota with one more
    lead, pick the one whose next lead is due first. It is scheduling of unit jobs by earliest deadline: the
    k-th lead of a rep with share s may be given from lead floor((k-1)/s)+1 on and is due at lead ceil(k/s). An
    ideal fractional schedule meets all these dates, so an integral one exists, and earliest deadline first
    finds it.
    """
    total = sum(weights.values())
    position = sum(counts.get(rep, 0) for rep in weights) + 1
    eligible = [rep for rep, weight in weights.items() if counts.get(rep, 0) * total < weight * position]
    return min(eligible, key=lambda rep: -(-(counts.get(rep, 0) + 1) * total // weights[rep]))
