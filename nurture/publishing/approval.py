"""Approval of the policy: a changed policy is published, and in force only after its approver approves it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.definitions import read_all
from nurture.domain.lead import REROUTED_QUEUES
from nurture.domain.planning import calendar
from nurture.domain.planning.dates import ONE_DAY
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.leads import enrollment_queries, signal_queries
from nurture.journey.leads.custody import lock_open_leads
from nurture.publishing.lead_survey import require_no_overlaps
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import Approval, PolicyVersion, PublishedVersion
from nurture.runtime.published import PublishedDefinitions

FIRST_VERSION: Final = "first"
APPROVED: Final = "approved"
UNCHANGED: Final = "unchanged"
PENDING: Final = "pending"
"""How a version came into force, or that it is pending."""


def comparable_policy(policy: Policy) -> Policy:
    """Return the policy without version and approval date, for comparison."""
    return replace(policy, version=0, approved_on=date.min)


def decide_activation(ctx: AppContext, tx: Transaction, new: Policy) -> str:
    """Return how a version that is about to be published comes into force."""
    before = policy_in_force(tx)
    if before is None:
        return FIRST_VERSION
    old = ctx.definitions.policy(tx, before.published.version)
    return UNCHANGED if comparable_policy(old) == comparable_policy(new) else PENDING


def policy_in_force(tx: Transaction) -> PolicyVersion | None:
    """Return the policy version in force, or None before the first."""
    return next((one for one in publication_queries.list_policy_versions(tx) if one.approval is not None), None)


def pending_versions(tx: Transaction) -> list[PolicyVersion]:
    """Return the versions that can still be approved, newest first."""
    pending = []
    for one in publication_queries.list_policy_versions(tx):
        if one.approval is not None:
            break
        pending.append(one)
    return pending


def activate(tx: Transaction, published: PublishedVersion, policy: Policy, activation: str, now: datetime) -> None:
    """Record the approval of a first version, or of one with unchanged content."""
    before = policy_in_force(tx)
    by, on = policy.approved_by, policy.approved_on
    if activation == UNCHANGED and before is not None and before.approval is not None:
        by, on = before.approval.approved_by, before.approval.approved_on
    record = Approval(published.version, published.id, by, on, now, activation)
    publication_queries.insert_approval(tx, record)


def approve(
    ctx: AppContext, by: str, now: datetime, approved_on: date | None = None, version: int | None = None
) -> Approval:
    """Approve a published policy, the newest pending or *version*, and put it in force.

    Raises InvalidState if none is pending, if *by* is not the approver that the policy names, if *approved_on* is
    in the future, if two territories claim one lead, or if the published tracks lack an email that it refers to;
    NotFound for an unknown version.
    """
    day = approved_on or now.date()
    if day > now.date():
        raise InvalidState(f"{day} is in the future. Enter the day on which the policy was approved.")
    with ctx.database.read() as tx:
        policy = ctx.definitions.policy(tx, _version_to_approve(tx, version).published.version)
    require_no_overlaps(ctx, policy, now)
    with ctx.database.write() as tx:
        chosen = _version_to_approve(tx, version)
        policy = ctx.definitions.policy(tx, chosen.published.version)
        if not matches_approver(policy.approved_by, by):
            raise InvalidState(
                f"Version {policy.version} of the policy names {policy.approved_by} as its approver, "
                f"not {by}. Ask them to approve it, or change the name under `approved:` in "
                "sales/policy.yaml and publish again."
            )
        _require_compatible(tx, chosen.published, _programs_in_force(ctx.definitions, tx, {}))
        record = Approval(policy.version, chosen.published.id, policy.approved_by, day, now, APPROVED)
        if not publication_queries.insert_approval(tx, record):
            raise InvalidState(
                f"Version {policy.version} of the policy was approved in the meantime; nothing was changed."
            )
        lock_open_leads(tx)
        enrollment_queries.make_tracks_due(tx, None, now)
        _wake_waiting_leads(tx, policy, now)
    return record


def _wake_waiting_leads(tx: Transaction, policy: Policy, now: datetime) -> None:
    """Make queued leads and open hand-offs due: the reps and the routing may have changed."""
    signal_queries.make_queues_due(tx, REROUTED_QUEUES, now)
    handoff_queries.schedule_checks(tx, [rep.id for rep in policy.reps], now, others=True, in_work=True)
    for rep in policy.reps:
        if rep.left_on is not None:
            gone = calendar.start_of_day(rep.left_on + ONE_DAY, rep.hours.zone)
            handoff_queries.schedule_checks(tx, [rep.id], max(gone, now), in_work=True)


def matches_approver(named: str, given: str) -> bool:
    """Return whether *given* is the approver: the whole line, or the name before the comma."""
    given_name = _normalize(given)
    return bool(given_name) and given_name in (_normalize(named), _normalize(named.partition(",")[0]))


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())


def _version_to_approve(tx: Transaction, version: int | None) -> PolicyVersion:
    versions = publication_queries.list_policy_versions(tx)
    if not versions:
        raise NotFound("No policy is published yet. Run `nurture publish`.")
    pending = pending_versions(tx)
    if version is None and pending:
        return pending[0]
    found = next((one for one in versions if one.published.version == version), None)
    if found is None and version is not None:
        raise NotFound(f"Version {version} of the policy does not exist. `nurture policy show` lists the versions.")
    if found is not None and found in pending:
        return found
    current = next(one for one in versions if one.approval is not None)
    approved = current.approval
    assert approved is not None  # filtered in the line above
    in_force_text = f"version {approved.policy_version} is in force, approved by {approved.approved_by}"
    if found is None:
        raise InvalidState(f"No version of the policy is pending: {in_force_text} on {approved.approved_on}.")
    if found.approval is not None:
        raise InvalidState(f"Version {version} of the policy is already approved; {in_force_text}.")
    raise InvalidState(
        f"Version {version} of the policy is older than the one in force: {in_force_text}. Publish its text again."
    )


def require_compatible_tracks(
    ctx: AppContext, tx: Transaction, new_programs: Mapping[str, Program], new_policy: Policy | None
) -> None:
    """Raise InvalidState if *new_programs* lack an email that the policy in force refers to.

    *new_policy* is the policy of the same folder: if its content is the one in force, it was already checked.
    """
    before = policy_in_force(tx)
    if before is None:
        return
    old = ctx.definitions.policy(tx, before.published.version)
    if new_policy is not None and comparable_policy(old) == comparable_policy(new_policy):
        return
    _require_compatible(tx, before.published, _programs_in_force(ctx.definitions, tx, new_programs))


def _programs_in_force(
    definitions: PublishedDefinitions, tx: Transaction, new_programs: Mapping[str, Program]
) -> dict[str, Program]:
    published = publication_queries.load_versions_in_force(tx)
    names = [row.name for row in published if row.kind == "track" and row.name not in new_programs]
    current = definitions.current(tx)
    return {name: current.programs[name] for name in names} | dict(new_programs)


def _require_compatible(tx: Transaction, published: PublishedVersion, programs: Mapping[str, Program]) -> None:
    problems = read_all.find_policy_mismatches(publication_queries.load_sources(tx, published.id), programs.values())
    if problems:
        lines = "\n".join(f"    {problem}" for problem in problems)
        raise InvalidState(
            f"The tracks lack what version {published.version} of the policy refers to:\n{lines}\n"
            "Keep it in the tracks until a policy without it is approved."
        )


@dataclass(frozen=True, slots=True)
class PolicyVersionSummary:
    """One version of the policy: in_force, pending, superseded, or never_approved if a newer one was approved.

    *approver* approved it or has to approve it; *offers* counts the hand-offs made under it.
    """

    version: int
    state: str
    approver: str
    approved_on: date | None
    recorded_at: datetime | None
    method: str
    published_at: datetime
    offers: int


def list_versions(ctx: AppContext) -> list[PolicyVersionSummary]:
    """Return every version of the policy, newest first."""
    with ctx.database.read() as tx:
        counts = handoff_queries.count_by_policy(tx)
        found: list[PolicyVersionSummary] = []
        in_force_found = False
        for one in publication_queries.list_policy_versions(tx):
            found.append(
                _summarize(
                    ctx.definitions, tx, one, counts.get(one.published.version, 0), in_force_found=in_force_found
                )
            )
            in_force_found = in_force_found or one.approval is not None
    return found


def _summarize(
    definitions: PublishedDefinitions, tx: Transaction, one: PolicyVersion, offers: int, *, in_force_found: bool
) -> PolicyVersionSummary:
    number, at = one.published.version, one.published_at
    if one.approval is None:
        policy = definitions.policy(tx, number)
        state = "never_approved" if in_force_found else PENDING
        return PolicyVersionSummary(number, state, policy.approved_by, None, None, "", at, offers)
    approved = one.approval
    state = "superseded" if in_force_found else "in_force"
    return PolicyVersionSummary(
        number, state, approved.approved_by, approved.approved_on, approved.recorded_at, approved.method, at, offers
    )
