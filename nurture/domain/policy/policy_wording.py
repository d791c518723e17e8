"""Describe values of the policy in words."""

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from enum import Enum
from typing import Any, Final, assert_never

from nurture.domain.planning.calendar import Delay, Window
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    DecidesWithin,
    FieldCondition,
    FitCondition,
    InTrack,
    NewerThan,
    Not,
    PostcodeCondition,
    ScoreCondition,
    SignalCondition,
)
from nurture.domain.planning.date_conditions import DateCondition, InactiveFor
from nurture.domain.planning.program import ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import Enroll, Resume, ToSales
from nurture.domain.routing.routing import AccountOwner, CompanyRep, FormerOwner, NamedAccounts, ToPool, ToRep
from nurture.domain.scoring.bant import BantCondition, Confidence

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS: Final = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
_CONFIDENCE_WORDS: Final = {
    Confidence.GUESSED: "guessed at least",
    Confidence.STATED: "known",
    Confidence.CONFIRMED: "confirmed",
}


def describe_value(value: Any) -> str:
    """Return any value of a policy in words."""
    if isinstance(value, Condition):
        return describe_condition(value)
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return describe_duration(value)
        case time():
            return f"{value:%H:%M}"
        case date():
            return value.isoformat()
        case Enum():
            return str(value.value)
        case float():
            return f"{value:g}"
        case Window():
            return describe_window(value)
        case Mapping():
            return ", ".join(f"{describe_value(key)}: {describe_value(one)}" for key, one in value.items()) or "none"
        case str():
            return value
        case Collection():
            return ", ".join(map(describe_value, value)) or "none"
        case _:
            return _describe_target(value)


def _describe_target(value: Any) -> str:
    match value:
        case ToSales():
            return "hand off"
        case Enroll():
            return "enroll"
        case Resume():
            return "resume"
        case ToTrack(track=track):
            return f"track {track}"
        case ToQueue(queue=queue):
            return f"queue {queue}"
        case ToClosed(closing=closing, reason=reason, again_after=again_after):
            again = f", again after {again_after.days} days" if again_after else ""
            return f"close as {closing.value} ({reason}){again}"
        case AccountOwner():
            return "the account's owner"
        case FormerOwner():
            return "the former owner"
        case CompanyRep():
            return "the rep who talks to the company"
        case NamedAccounts(reps=reps):
            return "named accounts " + describe_value(reps)
        case ToPool(pool=pool):
            return f"pool {pool}"
        case ToRep(rep=rep):
            return f"rep {rep}"
        case _ if is_dataclass(value):
            field_values = ((one.name, getattr(value, one.name)) for one in fields(value) if one.init)
            return ", ".join(
                f"{name.replace('_', ' ')} {describe_value(one)}" for name, one in field_values if one is not None
            )
        case _:
            return str(value)


def describe_duration(value: timedelta) -> str:
    """Return a duration in words, such as "2 days"."""
    for unit, length in _UNITS:
        if value and not value % length:
            count = value // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{value.total_seconds():g} seconds" if value else "none"


def describe_delay(value: Delay) -> str:
    """Return a delay in words, such as "3 days on Tuesday at 10:00"; "at once" for none."""
    lengths = (value.hours, "hour"), (value.days, "day"), (value.business_days, "business day")
    words = [f"{length:g} {unit}{'' if length == 1 else 's'}" for length, unit in lengths if length]
    words += [f"on {DAYS[value.on]}"] if value.on is not None else []
    words += [f"at {value.at:%H:%M}"] if value.at is not None else []
    return " ".join(words) or "at once"


def describe_window(value: Window) -> str:
    """Return a window in words, such as "Monday to Friday 09:00-17:00"."""
    days = sorted(value.days)
    if len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        named = f"{DAYS[days[0]]} to {DAYS[days[-1]]}"
    else:
        named = ", ".join(DAYS[day] for day in days)
    clock = "all day" if value.opens == value.closes else f"{value.opens:%H:%M}-{value.closes:%H:%M}"
    return f"{named} {clock}"


def describe_condition(condition: Condition) -> str:
    """Return a condition as a phrase."""
    match condition:
        case FieldCondition(name=name, comparison=comparison, value=value):
            return f"{name} {comparison.value.replace('_', ' ')} {describe_value(value)}"
        case SignalCondition(description=description, within=within):
            return description + (f" within {describe_duration(within)}" if within is not None else "")
        case ScoreCondition(at_least=least, below=below):
            return f"score at least {least:g}" if least is not None else f"score below {below:g}"
        case FitCondition(at_least=least, below=below):
            return f"fit {least} or better" if least is not None else f"fit worse than {below}"
        case DecidesWithin(days=days):
            return f"decides within {days} days"
        case DateCondition(description=description):
            return description
        case InactiveFor(days=days):
            return f"inactive for {days} days"
        case BantCondition(min_confidence=min_confidence, at_least=least):
            named = [
                f"{name} {'unknown' if confidence is None else _CONFIDENCE_WORDS[confidence]}"
                for name, confidence in min_confidence.items()
            ]
            return " and ".join(named) or f"at least {least} of budget, authority, need, timeline known"
        case InTrack(track=track):
            return f"in track {track}"
        case PostcodeCondition(country=country, first=first, last=last):
            return f"postcode {country} {first} to {last}"
        case AllOf(parts=parts):
            return " and ".join(map(_describe_nested, parts)) or "always"
        case AnyOf(parts=parts):
            return " or ".join(map(_describe_nested, parts)) or "never"
        case Not(part=part):
            return f"not ({describe_condition(part)})"
        case NewerThan(part=part):
            return describe_condition(part)
        case _:
            assert_never(condition)


def _describe_nested(part: Condition) -> str:
    return (
        f"({describe_condition(part)})" if isinstance(part, AllOf | AnyOf) and part.parts else describe_condition(part)
    )
