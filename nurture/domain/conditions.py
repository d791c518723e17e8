"""The questions that audiences, branches and hand-off criteria ask about a lead.

Each question answers yes or no, says why, and says when the answer could next change by itself, so
that nothing has to be polled. Answers name conditions, never a lead's personal facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from nurture.domain import score
from nurture.domain.calendar import start_of
from nurture.domain.lead import Engagement, Fact
from nurture.domain.score import Points
from nurture.domain.signals import Signal, SignalKind, SignalVerdict
from nurture.domain.view import View


@dataclass(frozen=True, slots=True)
class Answer:
    """Yes or no, why, and the next moment (after the one asked about) at which time alone may change it."""

    yes: bool
    because: str
    changes_at: datetime | None = None


class Comparison(StrEnum):
    """How a fact is compared."""

    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Field:
    """A fact of the lead compared with *value*; text is compared without regard to case."""

    name: str
    test: Comparison
    value: Fact | tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Did:
    """The lead did something, *times* times, *within* a span of the moment asked about.

    Naming an email counts from its acceptance; otherwise from the enrollment (or, for the policy's
    criteria, from the last answer of a rep).
    """

    kind: SignalKind
    email: str | None = None
    link: str | None = None
    times: int = 1
    within: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Engagement is at least, or below, a number. Exactly one bound is given."""

    at_least: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class DecidesWithin:
    """The lead's stated decision date is at most *days* days ahead, and not past."""

    days: int


@dataclass(frozen=True, slots=True)
class InTrack:
    """The lead is enrolled in *track* now."""

    track: str


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


Condition = Field | Did | Score | DecidesWithin | InTrack | Every | Any | Not


@dataclass(frozen=True, slots=True)
class Question:
    """What a condition is asked about: a view, the points of signals, and since when deeds count."""

    view: View
    points: Points
    since: datetime | None = None


def evaluate(condition: Condition, about: Question, at: datetime) -> Answer:
    """Answer *condition* as things were at *at*; what happened later is not looked at.

    `changes_at` also names the next recorded signal after *at*, so a caller can walk through time.
    """
    match condition:
        case Field():
            return _field(condition, about.view)
        case Did():
            return _did(condition, about, at)
        case Score():
            return _score(condition, about, at)
        case DecidesWithin(days=days):
            return _decides_within(days, about.view, at)
        case InTrack(track=track):
            enrollment = about.view.enrollment
            inside = enrollment is not None and not enrollment.ended and enrollment.track == track
            return Answer(inside, f"{'in' if inside else 'not in'} track {track}")
        case Every(parts=parts):
            return _every(parts, about, at)
        case Any(parts=parts):
            return _any(parts, about, at)
        case Not(part=part):
            answer = evaluate(part, about, at)
            return Answer(not answer.yes, f"not ({answer.because})", answer.changes_at)
        case _:
            assert_never(condition)


def earliest(moments: Sequence[datetime | None]) -> datetime | None:
    """Return the first of the moments that are known."""
    return min((moment for moment in moments if moment is not None), default=None)


def _every(parts: tuple[Condition, ...], about: Question, at: datetime) -> Answer:
    answers = [evaluate(part, about, at) for part in parts]
    changes = earliest([answer.changes_at for answer in answers])
    missing = [answer for answer in answers if not answer.yes]
    if missing:
        return Answer(False, missing[0].because, changes)
    return Answer(True, " and ".join(answer.because for answer in answers), changes)


def _any(parts: tuple[Condition, ...], about: Question, at: datetime) -> Answer:
    answers = [evaluate(part, about, at) for part in parts]
    changes = earliest([answer.changes_at for answer in answers])
    for answer in answers:
        if answer.yes:
            return Answer(True, answer.because, changes)
    return Answer(False, "none of: " + "; ".join(answer.because for answer in answers), changes)


def _plain(value: Fact) -> Fact:
    return value.casefold().strip() if isinstance(value, str) else value


def _number(value: Fact) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _same(fact: Fact, value: Fact) -> bool:
    if isinstance(fact, bool) or isinstance(value, bool):
        return fact is value
    left, right = _number(fact), _number(value)
    if left is not None and right is not None:
        return left == right
    return _plain(fact) == _plain(value)


def _compares(test: Comparison, fact: Fact, value: Fact | tuple[Fact, ...]) -> bool:
    options = value if isinstance(value, tuple) else (value,)
    present = fact is not None and fact != ""
    match test:
        case Comparison.EXISTS:
            return present is bool(value)
        case Comparison.IS:
            return present and _same(fact, options[0])
        case Comparison.IS_NOT:
            return not (present and _same(fact, options[0]))
        case Comparison.IN:
            return present and any(_same(fact, option) for option in options)
        case Comparison.NOT_IN:
            return not (present and any(_same(fact, option) for option in options))
        case Comparison.CONTAINS:
            text = str(_plain(fact)) if present else ""
            return present and any(str(_plain(option)) in text for option in options)
        case Comparison.AT_LEAST | Comparison.AT_MOST:
            number, bound = _number(fact), _number(options[0])
            if number is None or bound is None:
                return False
            return number >= bound if test is Comparison.AT_LEAST else number <= bound
        case _:
            assert_never(test)


def _field(condition: Field, view: View) -> Answer:
    yes = _compares(condition.test, view.lead.facts.get(condition.name), condition.value)
    options = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if condition.test is Comparison.EXISTS:
        asked = f"{condition.name} is {'known' if condition.value else 'not known'}"
    else:
        asked = f"{condition.name} {condition.test.value.replace('_', ' ')} {', '.join(map(str, options))}"
    return Answer(yes, asked if yes else f"not true that {asked}")


def _is_meant(condition: Did, signal: Signal, about: Question) -> bool:
    if signal.kind is not condition.kind or signal.verdict is not SignalVerdict.HUMAN:
        return False
    if condition.link is not None and signal.link != condition.link:
        return False
    if condition.email is None:
        return True
    enrollment = about.view.enrollment
    own = signal.enrollment_id is None or (enrollment is not None and signal.enrollment_id == enrollment.id)
    return own and signal.step == condition.email


def _did(condition: Did, about: Question, at: datetime) -> Answer:
    since = about.since
    named = f" {condition.email}" if condition.email else ""
    named += f" link {condition.link}" if condition.link else ""
    if condition.email is not None:
        since = about.view.accepted_at(condition.email)
        if since is None:
            return Answer(False, f"{condition.email} was not sent yet")
    opens = since
    if condition.within is not None:
        start = at - condition.within
        opens = start if opens is None else max(opens, start)
    meant = [
        signal.occurred_at
        for signal in about.view.signals
        if (since is None or signal.occurred_at >= since) and _is_meant(condition, signal, about)
    ]
    done = [moment for moment in meant if moment <= at and (opens is None or moment >= opens)]
    next_one = next((moment for moment in meant if moment > at), None)
    often = f" {condition.times} times" if condition.times > 1 else ""
    if len(done) < condition.times:
        return Answer(False, f"{condition.kind.value}{named}{often} not seen", next_one)
    ends = None
    if condition.within is not None:
        # The answer turns to no one microsecond after the span has passed for the deed that tips the count.
        ends = done[-condition.times] + condition.within + timedelta(microseconds=1)
    because = f"{condition.kind.value}{named}{often} on {done[-1]:%Y-%m-%d}"
    return Answer(True, because, earliest([ends, next_one]))


def _score(condition: Score, about: Question, at: datetime) -> Answer:
    engagement, points, signals = about.view.lead.engagement, about.points, about.view.signals
    value = score.value_before(engagement, points, signals, at)
    coming = (signal.occurred_at for signal in signals if signal.occurred_at > at and points.of(signal))
    next_one = next(coming, None)
    bound = condition.at_least if condition.at_least is not None else condition.below
    assert bound is not None
    holds_up = value >= bound
    falls = score.falls_below_at(Engagement(value, at), points, bound) if holds_up else None
    changes = earliest([falls, next_one])
    if condition.at_least is not None:
        return Answer(holds_up, f"engagement {value:.1f}, at least {bound:g} asked", changes)
    return Answer(not holds_up, f"engagement {value:.1f}, below {bound:g} asked", changes)


def _decides_within(days: int, view: View, at: datetime) -> Answer:
    timeline = view.lead.timeline
    if timeline is None:
        return Answer(False, "no decision date stated")
    opens = start_of(_days_before(timeline.decides_on, days), view.lead.zone)
    closes = start_of(_days_before(timeline.decides_on, -1), view.lead.zone)
    stated = f"decides on {timeline.decides_on}"
    if at < opens:
        return Answer(False, f"{stated}, more than {days} days ahead", opens)
    if at < closes:
        return Answer(True, f"{stated}, at most {days} days ahead", closes)
    return Answer(False, f"{stated}, which has passed")


def _days_before(day: date, days: int) -> date:
    try:
        return day - timedelta(days=days)
    except OverflowError:
        return date.min if days > 0 else date.max
