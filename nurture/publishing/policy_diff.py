"""What a policy that waits changes: its text in words, and the verdicts on the leads that there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime

from nurture import definitions
from nurture.definitions import Sources
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_diff import Difference, Verdicts, differences, verdicts
from nurture.domain.policy.policy_impact import Tally
from nurture.errors import NotFound, RulesFaulty
from nurture.journey.leads import snapshot
from nurture.publishing import approval
from nurture.publishing.policy_check import POLICY
from nurture.publishing.publish import check
from nurture.runtime.context import House

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Shift:
    """So many leads of which one verdict becomes another; *part* is readiness, hand_off, fit or routing."""

    part: str
    was: str
    now: str
    leads: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The two sides in words, what differs, and how many of the leads any verdict changes for."""

    old: str
    new: str
    differences: tuple[Difference, ...]
    shifts: tuple[Shift, ...]
    changed: int
    leads: int


def compare(
    house: House,
    now: datetime,
    sources: Sources | None = None,
    version: int | None = None,
    told: Told = lambda _: None,
) -> Compared:
    """Compare the policy in force with *version*, else a folder's, else the newest that waits.

    Raises NotFound if there is nothing to compare, RulesFaulty if the folder's policy has faults.
    """
    with house.database.read() as connection:
        before = approval.standing(connection)
        if before is None:
            raise NotFound("No policy is published yet. Run `nurture publish`.")
        old = house.rulebooks.policy(connection, before.published.version)
        waiting = approval.waiting(connection)
        if version is None and sources is None and waiting:
            version = waiting[0].published.version
        if version is not None:
            new, called = house.rulebooks.policy(connection, version), f"version {version}"
        else:
            new, called = _of_folder(sources), "the folder"
    shifts, changed, leads = _shifts(house, old, new, now, told)
    return Compared(
        f"version {old.version}", called, tuple(differences(old, new)), tuple(shifts), changed, leads
    )


def _of_folder(sources: Sources | None) -> Policy:
    if sources is None:
        raise NotFound("No version of the policy waits for approval, and no folder is named to compare with.")
    faults = [fault for fault in check(sources) if fault.file == POLICY]
    if faults:
        raise RulesFaulty(faults)
    return definitions.read(sources)[0].policy(0)


def _shifts(
    house: House, old: Policy, new: Policy, now: datetime, told: Told
) -> tuple[list[Shift], int, int]:
    """Ask both policies about every lead that is not closed."""
    tallies: dict[tuple[str, str, str], Tally] = defaultdict(Tally)
    changed = leads = last = 0
    same = approval.means(old) == approval.means(new)
    while not same:
        with house.database.read() as connection:
            rows = snapshot.kept_after(connection, last, house.batch)
            seen = snapshot.views(house.database, connection, rows, now, house.holidays)
        for row, one in zip(rows, seen, strict=True):
            was = verdicts(old, one.view, row.country, now)
            will = verdicts(new, one.view, row.country, now)
            leads += 1
            if was != will:
                changed += 1
                _note(tallies, was, will, row.lead_id)
        told(len(rows))
        if len(rows) < house.batch:
            break
        last = rows[-1].lead_id
    found = [Shift(*key, tally.count, tuple(tally.examples)) for key, tally in tallies.items()]
    return sorted(found, key=lambda one: (-one.leads, one.part, one.was, one.now)), changed, leads


def _note(tallies: dict[tuple[str, str, str], Tally], was: Verdicts, will: Verdicts, lead_id: int) -> None:
    for one in fields(Verdicts):
        before, after = getattr(was, one.name), getattr(will, one.name)
        if before != after:
            tallies[one.name, before, after].add(lead_id)
