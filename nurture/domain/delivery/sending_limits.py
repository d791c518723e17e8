"""Define the sending limits of a sender domain: caps, the warm-up of a new domain, and when to pause."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import floor
from typing import Final

from nurture.domain.address import normalize_address

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A ramp: *first_day* emails on *start_date*, on each later day *growth* times as many.

    Nothing is sent before *start_date*. Days are days in UTC.
    """

    start_date: date
    first_day: int
    growth: float

    def __post_init__(self) -> None:
        if self.first_day < 1 or self.growth < 1:
            raise ValueError("a warm-up needs first_day and growth of at least 1")

    def max_on_day(self, day: date) -> int | None:
        """Return how many emails may go on *day*; None if the number overflows."""
        passed = (day - self.start_date).days
        if passed < 0:
            return 0
        try:
            return floor(self.first_day * self.growth**passed)
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class SendingLimits:
    """What one sender domain may send.

    None means no limit; *max_bounce_rate* and *max_complaint_rate* are fractions of 1.
    """

    per_hour: int | None = None
    per_day: int | None = None
    warm_up: WarmUp | None = None
    max_bounce_rate: float = 0.02
    max_complaint_rate: float = 0.001
    sample_size: int = 1000
    min_sample_size: int = 100

    def __post_init__(self) -> None:
        if any(limit is not None and limit < 1 for limit in (self.per_hour, self.per_day)):
            raise ValueError("a limit must be at least 1")

    def max_on_day(self, day: date) -> int | None:
        """Return how many emails may go on *day* in UTC, None if there is no limit."""
        warm_up_limit = self.warm_up.max_on_day(day) if self.warm_up is not None else None
        return min((limit for limit in (self.per_day, warm_up_limit) if limit is not None), default=None)


@dataclass(frozen=True)
class SendingRules:
    """One published version of sending.yaml. *resend_after* None: a message of unknown delivery is held.

    *confirm* are the sources, in normal form, whose leads confirm their consent by a link.
    """

    default: SendingLimits = field(default_factory=SendingLimits)
    domains: Mapping[str, SendingLimits] = field(default_factory=dict)
    resend_after: timedelta | None = None
    confirm: frozenset[str] = frozenset()

    def for_domain(self, domain: str) -> SendingLimits:
        """Return the limits of *domain*, or else of its closest parent domain that has some."""
        labels = normalize_domain(domain).split(".")
        parents = (".".join(labels[start:]) for start in range(len(labels)))
        return next((self.domains[name] for name in parents if name in self.domains), self.default)


@lru_cache(maxsize=1_000)  # asked for each message, and few differ
def normalize_domain(domain: str) -> str:
    """Return the normal form of *domain*: lower case, in ASCII, without a final dot."""
    return normalize_address(f"@{domain.strip()}").removeprefix("@").rstrip(".")


def remaining_capacity(limits: SendingLimits, used_this_hour: int, used_today: int, now: datetime) -> int | None:
    """Return how many more emails may go now, None without a limit. Hours and days are in UTC."""
    per_day = limits.max_on_day(now.astimezone(UTC).date())
    limits_and_usage = ((limits.per_hour, used_this_hour), (per_day, used_today))
    return min((max(0, limit - used) for limit, used in limits_and_usage if limit is not None), default=None)


def next_slot(limits: SendingLimits, used_this_hour: int, used_today: int, position: int, now: datetime) -> datetime:
    """Return when the email at *position* (from 0) of those beyond the current capacity may go, in UTC.

    Assumes that the current capacity is used up. Slots fill the following hours in order, evenly within each
    hour; on a day with a daily but no hourly cap they share its first hour.
    """
    now = now.astimezone(UTC)
    today = now.date()
    hour = now.replace(minute=0, second=0, microsecond=0) + _HOUR
    per_day = limits.max_on_day(today)
    if hour.date() == today:
        used = used_today + (remaining_capacity(limits, used_this_hour, used_today, now) or 0)
        left = None if per_day is None else max(0, per_day - used)
        slots = _slots_in_hours(limits, left, _HOURS_A_DAY - hour.hour)
        if slots is None or position < slots:
            return _slot_in_day(hour, position, limits.per_hour, left)
        position -= slots
    return _slot_from_day(limits, today + _DAY, position)


def _slot_from_day(limits: SendingLimits, day: date, position: int) -> datetime:
    """Return the slot of *position* among the emails that begin to go on *day*."""
    if limits.warm_up is not None:
        day = max(day, limits.warm_up.start_date)
    while True:
        left = limits.max_on_day(day)
        slots = _slots_in_hours(limits, left, _HOURS_A_DAY)
        if slots is not None and position >= slots and left == limits.per_day:  # the ramp is over: all days are alike
            day, position = day + position // slots * _DAY, position % slots
        if slots is None or position < slots:
            return _slot_in_day(datetime.combine(day, time(), UTC), position, limits.per_hour, left)
        day, position = day + _DAY, position - slots


def _slots_in_hours(limits: SendingLimits, left: int | None, hours: int) -> int | None:
    """Return how many emails fit into *hours* whole hours of a day with *left* more allowed."""
    by_hour = None if limits.per_hour is None else limits.per_hour * hours
    return min((limit for limit in (by_hour, left) if limit is not None), default=None)


def _slot_in_day(start: datetime, position: int, per_hour: int | None, left: int | None) -> datetime:
    """Return the slot of *position* from the hour *start* on; it fits into the day."""
    if per_hour is None:
        return start if left is None else start + _HOUR * position / left
    return start + position // per_hour * _HOUR + _HOUR * (position % per_hour) / per_hour


def sending_pause_reason(limits: SendingLimits, sent: int, hard_bounces: int, complaints: int) -> str | None:
    """Return why a domain must stop sending, None if it may continue; the counts are of its last `sample_size` emails.

    Few emails prove little: the bounce rate counts over at least `min_sample_size` emails, the complaint rate
    over at least `sample_size`.
    """
    checks = (
        ("bounced permanently", hard_bounces, limits.max_bounce_rate, limits.min_sample_size),
        ("were reported as spam", complaints, limits.max_complaint_rate, limits.sample_size),
    )
    for what, count, max_rate, min_sample in checks:
        if count > 0 and count / max(sent, min_sample) > max_rate:
            total = max(sent, count)
            return (
                f"{count:,} of the last {total:,} emails {what}, "
                f"which is {_percent(count / total)}; the limit is {_percent(max_rate)}"
            )
    return None


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"
