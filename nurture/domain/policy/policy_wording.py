"""Values of the policy in the words of the people who wrote them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from dataclasses import Field as DataclassField
from datetime import date, time, timedelta
from enum import Enum
from typing import Any as Anything
from typing import Final, assert_never

from nurture.domain.planning.calendar import Window
from nurture.domain.planning.conditions import (
    Any,
    Condition,
    DecidesWithin,
    Did,
    Every,
    Field,
    Fit,
    InTrack,
    Newer,
    Not,
    Postcode,
    Score,
)
from nurture.domain.planning.program import ToClosed, ToQueue, ToTrack
from nurture.domain.policy.policy import Enrol, Ready, Resume
from nurture.domain.routing.routing import AccountOwner, FormerOwner, NamedAccounts, ToPool, ToRep
from nurture.domain.scoring.bant import Bant, Sure

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS: Final = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
_CONDITIONS: Final = (Field, Bant, Did, Score, Fit, DecidesWithin, InTrack, Postcode, Every, Any, Not)
_SURE: Final = {Sure.GUESSED: "guessed at least", Sure.TOLD: "known", Sure.CONFIRMED: "confirmed"}


def is_condition(value: object) -> bool:
    """Tell whether *value* is a question that rules ask."""
    return isinstance(value, _CONDITIONS)


def worded(value: Anything) -> str:
    """Return any value of a policy in words."""
    if is_condition(value):
        return condition(value)
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return "yes" if value else "no"
        case timedelta():
            return span(value)
        case time():
            return f"{value:%H:%M}"
        case date():
            return value.isoformat()
        case Enum():
            return str(value.value)
        case float():
            return f"{value:g}"
        case Window():
            return window(value)
        case Mapping():
            return ", ".join(f"{worded(key)}: {worded(one)}" for key, one in value.items()) or "none"
        case str():
            return value
        case Collection():
            return ", ".join(map(worded, value)) or "none"
        case _:
            return _placed(value)


def _placed(value: Anything) -> str:
    match value:
        case Ready():
            return "hand off"
        case Enrol():
            return "enrol"
        case Resume():
            return "resume"
        case ToTrack(track=track):
            return f"track {track}"
        case ToQueue(queue=queue):
            return f"queue {queue}"
        case ToClosed(closing=closing, reason=reason):
            return f"close as {closing.value} ({reason})"
        case AccountOwner():
            return "the account's owner"
        case FormerOwner():
            return "the former owner"
        case NamedAccounts(reps=reps):
            return "named accounts " + worded(reps)
        case ToPool(pool=pool):
            return f"pool {pool}"
        case ToRep(rep=rep):
            return f"rep {rep}"
        case _ if is_dataclass(value):
            told = ((one.name, getattr(value, one.name)) for one in fields(value))
            return ", ".join(
                f"{name.replace('_', ' ')} {worded(one)}" for name, one in told if one is not None
            )
        case _:
            return str(value)


def _default(one: DataclassField[Anything]) -> object:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def span(value: timedelta) -> str:
    """Return "2 days"."""
    for unit, length in _UNITS:
        if value and not value % length:
            count = value // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{value.total_seconds():g} seconds" if value else "none"


def window(value: Window) -> str:
    """Return "Monday to Friday 09:00-17:00"."""
    days = sorted(value.days)
    if len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        named = f"{DAYS[days[0]]} to {DAYS[days[-1]]}"
    else:
        named = ", ".join(DAYS[day] for day in days)
    clock = "all day" if value.opens == value.closes else f"{value.opens:%H:%M}-{value.closes:%H:%M}"
    return f"{named} {clock}"


def condition(asked: Condition) -> str:
    """Return a condition as a phrase."""
    match asked:
        case Field(name=name, test=test, value=value):
            return f"{name} {test.value.replace('_', ' ')} {worded(value)}"
        case Did(deed=deed, within=within):
            return f"did {deed}" + (f" within {span(within)}" if within is not None else "")
        case Score(at_least=least, below=below):
            return f"score at least {least:g}" if least is not None else f"score below {below:g}"
        case Fit(at_least=least, below=below):
            return f"fit {least} or better" if least is not None else f"fit worse than {below}"
        case DecidesWithin(days=days):
            return f"decides within {days} days"
        case Bant(wanted=wanted, at_least=least):
            named = [f"{name} {'unknown' if sure is None else _SURE[sure]}" for name, sure in wanted.items()]
            return " and ".join(named) or f"at least {least} of budget, authority, need, timeline known"
        case InTrack(track=track):
            return f"in track {track}"
        case Postcode(country=country, first=first, last=last):
            return f"postcode {country} {first} to {last}"
        case Every(parts=parts):
            return " and ".join(map(_inner, parts)) or "always"
        case Any(parts=parts):
            return " or ".join(map(_inner, parts)) or "never"
        case Not(part=part):
            return f"not ({condition(part)})"
        case Newer(part=part):
            return condition(part)
        case _:
            assert_never(asked)


def _inner(part: Condition) -> str:
    return f"({condition(part)})" if isinstance(part, Every | Any) and part.parts else condition(part)
