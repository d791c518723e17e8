"""Check the sales policy against the current leads: overlaps, gaps, departed reps and unused rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from nurture.definitions import read_all, yaml_reader
from nurture.definitions.folder import Sources
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, FieldCondition, FitCondition, ScoreCondition
from nurture.domain.planning.program import ToClosed
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_impact import (
    PolicyImpact,
    RuleImpact,
    Tally,
    Threshold,
    ThresholdImpact,
    rep_references,
)
from nurture.domain.problems import faults
from nurture.domain.routing.routing import ToPool, ToRep
from nurture.errors import InvalidDefinitions
from nurture.journey.leads import snapshot
from nurture.publishing.lead_survey import ProgressCallback, survey_leads
from nurture.publishing.publish import check_definitions
from nurture.runtime.context import AppContext

POLICY: Final = "sales/policy.yaml"


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """A problem of the policy and the leads that it concerns. *is_error*: fix it before publishing."""

    file: str
    line: int
    message: str
    remedy: str
    leads: int = 0
    examples: tuple[int, ...] = ()
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class PolicyCheckResult:
    """The findings, ordered by line, and the number of checked leads."""

    findings: tuple[PolicyFinding, ...]
    leads: int

    @property
    def ok(self) -> bool:
        """Return whether no error was found."""
        return not any(finding.is_error for finding in self.findings)


def check_policy(
    ctx: AppContext, sources: Sources, now: datetime, on_progress: ProgressCallback = lambda _: None
) -> PolicyCheckResult:
    """Check the policy of a folder against every open lead; *on_progress* gets the size of each batch.

    Raises InvalidDefinitions if the file itself has problems.
    """
    policy = read_policy(sources)
    survey = survey_leads(ctx, policy, now, on_progress)
    with ctx.database.read() as tx:
        leads_per_rep = snapshot.count_leads_by_rep(tx)
    lines = yaml_reader.line_numbers(POLICY, sources[POLICY])
    found = [
        *_find_overlaps(policy, survey, lines),
        *_find_gaps(policy, survey, lines),
        *_find_departed_reps(policy, now.date(), lines),
        *_find_unknown_reps(policy, leads_per_rep, lines),
        *(_find_unused_rules(survey, lines) if survey.leads else ()),
    ]
    return PolicyCheckResult(tuple(sorted(found, key=lambda one: (one.line, one.message))), survey.leads)


def read_policy(sources: Sources) -> Policy:
    """Return the policy of a folder. Raises InvalidDefinitions if the file has problems."""
    problems = [problem for problem in faults(check_definitions(sources)) if problem.file == POLICY]
    if problems:
        raise InvalidDefinitions(problems)
    return read_all.read(sources)[0].policy(0)


_LineNumbers = Mapping[tuple[str, str], int]


def _line_of(lines: _LineNumbers, part: str, name: str = "") -> int:
    return lines.get((part, name)) or lines.get((part, "")) or 1


def _finding(
    line: int, message: str, remedy: str, tally: Tally | None = None, *, is_error: bool = False
) -> PolicyFinding:
    count, examples = (tally.count, tuple(tally.examples)) if tally is not None else (0, ())
    return PolicyFinding(POLICY, line, message, remedy, count, examples, is_error)


def _count_leads(count: int) -> str:
    return "1 lead" if count == 1 else f"{count:,} leads"


def _find_overlaps(policy: Policy, survey: PolicyImpact, lines: _LineNumbers) -> Iterator[PolicyFinding]:
    for (first, second), tally in survey.overlaps.items() if not policy.overlaps_allowed else ():
        yield _finding(
            _line_of(lines, "routing", second),
            f"the territories `{first}` and `{second}` both claim {_count_leads(tally.count)}: `{first}` gets them",
            "Make one of them narrower, or remove `territory: yes` from the one that is not a territory.",
            tally,
            is_error=True,
        )


def _find_gaps(policy: Policy, survey: PolicyImpact, lines: _LineNumbers) -> Iterator[PolicyFinding]:
    end = _line_of(lines, "routing")
    if survey.no_rule.count:
        yield _finding(
            _line_of(lines, "routing", policy.routing[-1].name) if policy.routing else end,
            f"no routing rule takes {_count_leads(survey.no_rule.count)}: they would wait in the queue no-rep",
            "End the list with `- {name: rest, when: always, to: {pool: everyone}}`.",
            survey.no_rule,
            is_error=True,
        )
    if any(rule.territory for rule in policy.routing) and survey.no_territory.count:
        yield _finding(
            end,
            f"{_count_leads(survey.no_territory.count)} of {survey.leads:,} are in no territory",
            "Add a territory for them, or leave them to the other rules.",
            survey.no_territory,
        )
    for name, tally in survey.missing_fields.items():
        rule = next(one for one in policy.routing if name in one.required_fields)
        yield _finding(
            _line_of(lines, "routing", rule.name),
            f"`{rule.name}` needs `{name}`, which is missing for {_count_leads(tally.count)}: they wait for it",
            "Import it, ask for it on a form, or shorten `missing:`.",
            tally,
        )


def _find_departed_reps(policy: Policy, today: date, lines: _LineNumbers) -> Iterator[PolicyFinding]:
    """Yield a finding for each reference to a rep who has left."""
    departed = {rep.id: rep.left_on for rep in policy.reps if rep.left_on is not None and rep.left_on < today}
    for part, name, rep in rep_references(policy):
        is_built_in = part == "pools" and (part, name) not in lines  # the built-in pool skips departed reps
        if rep in departed and name not in departed and not is_built_in:
            yield _finding(
                _line_of(lines, part, name),
                f"`{name}` under `{part}` names `{rep}`, who left on {departed[rep]}",
                "Name a rep who has not left.",
                is_error=True,
            )
    if policy.reps and all(rep.id in departed for rep in policy.reps):
        yield _finding(_line_of(lines, "reps"), "every rep has left: nobody gets a lead", "Add a rep.", is_error=True)


def _find_unknown_reps(
    policy: Policy, leads_per_rep: Mapping[str, int], lines: _LineNumbers
) -> Iterator[PolicyFinding]:
    """Yield a finding for each rep who has leads and is not in the policy."""
    for ref, count in sorted(leads_per_rep.items()):
        if policy.rep(ref) is None:
            verb = "belongs" if count == 1 else "belong"
            yield PolicyFinding(
                POLICY,
                _line_of(lines, "reps"),
                f"{_count_leads(count)} {verb} to `{ref}`, who is not a rep of this policy",
                "Keep the rep in the list with `left_on:`, or close or reassign the leads",
                count,
                is_error=True,
            )


def _find_unused_rules(survey: PolicyImpact, lines: _LineNumbers) -> Iterator[PolicyFinding]:
    """Yield a finding for each threshold that no lead meets and each rule that matches no lead, once per rule.

    Skip rules that close leads, as closed leads are not evaluated, and rules for all leads, which are defaults.
    """
    policy = survey.policy
    closing = {rule.name for rule in policy.readiness if isinstance(rule.then, ToClosed)}
    reported: set[tuple[str, str]] = {("readiness", name) for name in closing}
    for (part, name, threshold), met in survey.thresholds.items():
        if not met.met and (part, name) not in reported:
            reported.add((part, name))
            yield _unmet_threshold_finding(_line_of(lines, part, name), part, name, threshold, met, survey.leads)
    rules = [("readiness", rule.name, rule.when, survey.readiness[rule.name]) for rule in policy.readiness]
    rules += [
        ("routing", rule.name, rule.when, survey.routing[rule.name])
        for rule in policy.routing
        if isinstance(rule.target, ToRep | ToPool)
    ]
    for part, name, when, impact in rules:
        if not impact.assigned.count and (part, name) not in reported and when != AllOf(()):
            yield _unused_rule_finding(_line_of(lines, part, name), part, name, impact, survey.leads)


def _unused_rule_finding(line: int, part: str, name: str, impact: RuleImpact, leads: int) -> PolicyFinding:
    if not impact.matched.count:
        message = f"`{name}` under `{part}` applies to no lead: it matches none of {_count_leads(leads)}"
        remedy = "If that is unexpected, compare it with a lead's fields: `nurture explain LEAD` shows them."
    else:
        before, _ = impact.taken_by_earlier.most_common(1)[0]
        message = (
            f"`{name}` under `{part}` applies to no lead: earlier rules, mostly `{before}`, take all "
            f"{_count_leads(impact.matched.count)} that it matches"
        )
        remedy = "Move it up, or remove it."
    return _finding(line, message, remedy, impact.matched)


def _unmet_threshold_finding(
    line: int, part: str, name: str, threshold: Threshold, met: ThresholdImpact, leads: int
) -> PolicyFinding:
    condition = _describe_threshold(threshold)
    if not met.known:
        message = f"`{name}` under `{part}` requires {condition}, which is not known for any lead"
        remedy = "Import it, or require a field that is known."
    else:
        closest = met.closest if isinstance(met.closest, str) else f"{met.closest:,g}"
        message = (
            f"`{name}` under `{part}` requires {condition}, which none of {_count_leads(leads)} reaches; "
            f"the closest is {closest}"
        )
        remedy = "Lower it, unless it is meant for future leads."
    return _finding(line, message, remedy)


def _describe_threshold(threshold: Threshold) -> str:
    match threshold:
        case FieldCondition(name=name, comparison=test, value=value):
            return f"{name} {'of at least' if test is Comparison.AT_LEAST else 'of at most'} {value}"
        case ScoreCondition(at_least=least, below=below):
            return f"a score of at least {least:g}" if least is not None else f"a score below {below:g}"
        case FitCondition(at_least=least, below=below):
            return f"fit {least} or better" if least is not None else f"fit worse than {below}"
