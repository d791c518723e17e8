"""Evaluate the conditions of audiences, branches and hand-off criteria.

Each result says whether the condition holds, why, and when time alone could next change it, so that nothing has
to be polled. Reasons name conditions, never a lead's personal data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, assert_never

from nurture.domain.frozen import frozen
from nurture.domain.lead import FieldValue
from nurture.domain.planning.calendar import start_of_day
from nurture.domain.planning.comparisons import Comparison, matches, normalize_postcode
from nurture.domain.planning.condition_result import ConditionResult
from nurture.domain.planning.date_conditions import (
    DateCondition,
    InactiveFor,
    evaluate_date,
    evaluate_inactive,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.scoring import bant, scoring
from nurture.domain.scoring.bant import BantCondition
from nurture.domain.signals import Signal, SignalKind, SignalVerdict

ONE_MICROSECOND: Final = timedelta(microseconds=1)
EARLIEST_DAY: Final = date(2, 1, 1)
LATEST_DAY: Final = date(9998, 12, 31)


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """A field of the lead compared with *value*; text is compared ignoring case."""

    name: str
    comparison: Comparison
    value: FieldValue | tuple[FieldValue, ...]


@dataclass(frozen=True, slots=True)
class SignalCondition:
    """The lead has at least *times* such signals, *within* a span before the evaluation time.

    With *email*, signals count from its acceptance; otherwise from the enrollment (or, for the policy's
    criteria, from a rep's last answer).
    """

    kind: SignalKind
    email: str | None = None
    link: str | None = None
    times: int = 1
    within: timedelta | None = None
    description: str = field(init=False, repr=False, compare=False)  # built once: every run reads it

    def __post_init__(self) -> None:
        named = " ".join(word for word in (self.kind.value, self.email) if word is not None)
        linked = named if self.link is None else f"{named} link {self.link}"
        object.__setattr__(self, "description", f"{linked} {self.times} times" if self.times > 1 else linked)


@dataclass(frozen=True, slots=True)
class ScoreCondition:
    """Engagement is at least, or below, a number. Set exactly one bound."""

    at_least: float | None = None
    below: float | None = None

    @property
    def bound(self) -> float:
        """Return the bound that is set."""
        bound = self.at_least if self.at_least is not None else self.below
        assert bound is not None
        return bound


@dataclass(frozen=True, slots=True)
class FitCondition:
    """The fit letter is at least as good as, or worse than, a letter. Set exactly one bound."""

    at_least: str | None = None
    below: str | None = None


@dataclass(frozen=True, slots=True)
class DecidesWithin:
    """The lead's stated decision date is at most *days* days ahead, and not past."""

    days: int


@dataclass(frozen=True, slots=True)
class InTrack:
    """The lead is enrolled in *track* now."""

    track: str


@dataclass(frozen=True, slots=True)
class PostcodeCondition:
    """The lead's postcode is from *first* to *last* in *country* (ISO code); prefixes of postcodes are allowed."""

    country: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """All parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class NewerThan:
    """The part holds by evidence that is not older than the context's *newer_than*."""

    part: Condition


Condition = (
    FieldCondition
    | BantCondition
    | SignalCondition
    | ScoreCondition
    | FitCondition
    | DecidesWithin
    | DateCondition
    | InactiveFor
    | InTrack
    | PostcodeCondition
    | AllOf
    | AnyOf
    | Not
    | NewerThan
)


def leaves(condition: Condition, *, negated: bool = True) -> Iterator[Condition]:
    """Yield the conditions without parts in *condition*, those under a Not only if *negated*."""
    match condition:
        case AllOf(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from leaves(part, negated=negated)
        case Not(part=part):
            if negated:
                yield from leaves(part)
        case _:
            yield condition


@dataclass(frozen=True, slots=True)
class FitRule:
    """Which leads get a fit letter; the first matching rule decides."""

    letter: str
    when: Condition


WORST_FIT: Final = "D"
"""The letter of leads that match no rule."""


@frozen
class EvaluationContext:
    """What a condition is evaluated against: a view, the points of signals, and since when signals count.

    *answered_at* is for the policy's criteria: a rep has answered older evidence, which no longer counts.
    *fit_rules* give the fit letter. *newer_than*: evidence for `NewerThan` conditions is not older.
    """

    view: LeadView
    points: scoring.Points
    since: datetime | None = None
    answered_at: datetime | None = None
    fit_rules: tuple[FitRule, ...] = ()
    newer_than: datetime | None = None

    def restrict_to_newer(self) -> EvaluationContext:
        """Return the context restricted to evidence that is not older than *newer_than*."""
        if (cutoff := self.newer_than) is None:
            return self
        view = replace(self.view, signals=tuple(one for one in self.view.signals if one.effective_at >= cutoff))
        return replace(self, view=view, answered_at=max(self.answered_at or cutoff, cutoff))


def evaluate(condition: Condition, context: EvaluationContext, at: datetime) -> ConditionResult:
    """Evaluate *condition* as of *at*; later events are ignored.

    `changes_at` also names the next recorded signal after *at*, so a caller can step through time.
    """
    match condition:
        case FieldCondition():
            return compare_field(condition, context.view.lead.condition_fields.get(condition.name))
        case SignalCondition():
            return _evaluate_signal(condition, context, at)
        case ScoreCondition():
            return _evaluate_score(condition, context, at)
        case FitCondition():
            return _evaluate_fit(condition, context, at)
        case BantCondition():
            return ConditionResult(*bant.evaluate_bant(condition, context.view.lead))
        case DecidesWithin(days=days):
            return _evaluate_decides_within(days, context, at)
        case DateCondition():
            return evaluate_date(condition, context.view.lead, at)
        case InactiveFor():
            return evaluate_inactive(condition, context.view.lead, context.view.signals, at)
        case InTrack(track=track):
            enrollment = context.view.enrollment
            inside = enrollment is not None and not enrollment.ended and enrollment.track == track
            return ConditionResult(inside, f"{'in' if inside else 'not in'} track {track}")
        case PostcodeCondition():
            return _evaluate_postcode(condition, context.view)
        case AllOf(parts=parts):
            return _evaluate_all_of(parts, context, at)
        case AnyOf(parts=parts):
            return _evaluate_any_of(parts, context, at)
        case Not(part=part):
            result = evaluate(part, context, at)
            return ConditionResult(not result.met, result.reason, result.changes_at)  # the fact that decides both
        case NewerThan(part=part):
            return evaluate(part, context.restrict_to_newer(), at)
        case _:
            assert_never(condition)


def earliest(times: Sequence[datetime | None]) -> datetime | None:
    """Return the earliest of the times that are not None."""
    return min((time for time in times if time is not None), default=None)


def _evaluate_all_of(parts: tuple[Condition, ...], context: EvaluationContext, at: datetime) -> ConditionResult:
    results = [evaluate(part, context, at) for part in parts]
    changes = earliest([result.changes_at for result in results])
    for result in results:
        if not result.met:
            return ConditionResult(False, result.reason, changes)
    return ConditionResult(True, " and ".join(result.reason for result in results) or "always", changes)


def _evaluate_any_of(parts: tuple[Condition, ...], context: EvaluationContext, at: datetime) -> ConditionResult:
    results = [evaluate(part, context, at) for part in parts]
    changes = earliest([result.changes_at for result in results])
    for result in results:
        if result.met:
            return ConditionResult(True, result.reason, changes)
    return ConditionResult(False, "none of: " + "; ".join(result.reason for result in results), changes)


def compare_field(condition: FieldCondition, actual: FieldValue) -> ConditionResult:
    """Evaluate *condition* for a lead whose field has the value *actual*."""
    value = condition.value
    types = tuple(map(type, value)) if isinstance(value, tuple) else ()
    return _compare_field(condition.name, condition.comparison, value, types, actual)


@lru_cache(maxsize=8_192, typed=True)
def _compare_field(
    name: str,
    comparison: Comparison,
    value: FieldValue | tuple[FieldValue, ...],
    types: tuple[type, ...],  # noqa: ARG001 - so that 1 and yes, which are equal, are two entries of the cache
    actual: FieldValue,
) -> ConditionResult:
    """Compare a field; a match against a list names only the option that matched. Few values are of many leads."""
    met = matches(comparison, actual, value)
    options = value if isinstance(value, tuple) else (value,)
    if met and len(options) > 1 and comparison is not Comparison.NOT_IN:
        options = tuple(option for option in options if matches(comparison, actual, option))
    if comparison is Comparison.EXISTS:
        description = f"{name} is {'known' if value else 'not known'}"
    else:
        named = ", ".join(_BOOLEAN_WORDS[option] if isinstance(option, bool) else str(option) for option in options)
        word = Comparison.IS if met and comparison is Comparison.IN else comparison
        description = f"{name} {word.value.replace('_', ' ')} {named}"
    return ConditionResult(met, description if met else f"not true that {description}")


_BOOLEAN_WORDS: Final = {True: "yes", False: "no"}


def _evaluate_postcode(condition: PostcodeCondition, view: LeadView) -> ConditionResult:
    country, code = view.lead.fields.get("country"), view.lead.fields.get("postcode")
    plain = normalize_postcode(code, condition.first)
    first, last = condition.first, condition.last
    inside = first <= plain[: len(first)] and plain[: len(last)] <= last and bool(plain)
    met = inside and isinstance(country, str) and country.strip().upper() == condition.country
    description = f"postcode in {condition.country} {first} to {last}"
    return ConditionResult(met, description if met else f"not true that {description}")


def _matches_signal(condition: SignalCondition, signal: Signal, context: EvaluationContext) -> bool:
    if signal.kind is not condition.kind or signal.verdict is not SignalVerdict.HUMAN:
        return False
    if condition.link is not None and signal.link != condition.link:
        return False
    if condition.email is None:
        return True
    enrollment = context.view.enrollment
    if signal.step != condition.email or enrollment is None:
        return False
    if signal.enrollment_id is not None:
        return signal.enrollment_id == enrollment.id
    return signal.track is None or signal.track == enrollment.track


def _evaluate_signal(condition: SignalCondition, context: EvaluationContext, at: datetime) -> ConditionResult:
    if condition.email is None and not context.view.signals:  # true for most leads
        return ConditionResult(False, f"{condition.description} not seen")
    since = context.since
    if condition.email is not None:
        accepted = context.view.last_accepted_at(condition.email)
        if accepted is None:
            return ConditionResult(False, f"{condition.email} was not sent yet")
        since = accepted if since is None or accepted > since else since
    window_start = since
    if condition.within is not None:
        start = at - condition.within
        window_start = start if window_start is None or start > window_start else window_start
    occurrences: list[datetime] = []
    next_one = None
    for signal in context.view.signals:
        occurred_at = signal.occurred_at
        if (window_start is not None and occurred_at < window_start) or not _matches_signal(condition, signal, context):
            continue
        if occurred_at > at:
            next_one = occurred_at
            break
        occurrences.append(occurred_at)
    if len(occurrences) < condition.times:
        return ConditionResult(False, f"{condition.description} not seen", next_one)
    reason = f"{condition.description} on {occurrences[-1].date()}"
    if condition.within is None:
        return ConditionResult(True, reason, next_one)
    # The answer turns to no just after the span has passed for the signal that completes the count.
    ends = occurrences[-condition.times] + condition.within + ONE_MICROSECOND
    return ConditionResult(True, reason, ends if next_one is None or ends < next_one else next_one)


def _evaluate_score(condition: ScoreCondition, context: EvaluationContext, at: datetime) -> ConditionResult:
    points, signals, lead = context.points, context.view.signals, context.view.lead
    if context.answered_at is not None:
        engagement = scoring.recompute_engagement(points, signals, context.answered_at, at)
    else:
        engagement = scoring.engagement_at(lead.engagement, points, signals, lead.signals_since, at)
    changes = None
    if signals:
        changes = next((one.occurred_at for one in signals if one.occurred_at > at and points.points_for(one)), None)
    bound = condition.bound
    value = scoring.total_engagement(engagement)
    reached = scoring.reaches(value, bound)
    if reached:
        changes = earliest((scoring.falls_below_at(engagement, points, bound), changes))
    if condition.at_least is not None:
        if reached and not scoring.shows_intent(points, signals, context.answered_at or lead.signals_since, at):
            return ConditionResult(False, f"engagement {value:.1f}, all of it from signals of low intent", changes)
        return ConditionResult(reached, f"engagement {value:.1f}, at least {bound:g} asked", changes)
    return ConditionResult(not reached, f"engagement {value:.1f}, below {bound:g} asked", changes)


def grade_fit(context: EvaluationContext, at: datetime) -> tuple[str, str]:
    """Return the lead's fit letter at *at*, and the reason for it."""
    for rule in context.fit_rules:
        result = evaluate(rule.when, context, at)
        if result.met:
            return rule.letter, result.reason
    return (WORST_FIT, "no rule for a better letter matches" if context.fit_rules else "the policy has no fit rules")


def _evaluate_fit(condition: FitCondition, context: EvaluationContext, at: datetime) -> ConditionResult:
    letter, _ = grade_fit(context, at)
    if condition.at_least is not None:
        return ConditionResult(letter <= condition.at_least, f"fit {letter}, at least {condition.at_least} asked")
    assert condition.below is not None
    return ConditionResult(letter > condition.below, f"fit {letter}, below {condition.below} asked")


def _evaluate_decides_within(days: int, context: EvaluationContext, at: datetime) -> ConditionResult:
    timeline, zone = context.view.lead.timeline, context.view.lead.zone
    if timeline is None:
        return ConditionResult(False, "no decision date stated")
    if at < timeline.stated_at:
        return ConditionResult(False, "no decision date stated yet", timeline.stated_at)
    opens = start_of_day(_days_before(timeline.decides_on, days), zone)
    closes = start_of_day(_days_before(timeline.decides_on, -1), zone)
    stated = f"decides on {timeline.decides_on}"
    if at < opens:
        return ConditionResult(False, f"{stated}, more than {days} days ahead", opens)
    if at >= closes:
        return ConditionResult(False, f"{stated}, which has passed")
    if context.answered_at is not None and max(opens, timeline.stated_at) < context.answered_at:
        return ConditionResult(False, f"{stated}, which a rep has answered")
    return ConditionResult(True, f"{stated}, at most {days} days ahead", closes)


def _days_before(day: date, days: int) -> date:
    """Return the day *days* before *day*, clamped to the range for which every zone has a start of day."""
    try:
        return min(max(day - timedelta(days=days), EARLIEST_DAY), LATEST_DAY)
    except OverflowError:
        return EARLIEST_DAY if days > 0 else LATEST_DAY
