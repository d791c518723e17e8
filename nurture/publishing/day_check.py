"""Warn of what the calendar has passed: a track or broadcast that is over, and people who left and are still named."""

from collections.abc import Iterator
from datetime import date

from nurture.definitions.folder import POLICY, Sources
from nurture.definitions.read_all import read
from nurture.domain.policy.policy import Policy
from nurture.domain.problems import Problem
from nurture.domain.routing.routing import NamedAccounts, ToRep


def find_past_days(sources: Sources, today: date) -> Iterator[Problem]:
    """Yield a warning for each day of the definitions that is past on *today*, if it stops something in silence."""
    found = read(sources)[0]
    for name, track in found.tracks.items():
        ends_on = track.unversioned.ends_on
        if ends_on is not None and ends_on < today:
            what = f"the track `{name}` ended on {ends_on}: it takes no lead and sends nothing"
            yield _warn(
                sources, f"tracks/{name}/track.yaml", "ends_on", what, "Write a later day, or remove the folder"
            )
    for name, one in found.broadcasts.items():
        schedule = one.unversioned.schedule
        if schedule is not None and schedule.not_after.date() < today:
            what = f"the last moment of this broadcast, {schedule.not_after:%Y-%m-%d %H:%M}, is past: nobody gets it"
            remedy = "Write a later `when` and `not_after`, or remove the folder"
            yield _warn(sources, f"{name}/broadcast.yaml", "not_after", what, remedy)
    if found.unversioned_policy is not None:
        yield from _find_past_people(sources, found.unversioned_policy, today)


def _find_past_people(sources: Sources, policy: Policy, today: date) -> Iterator[Problem]:
    if policy.approved_on > today:
        what = f"the policy was approved on {policy.approved_on}, which is not yet here"
        yield _warn(sources, POLICY, "approved", what, "Write the day on which it was approved")
    left = {rep.id: rep.left_on for rep in policy.reps if rep.left_on is not None and rep.left_on <= today}
    for who, what in _roles(policy):
        if who in left:
            message = f"`{who}` left on {left[who]}, and is still {what}"
            yield _warn(sources, POLICY, f"id: {who}", message, "Name somebody who is here")


def _roles(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield each person whom the policy names, and as what; reps who have left are no deputies of each other."""
    for rep in policy.reps:
        if rep.left_on is None:
            yield rep.deputy or "", f"the deputy of `{rep.id}`"
            yield rep.manager or "", f"the manager of `{rep.id}`"
    for name, rule in policy.queues.rules.items():
        yield rule.owner, f"the owner of the queue `{name}`"
        yield rule.deputy or "", f"the deputy for the queue `{name}`"
    for route in policy.routing:
        if isinstance(route.target, ToRep):
            yield route.target.rep, f"the target of the routing rule `{route.name}`"
        elif isinstance(route.target, NamedAccounts):
            for domain, rep_id in route.target.reps.items():
                yield rep_id, f"the rep of the account `{domain}` in the rule `{route.name}`"


def _warn(sources: Sources, file: str, written: str, what: str, remedy: str) -> Problem:
    lines = sources[file].splitlines()
    line = next((number for number, text in enumerate(lines, 1) if written in text.partition("#")[0]), 1)
    return Problem(file, line, what, remedy, is_warning=True)
