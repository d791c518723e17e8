"""Find what a policy does to existing leads: what it decides for each, which leads each rule takes, and which none."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from nurture.domain.lead import Custodian, Lead, has_value
from nurture.domain.planning.comparisons import Comparison, to_number
from nurture.domain.planning.compiled_conditions import ANY_TIME
from nurture.domain.planning.conditions import (
    Condition,
    EvaluationContext,
    FieldCondition,
    FitCondition,
    ScoreCondition,
    evaluate,
    grade_fit,
    leaves,
)
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.missing_fields import depends_on
from nurture.domain.policy.policy import Criterion, Policy, ReadinessRule
from nurture.domain.policy.policy_wording import describe_value
from nurture.domain.routing.routing import RoutingRule, ToPool, ToRep
from nurture.domain.scoring.scoring import engagement_at, total_engagement

_EXAMPLES: Final = 5
Threshold = FieldCondition | ScoreCondition | FitCondition


def matching_readiness_rules(policy: Policy, view: LeadView, now: datetime) -> Iterator[ReadinessRule]:
    """Yield the readiness rules that a lead matches."""
    context = policy.evaluation_context(view)
    return (rule for rule in policy.readiness if evaluate(rule.when, context, now).met)


def matching_criteria(policy: Policy, view: LeadView, now: datetime) -> Iterator[Criterion]:
    """Yield the hand-off criteria that a lead meets; none if it is on no track."""
    context = policy.evaluation_context(view, answered_at=view.lead.signals_since)
    criteria = policy.criteria if view.custodian is Custodian.TRACK else ()
    return (one for one in criteria if evaluate(one.when, context, now).met)


def matching_routing_rules(policy: Policy, view: LeadView, country: str) -> Iterator[tuple[RoutingRule, str]]:
    """Yield the routing rules that a lead matches, each with the field that it waits for, "" for none.

    *country* is its ISO code, "" if unknown. Rules for account owners are left out.
    """
    fields = {**view.lead.condition_fields, "country": country or view.lead.fields.get("country")}
    context = policy.evaluation_context(LeadView(Lead(view.lead.id, fields), Custodian.QUEUE, None))
    for rule in policy.routing:
        if isinstance(rule.target, ToRep | ToPool):
            missing = [name for name in rule.required_fields if not has_value(fields.get(name))]
            if missing and depends_on(rule.when, missing, context):
                yield rule, missing[0]
            elif evaluate(rule.when, context, ANY_TIME).met:
                yield rule, ""


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """What a policy decides for a lead: as a new one, on its track, its fit, and its routing rule."""

    readiness: str
    hand_off: str
    fit: str
    routing: str


def evaluate_lead(policy: Policy, view: LeadView, country: str, now: datetime) -> PolicyEvaluation:
    """Return what *policy* decides for a lead at *now*; account owners are not considered."""
    ready = next(matching_readiness_rules(policy, view, now), None)
    offered = next(matching_criteria(policy, view, now), None)
    rule, missing = next(matching_routing_rules(policy, view, country), (None, ""))
    return PolicyEvaluation(
        "" if ready is None else f"{ready.name}: {describe_value(ready.then)}",
        "stays on its track" if offered is None else f"handed off: {offered.name}",
        policy.grade(view.lead.condition_fields)[0],
        f"waits for {missing}" if missing else "nobody" if rule is None else describe_value(rule.target),
    )


@dataclass(slots=True)
class Tally:
    """A count of leads, with a few examples."""

    count: int = 0
    examples: list[int] = field(default_factory=list)

    def add(self, lead_id: int) -> None:
        """Count one more lead."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(lead_id)


@dataclass(slots=True)
class RuleImpact:
    """The leads that a rule matches, those that it gets, and which earlier rules got the others."""

    matched: Tally = field(default_factory=Tally)
    assigned: Tally = field(default_factory=Tally)
    taken_by_earlier: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class ThresholdImpact:
    """How many leads meet a threshold, for how many the value is known, and the closest value."""

    met: int = 0
    known: int = 0
    closest: float | str | None = None


@dataclass
class PolicyImpact:
    """Evaluates a policy for leads, one by one."""

    policy: Policy
    leads: int = 0
    readiness: dict[str, RuleImpact] = field(default_factory=lambda: defaultdict(RuleImpact))
    criteria: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    routing: dict[str, RuleImpact] = field(default_factory=lambda: defaultdict(RuleImpact))
    overlaps: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    no_rule: Tally = field(default_factory=Tally)
    no_territory: Tally = field(default_factory=Tally)
    missing_fields: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    thresholds: dict[tuple[str, str, Threshold], ThresholdImpact] = field(
        default_factory=lambda: defaultdict(ThresholdImpact)
    )

    def add_lead(self, view: LeadView, country: str, now: datetime) -> None:
        """Evaluate the policy for one lead; *country* is its ISO code, "" if unknown."""
        self.leads += 1
        first = ""
        for rule in matching_readiness_rules(self.policy, view, now):
            _add_match(self.readiness[rule.name], view.lead.id, first)
            first = first or rule.name
        for criterion in matching_criteria(self.policy, view, now):
            self.criteria[criterion.name].add(view.lead.id)
        self._add_thresholds(self.policy.evaluation_context(view), now)
        self._add_routing(view, country)

    def _add_thresholds(self, context: EvaluationContext, now: datetime) -> None:
        for part, name, when in conditions_of(self.policy):
            for threshold in thresholds_in(when):
                impact = self.thresholds[part, name, threshold]
                value = _threshold_value(threshold, context, now)
                if value is None:
                    continue
                impact.known += 1
                impact.met += evaluate(threshold, context, now).met
                if impact.closest is None or _is_closer(threshold, value, impact.closest):
                    impact.closest = value

    def _add_routing(self, view: LeadView, country: str) -> None:
        lead_id, first, territories = view.lead.id, "", []
        for rule, missing in matching_routing_rules(self.policy, view, country):
            if missing:
                if not first:
                    self.missing_fields[missing].add(lead_id)
                    first = rule.name  # it waits for the field, then the fallback of `missing_fields:` gets it
            else:
                _add_match(self.routing[rule.name], lead_id, first)
                first = first or rule.name
                territories += [rule.name] if rule.territory else []
        self._add_territories(lead_id, first, territories)

    def _add_territories(self, lead_id: int, first: str, territories: list[str]) -> None:
        if not first:
            self.no_rule.add(lead_id)
        if not territories:
            self.no_territory.add(lead_id)
        for index, name in enumerate(territories):
            for other in territories[index + 1 :]:
                self.overlaps[name, other].add(lead_id)


def _add_match(impact: RuleImpact, lead_id: int, first: str) -> None:
    impact.matched.add(lead_id)
    if first:
        impact.taken_by_earlier[first] += 1
    else:
        impact.assigned.add(lead_id)


def conditions_of(policy: Policy) -> Iterator[tuple[str, str, Condition]]:
    """Yield every condition with its section of the file and its name."""
    for rule in policy.readiness:
        yield "readiness", rule.name, rule.when
    for criterion in policy.criteria:
        yield "hand_off_when", criterion.name, criterion.when
    for letter in policy.fit:
        yield "fit", letter.letter, letter.when
    for routed in policy.routing:
        yield "routing", routed.name, routed.when


def thresholds_in(when: Condition) -> Iterator[Threshold]:
    """Yield the thresholds in a condition; what is negated is not a threshold."""
    for one in leaves(when, negated=False):
        match one:
            case (
                FieldCondition(comparison=Comparison.AT_LEAST | Comparison.AT_MOST) | ScoreCondition() | FitCondition()
            ):
                yield one
            case _:
                pass


def _threshold_value(threshold: Threshold, context: EvaluationContext, now: datetime) -> float | str | None:
    match threshold:
        case FieldCondition(name=name):
            return to_number(context.view.lead.fields.get(name))
        case ScoreCondition():
            lead, signals = context.view.lead, context.view.signals
            return total_engagement(engagement_at(lead.engagement, context.points, signals, lead.signals_since, now))
        case FitCondition():
            return grade_fit(context, now)[0]


def _is_closer(threshold: Threshold, value: float | str, known: float | str) -> bool:
    if isinstance(value, str) or isinstance(known, str):
        best_first = isinstance(threshold, FitCondition) and threshold.at_least is not None
        return (str(value) < str(known)) is best_first and value != known
    upwards = isinstance(threshold, ScoreCondition) and threshold.at_least is not None
    if isinstance(threshold, FieldCondition):
        upwards = threshold.comparison is Comparison.AT_LEAST
    return value > known if upwards else value < known


def rep_references(policy: Policy) -> Iterator[tuple[str, str, str]]:
    """Yield every reference to a rep: the section of the file, the name there, and the rep's id."""
    for pool in policy.pools.values():
        for rep in pool.reps:
            yield "pools", pool.name, rep
    for rule in policy.routing:
        yield from (("routing", rule.name, rep) for rep in _reps_in_rule(rule))
    if isinstance(policy.missing_fields.fallback, ToRep):
        yield "missing_fields", "then", policy.missing_fields.fallback.rep
    for one in policy.reps:
        yield from (("reps", one.id, other) for other in (one.deputy, one.manager) if other is not None)


def _reps_in_rule(rule: RoutingRule) -> Iterator[str]:
    if isinstance(rule.target, ToRep):
        yield rule.target.rep
    yield from getattr(rule.target, "reps", {}).values()
