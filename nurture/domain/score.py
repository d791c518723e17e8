"""Engagement: points that halve with time, kept as one number and the moment it was true."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from nurture.domain.lead import Engagement
from nurture.domain.signals import Signal, SignalKind, SignalVerdict

SECONDS_PER_DAY: Final = 86_400.0
TOLERANCE: Final = 1e-9  # of the number compared: sums of decayed points differ by less, in whatever order
NOISE: Final = 1e-12  # of the points summed: what is left of them by rounding


@dataclass(frozen=True, slots=True)
class Points:
    """How much each kind of signal is worth, and after how many days the worth has halved."""

    worth: dict[SignalKind, float] = field(default_factory=dict)
    half_life_days: float = 30.0

    def of(self, signal: Signal) -> float:
        """Return the signal's points; only what a human did counts."""
        if signal.verdict is not SignalVerdict.HUMAN:
            return 0.0
        return self.worth.get(signal.kind, 0.0)

    def decay(self, seconds: float) -> float:
        """Return the factor that is left after *seconds*."""
        return math.exp2(-seconds / (self.half_life_days * SECONDS_PER_DAY))


def value_at(engagement: Engagement, points: Points, moment: datetime) -> float:
    """Return the engagement at *moment*, which is not before its `as_of`."""
    if engagement.as_of is None or engagement.value == 0.0:
        return 0.0
    return engagement.value * points.decay((moment - engagement.as_of).total_seconds())


def reaches(value: float, threshold: float) -> bool:
    """Tell whether *value* is at least *threshold*, but for rounding."""
    return value >= threshold - abs(threshold) * TOLERANCE


def add(engagement: Engagement, points: Points, signals: Iterable[Signal]) -> Engagement:
    """Return the engagement after *signals*, in any order; late ones are decayed to the newest moment."""
    worthy = [(signal.occurred_at, points.of(signal)) for signal in signals]
    worthy = [(moment, worth) for moment, worth in worthy if worth]
    if not worthy:
        return engagement
    newest = max(moment for moment, _ in worthy)
    if engagement.as_of is not None:
        newest = max(newest, engagement.as_of)
    value = value_at(engagement, points, newest)
    for moment, worth in sorted(worthy):
        value += worth * points.decay((newest - moment).total_seconds())
    return Engagement(value, newest)


def value_before(
    engagement: Engagement, points: Points, signals: Iterable[Signal], moment: datetime
) -> float:
    """Return what the engagement was at *moment*, before its `as_of`: later *signals* are taken out again."""
    if engagement.as_of is None or moment >= engagement.as_of:
        return value_at(engagement, points, moment)
    rest = summed = engagement.value
    known = 0.0
    for signal in signals:
        worth = points.of(signal)
        if not worth or signal.occurred_at > engagement.as_of:
            continue
        share = worth * points.decay((engagement.as_of - signal.occurred_at).total_seconds())
        rest -= share
        summed += abs(share)
        if signal.occurred_at <= moment:
            known += worth * points.decay((moment - signal.occurred_at).total_seconds())
    # Growing back what is only rounding would make a score of nothing.
    if abs(rest) <= summed * NOISE:
        return known
    return known + rest / points.decay((engagement.as_of - moment).total_seconds())


def value_since(points: Points, signals: Iterable[Signal], since: datetime, moment: datetime) -> float:
    """Return the engagement at *moment* that comes from *signals* between *since* and *moment* alone."""
    return sum(
        points.of(signal) * points.decay((moment - signal.occurred_at).total_seconds())
        for signal in signals
        if since <= signal.occurred_at <= moment
    )


def falls_below_at(engagement: Engagement, points: Points, threshold: float) -> datetime | None:
    """Return the first whole second at which the engagement is below *threshold*, if nothing happens.

    None when it is below already at its `as_of`, or never falls (*threshold* not above 0).
    """
    if engagement.as_of is None or threshold <= 0 or not reaches(engagement.value, threshold):
        return None
    # A whole second of the clock, not of `as_of`: asked at any moment before, the answer is the same.
    least = threshold - threshold * TOLERANCE
    days = points.half_life_days * math.log2(engagement.value / least)
    try:
        crosses = engagement.as_of + timedelta(days=days)
        return crosses.replace(microsecond=0) + timedelta(seconds=1)
    except OverflowError:
        return None
