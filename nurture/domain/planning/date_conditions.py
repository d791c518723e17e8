"""Evaluate conditions on the dates of a lead and on its inactivity; days count in the lead's zone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from nurture.domain.lead import Lead
from nurture.domain.planning.calendar import start_of_day, to_local
from nurture.domain.planning.condition_result import ConditionResult
from nurture.domain.planning.dates import FIRST_CONTACT, ONE_DAY, find_date, local_day
from nurture.domain.signals import Signal, SignalKind, SignalVerdict

ACTIVE_KINDS: Final = frozenset(SignalKind) - {
    SignalKind.OPENED,
    SignalKind.CHANGED,
    SignalKind.UNSUBSCRIBED,
    SignalKind.BOUNCED,
    SignalKind.COMPLAINED,
    SignalKind.AUTO_REPLIED,
}
"""The signals that show that a person is interested, by themselves."""


@dataclass(frozen=True, slots=True)
class DateCondition:
    """The lead's date *name* is from *earliest* to *latest*; a bound is a day, or a number of days from today.

    *description* is the condition in words.
    """

    name: str
    earliest: date | int | None
    latest: date | int | None
    description: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class InactiveFor:
    """The lead has shown no activity for *days* days; without any, they count from its first contact."""

    days: int


def evaluate_date(condition: DateCondition, lead: Lead, at: datetime) -> ConditionResult:
    """Evaluate *condition* at *at* (UTC); a date that is not known meets no condition."""
    found, zone = find_date(lead, condition.name), lead.zone or "UTC"
    if found is None:
        return ConditionResult(False, f"{condition.name} is not known")
    day, today = local_day(found, zone), to_local(at, zone).date()
    earliest, latest = condition.earliest, condition.latest
    met, turns = True, list[datetime]()
    if isinstance(earliest, int):
        last_day = day - earliest * ONE_DAY
        met = today <= last_day
        turns.append(start_of_day(last_day + ONE_DAY, zone))
    elif earliest is not None:
        met = earliest <= day
    if isinstance(latest, int):
        first_day = day - latest * ONE_DAY
        met = met and first_day <= today
        turns.append(start_of_day(first_day, zone))
    elif latest is not None:
        met = met and day <= latest
    reason = condition.description if met else f"not true that {condition.description}"
    return ConditionResult(met, reason, min((turn for turn in turns if turn > at), default=None))


def evaluate_inactive(condition: InactiveFor, lead: Lead, signals: Sequence[Signal], at: datetime) -> ConditionResult:
    """Evaluate *condition* at *at* (UTC), over all *signals* of the lead, in order of occurrence."""
    active = [one.occurred_at for one in signals if one.kind in ACTIVE_KINDS and one.verdict is SignalVerdict.HUMAN]
    seen = [one for one in active if one <= at]
    coming = next((one for one in active if one > at), None)
    last, zone = seen[-1] if seen else lead.first_contact_at, lead.zone or "UTC"
    if last is None:
        return ConditionResult(False, f"{FIRST_CONTACT} is not known", coming)
    turn = start_of_day(local_day(last, zone) + condition.days * ONE_DAY, zone)
    if turn <= at:
        return ConditionResult(True, f"inactive for {condition.days} days", coming)
    return ConditionResult(False, f"active in the last {condition.days} days", min(turn, coming or turn))
