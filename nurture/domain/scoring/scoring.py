"""Compute engagement: points that halve with time, one sum per half-life, as of a time."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from nurture.domain.lead import Engagement
from nurture.domain.signals import Signal, SignalKind, SignalVerdict

SECONDS_PER_DAY: Final = 86_400.0
MAX_HALF_LIVES: Final = 4
TOLERANCE: Final = 1e-3
"""Relative. Forty points still count as forty after an hour of a half-life of a month. Otherwise a signal that
just reaches a threshold would miss it by the time of the next run, or of the end of its click's grace period."""
UNSCORED_KINDS: Final = frozenset({SignalKind.OPENED})
"""Kinds without points whatever the policy says: mail programs open mail by themselves."""

_CONVERGENCE: Final = 1e-12  # relative to the days until the value falls below the threshold
_MAX_ITERATIONS: Final = 200  # of Newton's method; a few suffice


@dataclass(frozen=True, slots=True)
class Points:
    """The points of each kind of signal (never below 0), and the half-lives in days.

    *half_life_index* gives the index in *half_lives* of a kind, by default the first. *low_intent* are kinds
    that show no intent: their points alone never reach a threshold. *key* identifies this scoring: sums stored
    under another key are not comparable.
    """

    points_by_kind: Mapping[SignalKind, float] = field(default_factory=dict)
    half_lives: tuple[float, ...] = (30.0,)
    half_life_index: Mapping[SignalKind, int] = field(default_factory=dict)
    half_life_names: tuple[str, ...] = field(default=(), compare=False)
    low_intent: frozenset[SignalKind] = frozenset()
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        worth = sorted((kind.value, self.points_by_kind[kind], self.index_for(kind)) for kind in self.points_by_kind)
        scoring = repr((worth, self.half_lives)).encode()
        object.__setattr__(self, "key", sha256(scoring).hexdigest()[:12])

    def points_for(self, signal: Signal) -> float:
        """Return the signal's points; only signals of humans count."""
        if signal.verdict is not SignalVerdict.HUMAN or signal.kind in UNSCORED_KINDS:
            return 0.0
        return self.points_by_kind.get(signal.kind, 0.0)

    def index_for(self, kind: SignalKind) -> int:
        """Return the index of the half-life of signals of *kind*."""
        return self.half_life_index.get(kind, 0)

    def decay(self, slot: int, seconds: float) -> float:
        """Return the factor that remains after *seconds*."""
        return math.exp2(-seconds / (self.half_lives[slot] * SECONDS_PER_DAY))


def total_engagement(engagement: Engagement) -> float:
    """Return the engagement at its `as_of`: the sum over all half-lives."""
    return sum(engagement.values)


def decay_to(engagement: Engagement, points: Points, at: datetime) -> Engagement:
    """Return the engagement at *at*, not before its `as_of`, without new signals."""
    if engagement.as_of is None or engagement.as_of == at:
        return engagement
    seconds = (at - engagement.as_of).total_seconds()
    slots = range(min(len(engagement.values), len(points.half_lives)))
    values = tuple(engagement.values[slot] * points.decay(slot, seconds) for slot in slots)
    return replace(engagement, values=values, as_of=at)


def shows_intent(points: Points, signals: Iterable[Signal], since: datetime | None, at: datetime) -> bool:
    """Return whether a signal with points until *at* shows intent; always True if no kind is of low intent."""
    return not points.low_intent or any(
        points.points_for(one) and one.kind not in points.low_intent
        for one in signals
        if one.occurred_at <= at and (since is None or since <= one.occurred_at)
    )


def engagement_value_at(engagement: Engagement, points: Points, at: datetime) -> float:
    """Return the engagement at *at*, not before its `as_of`, as one number."""
    return total_engagement(decay_to(engagement, points, at))


def reaches(value: float, threshold: float) -> bool:
    """Return whether *value* is at least *threshold*, within TOLERANCE for decay and rounding."""
    return value >= threshold - abs(threshold) * TOLERANCE


def add_signals(engagement: Engagement, points: Points, signals: Iterable[Signal]) -> Engagement:
    """Return the engagement after *signals*, in any order; late ones are decayed to the newest time.

    *engagement* was computed with these *points*, or is empty.
    """
    scored = [(signal.occurred_at, points.index_for(signal.kind), points.points_for(signal)) for signal in signals]
    scored = [one for one in scored if one[2]]
    if not scored:
        return replace(engagement, points_key=points.key)
    newest = max(at for at, _, _ in scored)
    if engagement.as_of is not None:
        newest = max(newest, engagement.as_of)
    values = [0.0] * len(points.half_lives)
    values[: len(engagement.values)] = decay_to(engagement, points, newest).values
    for at, slot, worth in sorted(scored):
        values[slot] += worth * points.decay(slot, (newest - at).total_seconds())
    return Engagement(tuple(values), newest, points.key)


def recompute_engagement(points: Points, signals: Iterable[Signal], since: datetime | None, at: datetime) -> Engagement:
    """Return the engagement at *at* from the signals between *since* and *at*."""
    values = [0.0] * len(points.half_lives)
    for signal in signals:
        worth = points.points_for(signal)
        if worth and signal.occurred_at <= at and (since is None or since <= signal.occurred_at):
            slot = points.index_for(signal.kind)
            values[slot] += worth * points.decay(slot, (at - signal.occurred_at).total_seconds())
    return Engagement(tuple(values), at, points.key)


def engagement_at(
    engagement: Engagement, points: Points, signals: Iterable[Signal], since: datetime | None, at: datetime
) -> Engagement:
    """Return the engagement at *at*: from the stored sums if they apply, else from *signals*.

    They do not apply before their `as_of`, nor if they were computed with other points.
    """
    if engagement.points_key == points.key and (engagement.as_of is None or at >= engagement.as_of):
        return decay_to(engagement, points, at)
    return recompute_engagement(points, signals, since, at)


def falls_below_at(engagement: Engagement, points: Points, threshold: float) -> datetime | None:
    """Return the first whole second at which the engagement is below *threshold* without new signals.

    None if it is below already at its `as_of`, or never falls (*threshold* not above 0).
    """
    if engagement.as_of is None or threshold <= 0 or not reaches(total_engagement(engagement), threshold):
        return None
    parts = [(value, days) for value, days in zip(engagement.values, points.half_lives, strict=False) if value]
    # A whole second of the clock, not counted from `as_of`: the result is the same for any earlier `as_of`.
    try:
        crosses = engagement.as_of + timedelta(days=_days_until(parts, threshold - threshold * TOLERANCE))
        return crosses.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        return None


def _days_until(parts: list[tuple[float, float]], least: float) -> float:
    """Return after how many days a sum of (value, half-life in days) has fallen to *least*.

    The logarithm of such a sum falls and is convex, so Newton's steps from today converge without overshooting;
    with one half-life it is a straight line, and one step is exact.
    """
    goal, days = math.log2(least), 0.0
    for _ in range(_MAX_ITERATIONS):
        powers = [math.log2(value) - days / half_life for value, half_life in parts]
        highest = max(powers)
        shares = [math.exp2(power - highest) for power in powers]
        share_total = sum(shares)
        slope = sum(share / half_life for share, (_, half_life) in zip(shares, parts, strict=True)) / share_total
        step = (highest + math.log2(share_total) - goal) / slope
        days += max(step, 0.0)
        if step <= days * _CONVERGENCE:
            break
    return days
