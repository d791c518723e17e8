"""Sales approves its policy: a changed one is published, and in force only when its approver has said so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from nurture import definitions
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.domain.routing.routing import ASKED_AGAIN
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.leads import changeset, enrollment_queries, signal_queries
from nurture.runtime import publication_queries
from nurture.runtime.context import House
from nurture.runtime.publication_queries import Approval, PolicyVersion, Published

FIRST: Final = "first"
APPROVED: Final = "approved"
UNCHANGED: Final = "unchanged"
WAITS: Final = "waits"
"""How a version came into force, or that it is not."""


def means(policy: Policy) -> Policy:
    """Return what the policy says without its number and the day of its approval, to compare it by."""
    return replace(policy, version=0, approved_on=date.min)


def judge(house: House, connection: Connection, new: Policy) -> str:
    """Tell how a version comes into force that is about to be published."""
    before = standing(connection)
    if before is None:
        return FIRST
    old = house.rulebooks.policy(connection, before.published.version)
    return UNCHANGED if means(old) == means(new) else WAITS


def standing(connection: Connection) -> PolicyVersion | None:
    """Return the version of the policy that is in force, None before the first."""
    return next((one for one in publication_queries.policies(connection) if one.approval is not None), None)


def waiting(connection: Connection) -> list[PolicyVersion]:
    """Return the versions that would be in force if they were approved, the newest first."""
    found = []
    for one in publication_queries.policies(connection):
        if one.approval is not None:
            break
        found.append(one)
    return found


def put_in_force(
    house: House, connection: Connection, published: Published, policy: Policy, how: str, now: datetime
) -> None:
    """Record the approval of a first version, or of one that means what was approved before."""
    before = standing(connection)
    by, on = policy.approved_by, policy.approved_on
    if how == UNCHANGED and before is not None and before.approval is not None:
        by, on = before.approval.approved_by, before.approval.approved_on
    one = Approval(published.version, published.id, by, on, now, how)
    publication_queries.approve(house.database, connection, one)


def approve(
    house: House, by: str, now: datetime, on: date | None = None, version: int | None = None
) -> Approval:
    """Put a published policy in force: the newest that waits, or *version*. *on* is the day of the approval.

    Raises Refused if none waits, if *by* is not the approver whom the policy names, if the day is yet to
    come, or if it asks for what the published tracks do not have; NotFound for a version never published.
    """
    day = on or now.date()
    if day > now.date():
        raise Refused(f"{day} is yet to come. Approve it then, or write the day on which it was approved.")
    with house.database.write() as connection:
        chosen = _chosen(connection, version)
        policy = house.rulebooks.policy(connection, chosen.published.version)
        if not is_named(policy.approved_by, by):
            raise Refused(
                f"Version {policy.version} of the policy names {policy.approved_by} as its approver, "
                f"not {by}. Let them approve it; or write another name under `approved:` in "
                "sales/policy.yaml, and publish that."
            )
        _require_fit(connection, chosen.published, _programs(house, connection, {}))
        one = Approval(policy.version, chosen.published.id, policy.approved_by, day, now, APPROVED)
        if not publication_queries.approve(house.database, connection, one):
            raise Refused(
                f"Version {policy.version} of the policy was approved meanwhile; nothing was changed."
            )
        changeset.hold_all(house.database, connection)
        enrollment_queries.wake(house.database, connection, None, now)
        _wake_sales(house, connection, policy, now)
    return one


def _wake_sales(house: House, connection: Connection, policy: Policy, now: datetime) -> None:
    """Look at all that waits for a rep: there are others now, other rules, and whom it no longer names."""
    database = house.database
    signal_queries.ask_again(database, connection, ASKED_AGAIN, now)
    handoff_queries.look_at(database, connection, [rep.id for rep in policy.reps], now, others=True)


def is_named(named: str, given: str) -> bool:
    """Tell whether *given* is who is named: the whole line, or the name before the comma."""
    said = _plain(given)
    return bool(said) and said in (_plain(named), _plain(named.partition(",")[0]))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _chosen(connection: Connection, version: int | None) -> PolicyVersion:
    known = publication_queries.policies(connection)
    if not known:
        raise NotFound("No policy is published yet. Run `nurture publish`.")
    open_ones = waiting(connection)
    if version is None and open_ones:
        return open_ones[0]
    found = next((one for one in known if one.published.version == version), None)
    if found is None and version is not None:
        raise NotFound(
            f"Version {version} of the policy was never published here. `nurture policy show` lists them."
        )
    if found is not None and found in open_ones:
        return found
    now_in_force = next(one for one in known if one.approval is not None)
    approved = now_in_force.approval
    assert approved is not None  # by the line above
    said = f"version {approved.policy_version} is in force, approved by {approved.approved_by}"
    if found is None:
        raise Refused(f"No version of the policy waits for approval: {said} on {approved.approved_on}.")
    if found.approval is not None:
        raise Refused(f"Version {version} of the policy is approved already; {said}.")
    raise Refused(
        f"Version {version} of the policy is older than what counts: {said}. Publish its text again."
    )


def require_fit(
    house: House, connection: Connection, loaded: Mapping[str, Program], without: Policy | None
) -> None:
    """Refuse tracks, about to be published, which lack what the policy asks for that stays in force.

    *without* is the policy of the same folder: where it means what is in force, it was checked with them.
    """
    before = standing(connection)
    if before is None:
        return
    old = house.rulebooks.policy(connection, before.published.version)
    if without is not None and means(old) == means(without):
        return
    _require_fit(connection, before.published, _programs(house, connection, loaded))


def _programs(house: House, connection: Connection, loaded: Mapping[str, Program]) -> dict[str, Program]:
    published = publication_queries.in_force(connection)
    names = [row.name for row in published if row.kind == "track" and row.name not in loaded]
    book = house.rulebooks.current(connection)
    return {name: book.programs[name] for name in names} | dict(loaded)


def _require_fit(connection: Connection, published: Published, programs: Mapping[str, Program]) -> None:
    faults = definitions.misfits(publication_queries.sources(connection, published.id), programs.values())
    if faults:
        raise Refused(
            f"The tracks do not have what version {published.version} of the policy asks for:\n"
            f"{_lines(faults)}\n"
            "Keep it in the tracks until a policy that does not ask for it is approved."
        )


def _lines(faults: Iterable[object]) -> str:
    return "\n".join(f"    {fault}" for fault in faults)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the policy: `in force`, `waits`, `before`, or `never` where a newer one was approved.

    *approver* approved it, or is to; *offers* is how many hand-offs were made under it.
    """

    version: int
    state: str
    approver: str
    approved_on: date | None
    recorded_at: datetime | None
    how: str
    published_at: datetime
    offers: int


def versions(house: House) -> list[Version]:
    """Return every version of the policy, the newest first."""
    with house.database.read() as connection:
        counts = handoff_queries.by_policy(connection)
        found: list[Version] = []
        seen = False
        for one in publication_queries.policies(connection):
            found.append(_version(house, connection, one, counts.get(one.published.version, 0), seen=seen))
            seen = seen or one.approval is not None
    return found


def _version(house: House, connection: Connection, one: PolicyVersion, made: int, *, seen: bool) -> Version:
    number, at = one.published.version, one.published_at
    if one.approval is None:
        policy = house.rulebooks.policy(connection, number)
        state = "never" if seen else WAITS
        return Version(number, state, policy.approved_by, None, None, "", at, made)
    said = one.approval
    state = "before" if seen else "in force"
    return Version(number, state, said.approved_by, said.approved_on, said.recorded_at, said.how, at, made)
