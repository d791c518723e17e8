"""Check the sales policy on the leads that there are: overlaps, gaps, absent people, rules for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from nurture import definitions
from nurture.definitions import Sources
from nurture.domain.planning.conditions import Comparison, Every, Field, Fit, Score
from nurture.domain.planning.program import ToClosed
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_impact import Met, Survey, Taken, Tally, Threshold, named_in
from nurture.domain.routing.routing import ToPool, ToRep
from nurture.errors import RulesFaulty
from nurture.journey.leads import snapshot
from nurture.publishing.publish import check
from nurture.runtime.context import House

POLICY: Final = "sales/policy.yaml"
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where, what to do, and how many leads it concerns; *grave*: mend it first."""

    file: str
    line: int
    what: str
    instead: str
    leads: int = 0
    examples: tuple[int, ...] = ()
    grave: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, by line, among how many leads."""

    findings: tuple[Finding, ...]
    leads: int

    @property
    def ok(self) -> bool:
        """Tell whether nothing grave was found."""
        return not any(finding.grave for finding in self.findings)


def check_policy(house: House, sources: Sources, now: datetime, told: Told = lambda _: None) -> Checked:
    """Check the policy of a folder on every lead that is not closed; *told* hears how many were asked.

    Raises RulesFaulty if the file itself has faults.
    """
    faults = [fault for fault in check(sources) if fault.file == POLICY]
    if faults:
        raise RulesFaulty(faults)
    policy = definitions.read(sources)[0].policy(0)
    survey = survey_leads(house, policy, now, told)
    with house.database.read() as connection:
        holders = snapshot.kept_by_reps(connection)
    at = definitions.lines_of(POLICY, sources[POLICY])
    found = [
        *_overlaps(survey, at),
        *_gaps(policy, survey, at),
        *_absent(policy, now.date(), at),
        *_strangers(policy, holders, at),
        *(_for_nobody(survey, at) if survey.leads else ()),
    ]
    return Checked(tuple(sorted(found, key=lambda one: (one.line, one.what))), survey.leads)


def survey_leads(house: House, policy: Policy, now: datetime, told: Told = lambda _: None) -> Survey:
    """Ask *policy* about every lead that is not closed, a batch at a time."""
    survey, last = Survey(policy), 0
    while True:
        with house.database.read() as connection:
            rows = snapshot.kept_after(connection, last, house.batch)
            seen = snapshot.views(house.database, connection, rows, now, house.holidays)
        for row, one in zip(rows, seen, strict=True):
            survey.ask(one.view, row.country, now)
        told(len(rows))
        if len(rows) < house.batch:
            return survey
        last = rows[-1].lead_id


_Lines = Mapping[tuple[str, str], int]


def _line(at: _Lines, part: str, name: str = "") -> int:
    return at.get((part, name)) or at.get((part, "")) or 1


def _finding(
    line: int, what: str, instead: str, tally: Tally | None = None, *, grave: bool = False
) -> Finding:
    count, examples = (tally.count, tuple(tally.examples)) if tally is not None else (0, ())
    return Finding(POLICY, line, what, instead, count, examples, grave)


def _leads(count: int) -> str:
    return "1 lead" if count == 1 else f"{count:,} leads"


def _overlaps(survey: Survey, at: _Lines) -> Iterator[Finding]:
    for (first, second), tally in survey.overlaps.items():
        yield _finding(
            _line(at, "routing", second),
            f"the territories `{first}` and `{second}` both claim {_leads(tally.count)}: `{first}` gets them",
            "Make one of them narrower, or take `territory: yes` out of the one that is no territory.",
            tally,
            grave=True,
        )


def _gaps(policy: Policy, survey: Survey, at: _Lines) -> Iterator[Finding]:
    end = _line(at, "routing")
    if survey.no_rule.count:
        yield _finding(
            _line(at, "routing", policy.routing[-1].name) if policy.routing else end,
            f"no routing rule takes {_leads(survey.no_rule.count)}: they would wait in the queue no-rep",
            "End the list with `- {name: rest, when: always, to: {pool: everyone}}`.",
            survey.no_rule,
            grave=True,
        )
    if any(rule.territory for rule in policy.routing) and survey.no_territory.count:
        yield _finding(
            end,
            f"{_leads(survey.no_territory.count)} of {survey.leads:,} lie in no territory",
            "Add a territory for them, or leave them to the rules that are none.",
            survey.no_territory,
        )
    for name, tally in survey.lacking.items():
        rule = next(one for one in policy.routing if name in one.needs)
        yield _finding(
            _line(at, "routing", rule.name),
            f"`{rule.name}` needs `{name}`, which is not known of {_leads(tally.count)}: they wait for it",
            "Bring it in with the import, ask for it on a form, or shorten `missing:`.",
            tally,
        )


def _absent(policy: Policy, today: date, at: _Lines) -> Iterator[Finding]:
    """Name those who left and are still counted on."""
    left = {rep.id: rep.left_on for rep in policy.reps if rep.left_on is not None and rep.left_on < today}
    for part, name, rep in named_in(policy):
        unwritten = part == "pools" and (part, name) not in at  # the built-in pool passes over who left
        if rep in left and name not in left and not unwritten:
            yield _finding(
                _line(at, part, name),
                f"`{name}` under `{part}` names `{rep}`, who left on {left[rep]}",
                "Name somebody who is there.",
                grave=True,
            )
    if policy.reps and all(rep.id in left for rep in policy.reps):
        yield _finding(_line(at, "reps"), "every rep has left: nobody gets a lead", "Add a rep.", grave=True)


def _strangers(policy: Policy, holders: Mapping[str, int], at: _Lines) -> Iterator[Finding]:
    """Name those who have leads and are not in the policy."""
    for ref, count in sorted(holders.items()):
        if policy.rep(ref) is None:
            verb = "belongs" if count == 1 else "belong"
            yield Finding(
                POLICY,
                _line(at, "reps"),
                f"{_leads(count)} {verb} to `{ref}`, who is no rep of this policy",
                "Keep them in the list with `left_on:`, or close or hand on their leads",
                count,
                grave=True,
            )


def _for_nobody(survey: Survey, at: _Lines) -> Iterator[Finding]:
    """Name thresholds that nobody meets, and rules that take nobody: each rule once, by the nearest reason.

    Whom a rule closes is not among the leads that were asked, and a rule for everybody is meant for the rest.
    """
    policy = survey.policy
    closing = {rule.name for rule in policy.readiness if isinstance(rule.then, ToClosed)}
    said: set[tuple[str, str]] = {("readiness", name) for name in closing}
    for (part, name, threshold), met in survey.thresholds.items():
        if not met.met and (part, name) not in said:
            said.add((part, name))
            yield _unmet(_line(at, part, name), part, name, threshold, met, survey.leads)
    asked = [("readiness", rule.name, rule.when, survey.readiness[rule.name]) for rule in policy.readiness]
    asked += [
        ("routing", rule.name, rule.when, survey.routing[rule.name])
        for rule in policy.routing
        if isinstance(rule.to, ToRep | ToPool)
    ]
    for part, name, when, taken in asked:
        if not taken.gets.count and (part, name) not in said and when != Every(()):
            yield _unreached(_line(at, part, name), part, name, taken, survey.leads)


def _unreached(line: int, part: str, name: str, taken: Taken, leads: int) -> Finding:
    if not taken.holds.count:
        what = f"`{name}` under `{part}` takes nobody: it holds for none of {_leads(leads)}"
        instead = "If that surprises you, compare it with the facts: `nurture explain LEAD` shows them."
    else:
        before, _ = taken.before.most_common(1)[0]
        what = (
            f"`{name}` under `{part}` takes nobody: all {_leads(taken.holds.count)} for which it holds "
            f"go to rules before it, most to `{before}`"
        )
        instead = "Move it up, or take it out."
    return _finding(line, what, instead, taken.holds)


def _unmet(line: int, part: str, name: str, threshold: Threshold, met: Met, leads: int) -> Finding:
    asked = _worded(threshold)
    if not met.known:
        what = f"`{name}` under `{part}` asks for {asked}, and of no lead it is known"
        instead = "Bring it in with the import, or ask for something that is known."
    else:
        closest = met.closest if isinstance(met.closest, str) else f"{met.closest:,g}"
        what = (
            f"`{name}` under `{part}` asks for {asked}, which none of {_leads(leads)} reaches; "
            f"the closest is {closest}"
        )
        instead = "Lower it, unless it is meant for leads to come."
    return _finding(line, what, instead)


def _worded(threshold: Threshold) -> str:
    match threshold:
        case Field(name=name, test=test, value=value):
            return f"{name} {'of at least' if test is Comparison.AT_LEAST else 'of at most'} {value}"
        case Score(at_least=least, below=below):
            return f"a score of at least {least:g}" if least is not None else f"a score below {below:g}"
        case Fit(at_least=least, below=below):
            return f"fit {least} or better" if least is not None else f"fit worse than {below}"
