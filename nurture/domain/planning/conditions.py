"""The questions that audiences, branches and hand-off criteria ask about a lead.

Each question answers yes or no, says why, and says when the answer could next change by itself, so
that nothing has to be polled. Answers name conditions, never a lead's personal facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from math import isfinite
from typing import Final, NamedTuple, assert_never

from nurture.domain.lead import Fact
from nurture.domain.planning.calendar import start_of
from nurture.domain.planning.lead_view import View
from nurture.domain.scoring import bant, scoring
from nurture.domain.scoring.bant import Bant
from nurture.domain.signals import Signal, SignalKind, SignalVerdict

MOMENT: Final = timedelta(microseconds=1)
EARLIEST_DAY: Final = date(2, 1, 1)
LATEST_DAY: Final = date(9998, 12, 31)


class Answer(NamedTuple):
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
    deed: str = field(init=False, repr=False, compare=False)  # in words, found once: every sweep asks for it

    def __post_init__(self) -> None:
        named = " ".join(word for word in (self.kind.value, self.email) if word is not None)
        linked = named if self.link is None else f"{named} link {self.link}"
        object.__setattr__(self, "deed", f"{linked} {self.times} times" if self.times > 1 else linked)


@dataclass(frozen=True, slots=True)
class Score:
    """Engagement is at least, or below, a number. Exactly one bound is given."""

    at_least: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """The fit letter is at least as good as, or worse than, a letter. Exactly one bound is given."""

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
class Postcode:
    """The lead's postcode is from *first* to *last* in *country* (ISO code); beginnings of codes will do."""

    country: str
    first: str
    last: str


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


@dataclass(frozen=True, slots=True)
class Newer:
    """The part holds by evidence that is not older than the question's *newer_than*."""

    part: Condition


Condition = Field | Bant | Did | Score | Fit | DecidesWithin | InTrack | Postcode | Every | Any | Not | Newer


@dataclass(frozen=True, slots=True)
class FitRule:
    """Which leads are given a letter; the first rule that holds gives it."""

    letter: str
    when: Condition


WORST_FIT: Final = "D"
"""The letter of leads for which no rule holds."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a condition is asked about: a view, the points of signals, and since when deeds count.

    *answered_at* is for the policy's criteria: a rep has answered older evidence, which counts no more. *fit*
    are the rules that give the fit letter. *newer_than*: what `Newer` conditions rest on is not older.
    """

    view: View
    points: scoring.Points
    since: datetime | None = None
    answered_at: datetime | None = None
    fit: tuple[FitRule, ...] = ()
    newer_than: datetime | None = None

    def newer(self) -> Question:
        """Return the question about evidence that is not older than *newer_than*."""
        if (least := self.newer_than) is None:
            return self
        view = replace(self.view, signals=tuple(one for one in self.view.signals if one.counts_from >= least))
        return replace(self, view=view, answered_at=max(self.answered_at or least, least))


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
        case Fit():
            return _fit(condition, about, at)
        case Bant():
            return Answer(*bant.asked(condition, about.view.lead))
        case DecidesWithin(days=days):
            return _decides_within(days, about, at)
        case InTrack(track=track):
            enrollment = about.view.enrollment
            inside = enrollment is not None and not enrollment.ended and enrollment.track == track
            return Answer(inside, f"{'in' if inside else 'not in'} track {track}")
        case Postcode():
            return _postcode(condition, about.view)
        case Every(parts=parts):
            return _every(parts, about, at)
        case Any(parts=parts):
            return _any(parts, about, at)
        case Not(part=part):
            answer = evaluate(part, about, at)
            return Answer(not answer.yes, f"not ({answer.because})", answer.changes_at)
        case Newer(part=part):
            return evaluate(part, about.newer(), at)
        case _:
            assert_never(condition)


def earliest(moments: Sequence[datetime | None]) -> datetime | None:
    """Return the first of the moments that are known."""
    return min((moment for moment in moments if moment is not None), default=None)


def _every(parts: tuple[Condition, ...], about: Question, at: datetime) -> Answer:
    answers = [evaluate(part, about, at) for part in parts]
    changes = earliest([answer.changes_at for answer in answers])
    for answer in answers:
        if not answer.yes:
            return Answer(False, answer.because, changes)
    return Answer(True, " and ".join(answer.because for answer in answers) or "always", changes)


def _any(parts: tuple[Condition, ...], about: Question, at: datetime) -> Answer:
    answers = [evaluate(part, about, at) for part in parts]
    changes = earliest([answer.changes_at for answer in answers])
    for answer in answers:
        if answer.yes:
            return Answer(True, answer.because, changes)
    return Answer(False, "none of: " + "; ".join(answer.because for answer in answers), changes)


def _plain(value: Fact) -> Fact:
    return value.casefold().strip() if isinstance(value, str) else value


def number_of(value: Fact) -> float | None:
    """Return a fact as a number, None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _same(fact: Fact, value: Fact) -> bool:
    if isinstance(fact, bool) or isinstance(value, bool):
        return fact is value
    if isinstance(fact, str) and isinstance(value, str):
        return _plain(fact) == _plain(value)  # "01067" and "1067" are two postal codes
    left, right = number_of(fact), number_of(value)
    return left is not None and left == right


def _compares(test: Comparison, fact: Fact, value: Fact | tuple[Fact, ...]) -> bool:
    options = value if isinstance(value, tuple) else (value,)
    present = bool(fact.strip()) if isinstance(fact, str) else fact is not None
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
            number, bound = number_of(fact), number_of(options[0])
            if number is None or bound is None:
                return False
            return number >= bound if test is Comparison.AT_LEAST else number <= bound
        case _:
            assert_never(test)


def _field(condition: Field, view: View) -> Answer:
    """Compare a fact; of a list, a yes names only the option that fits."""
    fact = view.lead.facts.get(condition.name)
    yes = _compares(condition.test, fact, condition.value)
    options = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if yes and len(options) > 1 and condition.test is not Comparison.NOT_IN:
        options = tuple(option for option in options if _compares(condition.test, fact, option))
    if condition.test is Comparison.EXISTS:
        asked = f"{condition.name} is {'known' if condition.value else 'not known'}"
    else:
        named = ", ".join(_WORDS[option] if isinstance(option, bool) else str(option) for option in options)
        asked = f"{condition.name} {condition.test.value.replace('_', ' ')} {named}"
    return Answer(yes, asked if yes else f"not true that {asked}")


_WORDS: Final = {True: "yes", False: "no"}


def _postcode(condition: Postcode, view: View) -> Answer:
    country, code = view.lead.facts.get("country"), view.lead.facts.get("postcode")
    plain = plain_postcode(code, condition.first)
    first, last = condition.first, condition.last
    inside = first <= plain[: len(first)] and plain[: len(last)] <= last and bool(plain)
    yes = inside and isinstance(country, str) and country.strip().upper() == condition.country
    asked = f"postcode in {condition.country} {first} to {last}"
    return Answer(yes, asked if yes else f"not true that {asked}")


def plain_postcode(code: Fact, like: str = "") -> str:
    """Return a postcode without spaces, hyphens and a country's letters before the digits ("D-80331").

    What came in as a number has lost the zeros that it began with: it gets those of *like* back.
    """
    if isinstance(code, bool) or code is None:
        return ""
    plain = "".join(letter for letter in str(code).upper() if letter.isalnum())
    if not isinstance(code, str):
        return plain.zfill(len(like))
    before, dash, after = code.upper().strip().partition("-")
    if dash and before.isalpha() and after[:1].isdigit():
        return "".join(letter for letter in after if letter.isalnum())
    return plain


def _is_meant(condition: Did, signal: Signal, about: Question) -> bool:
    if signal.kind is not condition.kind or signal.verdict is not SignalVerdict.HUMAN:
        return False
    if condition.link is not None and signal.link != condition.link:
        return False
    if condition.email is None:
        return True
    enrollment = about.view.enrollment
    if signal.step != condition.email or enrollment is None:
        return False
    if signal.enrollment_id is not None:
        return signal.enrollment_id == enrollment.id
    return signal.track is None or signal.track == enrollment.track


def _did(condition: Did, about: Question, at: datetime) -> Answer:
    if condition.email is None and not about.view.signals:  # as it is for most leads
        return Answer(False, f"{condition.deed} not seen")
    since = about.since
    if condition.email is not None:
        accepted = about.view.accepted_at(condition.email)
        if accepted is None:
            return Answer(False, f"{condition.email} was not sent yet")
        since = accepted if since is None or accepted > since else since
    opens = since
    if condition.within is not None:
        start = at - condition.within
        opens = start if opens is None or start > opens else opens
    done: list[datetime] = []
    next_one = None
    for signal in about.view.signals:
        moment = signal.occurred_at
        if (opens is not None and moment < opens) or not _is_meant(condition, signal, about):
            continue
        if moment > at:
            next_one = moment
            break
        done.append(moment)
    if len(done) < condition.times:
        return Answer(False, f"{condition.deed} not seen", next_one)
    because = f"{condition.deed} on {done[-1].date()}"
    if condition.within is None:
        return Answer(True, because, next_one)
    # The answer turns to no a moment after the span has passed for the deed that tips the count.
    ends = done[-condition.times] + condition.within + MOMENT
    return Answer(True, because, ends if next_one is None or ends < next_one else next_one)


def _score(condition: Score, about: Question, at: datetime) -> Answer:
    points, signals, lead = about.points, about.view.signals, about.view.lead
    if about.answered_at is not None:
        engagement = scoring.reckoned(points, signals, about.answered_at, at)
    else:
        engagement = scoring.known_at(lead.engagement, points, signals, lead.evidence_since, at)
    changes = None
    if signals:
        changes = next((one.occurred_at for one in signals if one.occurred_at > at and points.of(one)), None)
    bound = condition.at_least if condition.at_least is not None else condition.below
    assert bound is not None
    value = scoring.total(engagement)
    holds_up = scoring.reaches(value, bound)
    if holds_up:
        changes = earliest((scoring.falls_below_at(engagement, points, bound), changes))
    if condition.at_least is not None:
        if holds_up and not scoring.shows_intent(
            points, signals, about.answered_at or lead.evidence_since, at
        ):
            return Answer(False, f"engagement {value:.1f}, all of it from deeds of low intent", changes)
        return Answer(holds_up, f"engagement {value:.1f}, at least {bound:g} asked", changes)
    return Answer(not holds_up, f"engagement {value:.1f}, below {bound:g} asked", changes)


def graded(about: Question, at: datetime) -> tuple[str, str]:
    """Return the lead's fit letter at *at*, and why it has this one."""
    for rule in about.fit:
        answer = evaluate(rule.when, about, at)
        if answer.yes:
            return rule.letter, answer.because
    return WORST_FIT, "no rule for a better letter holds" if about.fit else "the policy has no fit rules"


def _fit(condition: Fit, about: Question, at: datetime) -> Answer:
    letter, _ = graded(about, at)
    if condition.at_least is not None:
        return Answer(letter <= condition.at_least, f"fit {letter}, at least {condition.at_least} asked")
    assert condition.below is not None
    return Answer(letter > condition.below, f"fit {letter}, below {condition.below} asked")


def _decides_within(days: int, about: Question, at: datetime) -> Answer:
    timeline, zone = about.view.lead.timeline, about.view.lead.zone
    if timeline is None:
        return Answer(False, "no decision date stated")
    if at < timeline.stated_at:
        return Answer(False, "no decision date stated yet", timeline.stated_at)
    opens = start_of(_days_before(timeline.decides_on, days), zone)
    closes = start_of(_days_before(timeline.decides_on, -1), zone)
    stated = f"decides on {timeline.decides_on}"
    if at < opens:
        return Answer(False, f"{stated}, more than {days} days ahead", opens)
    if at >= closes:
        return Answer(False, f"{stated}, which has passed")
    if about.answered_at is not None and max(opens, timeline.stated_at) < about.answered_at:
        return Answer(False, f"{stated}, which a rep has answered")
    return Answer(True, f"{stated}, at most {days} days ahead", closes)


def _days_before(day: date, days: int) -> date:
    """Return the day *days* before *day*, not so far off that no zone can tell its start."""
    try:
        return min(max(day - timedelta(days=days), EARLIEST_DAY), LATEST_DAY)
    except OverflowError:
        return EARLIEST_DAY if days > 0 else LATEST_DAY
