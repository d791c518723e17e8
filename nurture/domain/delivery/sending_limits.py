"""What a sender's domain may send: caps, the warm-up of a new domain, and when it must stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from math import floor
from typing import Final

from nurture.domain.address import normalise_address

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A ramp: *first_day* emails on the day it *starts*, each later day *growth* times as many.

    Before *starts* nothing goes. Days are days in UTC.
    """

    starts: date
    first_day: int
    growth: float

    def __post_init__(self) -> None:
        if self.first_day < 1 or self.growth < 1:
            raise ValueError("a warm-up begins with at least one email and does not shrink")

    def allowed(self, day: date) -> int | None:
        """Return how many emails may go on *day*; None where the ramp has outgrown all numbers."""
        passed = (day - self.starts).days
        if passed < 0:
            return 0
        try:
            return floor(self.first_day * self.growth**passed)
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sender domain may send. None is no limit; *bounces* and *complaints* are shares of 1."""

    per_hour: int | None = None
    per_day: int | None = None
    warm_up: WarmUp | None = None
    bounces: float = 0.02
    complaints: float = 0.001
    of_last: int = 1000
    at_least: int = 100

    def __post_init__(self) -> None:
        if any(limit is not None and limit < 1 for limit in (self.per_hour, self.per_day)):
            raise ValueError("a limit lets at least one email go")

    def on_day(self, day: date) -> int | None:
        """Return how many emails may go on *day* in UTC, None if there is no limit."""
        ramp = self.warm_up.allowed(day) if self.warm_up is not None else None
        return min((limit for limit in (self.per_day, ramp) if limit is not None), default=None)


@dataclass(frozen=True)
class SendingRules:
    """One published version of sending.yaml. *resend_after* None: a message in doubt is held."""

    default: Limits = field(default_factory=Limits)
    domains: Mapping[str, Limits] = field(default_factory=dict)
    resend_after: timedelta | None = None

    def of(self, domain: str) -> Limits:
        """Return the limits of *domain*: its own, else those of the closest domain above it that has some."""
        labels = normalise_domain(domain).split(".")
        parents = (".".join(labels[start:]) for start in range(len(labels)))
        return next((self.domains[name] for name in parents if name in self.domains), self.default)


def normalise_domain(domain: str) -> str:
    """Return the one spelling of *domain*: lower case, in ASCII, without a dot at its end."""
    return normalise_address(f"@{domain.strip()}").removeprefix("@").rstrip(".")


def room(limits: Limits, used_this_hour: int, used_today: int, now: datetime) -> int | None:
    """Return how many more emails may go now, None if there is no limit. Hours and days are those of UTC."""
    per_day = limits.on_day(now.astimezone(UTC).date())
    left = ((limits.per_hour, used_this_hour), (per_day, used_today))
    return min((max(0, limit - used) for limit, used in left if limit is not None), default=None)


def turn(limits: Limits, used_this_hour: int, used_today: int, place: int, now: datetime) -> datetime:
    """Return when the email at *place* (from 0) of those for which there is no room now may go, in UTC.

    It counts on the room of now being used up. Turns fill the hours after this one in order, evenly within
    each hour; on a day with a cap but no hourly one they share its first hour.
    """
    now = now.astimezone(UTC)
    today = now.date()
    hour = now.replace(minute=0, second=0, microsecond=0) + _HOUR
    per_day = limits.on_day(today)
    if hour.date() == today:
        taken = used_today + (room(limits, used_this_hour, used_today, now) or 0)
        left = None if per_day is None else max(0, per_day - taken)
        fits = _capacity(limits, left, _HOURS_A_DAY - hour.hour)
        if fits is None or place < fits:
            return _within(hour, place, limits.per_hour, left)
        place -= fits
    return _later(limits, today + _DAY, place)


def _later(limits: Limits, day: date, place: int) -> datetime:
    """Return the turn of *place* among the emails that begin to go on *day*."""
    if limits.warm_up is not None:
        day = max(day, limits.warm_up.starts)
    while True:
        left = limits.on_day(day)
        fits = _capacity(limits, left, _HOURS_A_DAY)
        if fits is not None and place >= fits and left == limits.per_day:  # the ramp is over: all days alike
            day, place = day + place // fits * _DAY, place % fits
        if fits is None or place < fits:
            return _within(datetime.combine(day, time(), UTC), place, limits.per_hour, left)
        day, place = day + _DAY, place - fits


def _capacity(limits: Limits, left: int | None, hours: int) -> int | None:
    """Return how many fit into so many whole *hours* of a day on which *left* more may go."""
    by_hour = None if limits.per_hour is None else limits.per_hour * hours
    return min((limit for limit in (by_hour, left) if limit is not None), default=None)


def _within(start: datetime, place: int, per_hour: int | None, left: int | None) -> datetime:
    """Return the turn of *place* from the hour *start* on; it fits into the day."""
    if per_hour is None:
        return start if left is None else start + _HOUR * place / left
    return start + place // per_hour * _HOUR + _HOUR * (place % per_hour) / per_hour


def verdict(limits: Limits, sent: int, hard_bounces: int, complaints: int) -> str | None:
    """Say why a domain must stop, None if it may go on; the counts are of its last `of_last` emails.

    Few emails prove little: a share of bounces counts over at least `at_least`, one of complaints over at
    least `of_last` emails.
    """
    judged = (
        ("bounced for good", hard_bounces, limits.bounces, limits.at_least),
        ("were reported as spam", complaints, limits.complaints, limits.of_last),
    )
    for what, count, most, over in judged:
        if count > 0 and count / max(sent, over) > most:
            total = max(sent, count)
            return (
                f"{count:,} of the last {total:,} emails {what}, "
                f"which is {_percent(count / total)}; no more than {_percent(most)} may"
            )
    return None


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"
