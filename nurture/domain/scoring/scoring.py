"""Engagement: points that halve with time, one sum for each half-life, and the moment it was true."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from nurture.domain.lead import Engagement
from nurture.domain.signals import Signal, SignalKind, SignalVerdict

SECONDS_PER_DAY: Final = 86_400.0
MOST_HALF_LIVES: Final = 4
TOLERANCE: Final = 1e-3
"""Of the number asked for: forty points are still forty after an hour of a month's half-life. Else a deed
that just reaches a number would have missed it by the time when anybody looks, or its click has settled."""
NEVER_WORTH: Final = frozenset({SignalKind.OPENED})
"""Kinds without points whatever the policy says: mail programs open mail by themselves."""

_CLOSE_ENOUGH: Final = 1e-12  # of the days until a fall
_MOST_STEPS: Final = 200  # of Newton's; a few do


@dataclass(frozen=True, slots=True)
class Points:
    """How much each kind of signal is worth (never below 0), and after how many days the worth has halved.

    *slots* says which half-life a kind has, by its place in *half_lives*; the first where none is said.
    *low* are kinds that show no intent: points from them alone never reach a bound.
    *key* names this way of scoring: sums that were kept under another key mean something else.
    """

    worth: Mapping[SignalKind, float] = field(default_factory=dict)
    half_lives: tuple[float, ...] = (30.0,)
    slots: Mapping[SignalKind, int] = field(default_factory=dict)
    names: tuple[str, ...] = field(default=(), compare=False)
    low: frozenset[SignalKind] = frozenset()
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        worth = sorted((kind.value, self.worth[kind], self.slot(kind)) for kind in self.worth)
        scoring = repr((worth, self.half_lives)).encode()
        object.__setattr__(self, "key", sha256(scoring).hexdigest()[:12])

    def of(self, signal: Signal) -> float:
        """Return the signal's points; only what a human did counts."""
        if signal.verdict is not SignalVerdict.HUMAN or signal.kind in NEVER_WORTH:
            return 0.0
        return self.worth.get(signal.kind, 0.0)

    def slot(self, kind: SignalKind) -> int:
        """Return the place of the half-life that signals of *kind* have."""
        return self.slots.get(kind, 0)

    def decay(self, slot: int, seconds: float) -> float:
        """Return the factor that is left after *seconds*."""
        return math.exp2(-seconds / (self.half_lives[slot] * SECONDS_PER_DAY))


def total(engagement: Engagement) -> float:
    """Return the engagement at its `as_of`: the sum over all half-lives."""
    return sum(engagement.values)


def aged(engagement: Engagement, points: Points, moment: datetime) -> Engagement:
    """Return the engagement as it is at *moment*, which is not before its `as_of`, if nothing happens."""
    if engagement.as_of is None or engagement.as_of == moment:
        return engagement
    seconds = (moment - engagement.as_of).total_seconds()
    slots = range(min(len(engagement.values), len(points.half_lives)))
    values = tuple(engagement.values[slot] * points.decay(slot, seconds) for slot in slots)
    return replace(engagement, values=values, as_of=moment)


def shows_intent(points: Points, signals: Iterable[Signal], since: datetime | None, moment: datetime) -> bool:
    """Tell whether a deed until *moment* that is worth points shows intent; all do where none is *low*."""
    return not points.low or any(
        points.of(one) and one.kind not in points.low
        for one in signals
        if one.occurred_at <= moment and (since is None or since <= one.occurred_at)
    )


def value_at(engagement: Engagement, points: Points, moment: datetime) -> float:
    """Return the engagement at *moment*, which is not before its `as_of`, as one number."""
    return total(aged(engagement, points, moment))


def reaches(value: float, threshold: float) -> bool:
    """Tell whether *value* is at least *threshold*, but for what fades or is rounded meanwhile."""
    return value >= threshold - abs(threshold) * TOLERANCE


def add(engagement: Engagement, points: Points, signals: Iterable[Signal]) -> Engagement:
    """Return the engagement after *signals*, in any order; late ones are decayed to the newest moment.

    *engagement* was kept under these *points*, or is nothing yet.
    """
    worthy = [(signal.occurred_at, points.slot(signal.kind), points.of(signal)) for signal in signals]
    worthy = [one for one in worthy if one[2]]
    if not worthy:
        return replace(engagement, under=points.key)
    newest = max(moment for moment, _, _ in worthy)
    if engagement.as_of is not None:
        newest = max(newest, engagement.as_of)
    values = [0.0] * len(points.half_lives)
    values[: len(engagement.values)] = aged(engagement, points, newest).values
    for moment, slot, worth in sorted(worthy):
        values[slot] += worth * points.decay(slot, (newest - moment).total_seconds())
    return Engagement(tuple(values), newest, points.key)


def reckoned(
    points: Points, signals: Iterable[Signal], since: datetime | None, moment: datetime
) -> Engagement:
    """Return the engagement at *moment* from the signals themselves: those between *since* and *moment*."""
    values = [0.0] * len(points.half_lives)
    for signal in signals:
        worth = points.of(signal)
        if worth and signal.occurred_at <= moment and (since is None or since <= signal.occurred_at):
            slot = points.slot(signal.kind)
            values[slot] += worth * points.decay(slot, (moment - signal.occurred_at).total_seconds())
    return Engagement(tuple(values), moment, points.key)


def known_at(
    engagement: Engagement,
    points: Points,
    signals: Iterable[Signal],
    since: datetime | None,
    moment: datetime,
) -> Engagement:
    """Return the engagement at *moment*: from the kept sums where they tell it, else from *signals*.

    They do not for a moment before they were true, nor where they were kept under other points.
    """
    if engagement.under == points.key and (engagement.as_of is None or moment >= engagement.as_of):
        return aged(engagement, points, moment)
    return reckoned(points, signals, since, moment)


def falls_below_at(engagement: Engagement, points: Points, threshold: float) -> datetime | None:
    """Return the first whole second at which the engagement is below *threshold*, if nothing happens.

    None when it is below already at its `as_of`, or never falls (*threshold* not above 0).
    """
    if engagement.as_of is None or threshold <= 0 or not reaches(total(engagement), threshold):
        return None
    parts = [
        (value, days) for value, days in zip(engagement.values, points.half_lives, strict=False) if value
    ]
    # A whole second of the clock, not of `as_of`: asked at any moment before, the answer is the same.
    try:
        crosses = engagement.as_of + timedelta(days=_days_until(parts, threshold - threshold * TOLERANCE))
        return crosses.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        return None


def _days_until(parts: list[tuple[float, float]], least: float) -> float:
    """Return after how many days a sum of (value, half-life in days) has come down to *least*.

    The logarithm of such a sum falls and is convex, so Newton's steps from today come ever closer and never
    go too far; with one half-life it is a straight line, and one step is exact.
    """
    goal, days = math.log2(least), 0.0
    for _ in range(_MOST_STEPS):
        powers = [math.log2(value) - days / half_life for value, half_life in parts]
        highest = max(powers)
        shares = [math.exp2(power - highest) for power in powers]
        whole = sum(shares)
        slope = sum(share / half_life for share, (_, half_life) in zip(shares, parts, strict=True)) / whole
        step = (highest + math.log2(whole) - goal) / slope
        days += max(step, 0.0)
        if step <= days * _CLOSE_ENOUGH:
            break
    return days
