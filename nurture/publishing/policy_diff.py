"""Compare two policies: differences in their content, and in their verdicts on the current leads."""

from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import datetime

from nurture.definitions.folder import Sources
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_diff import Difference, diff_policies
from nurture.domain.policy.policy_impact import PolicyEvaluation, Tally, evaluate_lead
from nurture.errors import NotFound
from nurture.publishing import approval
from nurture.publishing.lead_survey import ProgressCallback, open_leads
from nurture.publishing.policy_check import read_policy
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """The leads whose verdict changes from *before* to *after*; *part* is readiness, hand_off, fit or routing."""

    part: str
    before: str
    after: str
    leads: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PolicyComparison:
    """The labels of both policies, their differences, and the number of leads with a changed verdict."""

    old_label: str
    new_label: str
    differences: tuple[Difference, ...]
    verdict_changes: tuple[VerdictChange, ...]
    changed_leads: int
    leads: int


def compare_policies(
    ctx: AppContext,
    now: datetime,
    sources: Sources | None = None,
    version: int | None = None,
    on_progress: ProgressCallback = lambda _: None,
) -> PolicyComparison:
    """Compare the policy in force with *version*, else the policy of *sources*, else the newest pending version.

    Raises NotFound if there is nothing to compare, InvalidDefinitions if the folder's policy has problems.
    """
    with ctx.database.read() as tx:
        in_force = approval.policy_in_force(tx)
        if in_force is None:
            raise NotFound("No policy is published yet. Run `nurture publish`.")
        old = ctx.definitions.policy(tx, in_force.published.version)
        pending = approval.pending_versions(tx)
        if version is None and sources is None and pending:
            version = pending[0].published.version
        if version is not None:
            new, new_label = ctx.definitions.policy(tx, version), f"version {version}"
        else:
            if sources is None:
                raise NotFound("No version of the policy is pending. Name a version or a folder to compare with.")
            new, new_label = read_policy(sources), "the folder"
    shifts, changed, leads = _verdict_changes(ctx, old, new, now, on_progress)
    return PolicyComparison(
        f"version {old.version}", new_label, tuple(diff_policies(old, new)), tuple(shifts), changed, leads
    )


def _verdict_changes(
    ctx: AppContext, old: Policy, new: Policy, now: datetime, on_progress: ProgressCallback
) -> tuple[list[VerdictChange], int, int]:
    """Evaluate both policies for every open lead."""
    tallies: dict[tuple[str, str, str], Tally] = defaultdict(Tally)
    changed = leads = 0
    is_same = approval.comparable_policy(old) == approval.comparable_policy(new)
    for view, country in () if is_same else open_leads(ctx, Definitions({}, new), now, on_progress):
        before, after = evaluate_lead(old, view, country, now), evaluate_lead(new, view, country, now)
        leads += 1
        if before != after:
            changed += 1
            _count_changes(tallies, before, after, view.lead.id)
    found = [VerdictChange(*key, tally.count, tuple(tally.examples)) for key, tally in tallies.items()]
    return sorted(found, key=lambda one: (-one.leads, one.part, one.before, one.after)), changed, leads


def _count_changes(
    tallies: dict[tuple[str, str, str], Tally], old: PolicyEvaluation, new: PolicyEvaluation, lead_id: int
) -> None:
    for one in fields(PolicyEvaluation):
        before, after = getattr(old, one.name), getattr(new, one.name)
        if before != after:
            tallies[one.name, before, after].add(lead_id)
