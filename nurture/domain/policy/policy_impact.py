"""What a policy does to the leads that there are: whom each rule takes, and which rules take nobody."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from nurture.domain.lead import Custodian, Facts, Lead
from nurture.domain.planning.conditions import (
    Any,
    Comparison,
    Condition,
    Every,
    Field,
    Fit,
    Not,
    Question,
    Score,
    evaluate,
    graded,
    number_of,
)
from nurture.domain.planning.lead_view import View
from nurture.domain.planning.missing_fields import hinges_on
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.routing import RoutingRule, ToPool, ToRep, is_known
from nurture.domain.scoring.scoring import known_at, total

_ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)  # facts have no time
_EXAMPLES: Final = 5
Threshold = Field | Score | Fit


@dataclass(slots=True)
class Tally:
    """How many leads, and a few of them."""

    count: int = 0
    examples: list[int] = field(default_factory=list)

    def add(self, lead_id: int) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(lead_id)


@dataclass(slots=True)
class Taken:
    """The leads for which a rule holds, those that it gets, and who got the others before."""

    holds: Tally = field(default_factory=Tally)
    gets: Tally = field(default_factory=Tally)
    before: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Met:
    """How many leads meet a threshold, of how many the value is known, and the value closest to it."""

    met: int = 0
    known: int = 0
    closest: float | str | None = None


@dataclass
class Survey:
    """Asks a policy about leads, one by one."""

    policy: Policy
    leads: int = 0
    readiness: dict[str, Taken] = field(default_factory=lambda: defaultdict(Taken))
    criteria: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    routing: dict[str, Taken] = field(default_factory=lambda: defaultdict(Taken))
    overlaps: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    no_rule: Tally = field(default_factory=Tally)
    no_territory: Tally = field(default_factory=Tally)
    lacking: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    thresholds: dict[tuple[str, str, Threshold], Met] = field(default_factory=lambda: defaultdict(Met))

    def ask(self, view: View, country: str, now: datetime) -> None:
        """Ask everything about one lead; *country* is its ISO code, "" where it is not known."""
        self.leads += 1
        about = self.policy.question(view)
        self._ask_readiness(view, about, now)
        if view.custodian is Custodian.TRACK:
            answered = self.policy.question(view, answered_at=view.lead.evidence_since)
            for criterion in self.policy.criteria:
                if evaluate(criterion.when, answered, now).yes:
                    self.criteria[criterion.name].add(view.lead.id)
        self._ask_thresholds(about, now)
        self._ask_routing(
            view.lead.id, {**view.lead.facts, "country": country or view.lead.facts.get("country")}
        )

    def _ask_readiness(self, view: View, about: Question, now: datetime) -> None:
        first = ""
        for rule in self.policy.readiness:
            if evaluate(rule.when, about, now).yes:
                _take(self.readiness[rule.name], view.lead.id, first)
                first = first or rule.name

    def _ask_thresholds(self, about: Question, now: datetime) -> None:
        for part, name, when in conditions_of(self.policy):
            for threshold in thresholds_in(when):
                met = self.thresholds[part, name, threshold]
                value = _value(threshold, about, now)
                if value is None:
                    continue
                met.known += 1
                met.met += evaluate(threshold, about, now).yes
                if met.closest is None or _closer(threshold, value, met.closest):
                    met.closest = value

    def _ask_routing(self, lead_id: int, facts: Facts) -> None:
        about = self.policy.question(View(Lead(lead_id, facts), Custodian.QUEUE, None))
        first, inside = "", []
        for rule in self.policy.routing:
            if not isinstance(rule.to, ToRep | ToPool):
                continue  # who owns an account is not asked here
            lacks = [name for name in rule.needs if not is_known(facts.get(name))]
            if lacks and hinges_on(rule.when, lacks, about):
                if not first:
                    self.lacking[lacks[0]].add(lead_id)
                    first = rule.name  # it waits for the fact, and the pool of `missing:` has it then
                continue
            if evaluate(rule.when, about, _ANY_TIME).yes:
                _take(self.routing[rule.name], lead_id, first)
                first = first or rule.name
                inside += [rule.name] if rule.territory else []
        self._note_places(lead_id, first, inside)

    def _note_places(self, lead_id: int, first: str, inside: list[str]) -> None:
        if not first:
            self.no_rule.add(lead_id)
        if not inside:
            self.no_territory.add(lead_id)
        for place, name in enumerate(inside):
            for other in inside[place + 1 :]:
                self.overlaps[name, other].add(lead_id)


def _take(taken: Taken, lead_id: int, first: str) -> None:
    taken.holds.add(lead_id)
    if first:
        taken.before[first] += 1
    else:
        taken.gets.add(lead_id)


def conditions_of(policy: Policy) -> Iterator[tuple[str, str, Condition]]:
    """Return every condition with the part of the file and the name under which it stands."""
    for rule in policy.readiness:
        yield "readiness", rule.name, rule.when
    for criterion in policy.criteria:
        yield "hand_off_when", criterion.name, criterion.when
    for letter in policy.fit:
        yield "fit", letter.letter, letter.when
    for routed in policy.routing:
        yield "routing", routed.name, routed.when


def thresholds_in(when: Condition) -> Iterator[Threshold]:
    """Return the bounds that somebody has to reach, wherever they stand; what is denied is no threshold."""
    match when:
        case Field(test=Comparison.AT_LEAST | Comparison.AT_MOST) | Score() | Fit():
            yield when
        case Every(parts=parts) | Any(parts=parts):
            for part in parts:
                yield from thresholds_in(part)
        case Not():
            return
        case _:
            return


def _value(threshold: Threshold, about: Question, now: datetime) -> float | str | None:
    match threshold:
        case Field(name=name):
            return number_of(about.view.lead.facts.get(name))
        case Score():
            lead, signals = about.view.lead, about.view.signals
            return total(known_at(lead.engagement, about.points, signals, lead.evidence_since, now))
        case Fit():
            return graded(about, now)[0]


def _closer(threshold: Threshold, value: float | str, known: float | str) -> bool:
    if isinstance(value, str) or isinstance(known, str):
        best_first = isinstance(threshold, Fit) and threshold.at_least is not None
        return (str(value) < str(known)) is best_first and value != known
    upwards = isinstance(threshold, Score) and threshold.at_least is not None
    if isinstance(threshold, Field):
        upwards = threshold.test is Comparison.AT_LEAST
    return value > known if upwards else value < known


def named_in(policy: Policy) -> Iterator[tuple[str, str, str]]:
    """Return every place that names a rep: the part of the file, the name there, and the rep's id."""
    for pool in policy.pools.values():
        for rep in pool.reps:
            yield "pools", pool.name, rep
    for rule in policy.routing:
        yield from (("routing", rule.name, rep) for rep in _reps_of(rule))
    if isinstance(policy.missing.then, ToRep):
        yield "missing", "then", policy.missing.then.rep
    for one in policy.reps:
        yield from (("reps", one.id, other) for other in (one.deputy, one.manager) if other is not None)


def _reps_of(rule: RoutingRule) -> Iterator[str]:
    if isinstance(rule.to, ToRep):
        yield rule.to.rep
    yield from getattr(rule.to, "reps", {}).values()
