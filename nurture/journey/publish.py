"""Check the rules as a whole, and publish what changed as new immutable versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from nurture import rules
from nurture.domain.faults import Fault
from nurture.domain.track import Program
from nurture.errors import Refused, RulesFaulty
from nurture.mail.compile import EmailSource, check_email
from nurture.mail.source import layout_name
from nurture.rules import Rules, Sources
from nurture.store import enrollments, publications

from . import letters
from .house import House
from .rulebook import POLICY, SENDING

BRIEF_KNOWN = frozenset(
    {f"lead.{name}" for name in letters.FIELDS}
    | {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name"}
    | {
        f"offer.{name}"
        for name in (
            "id",
            "because",
            "routed_because",
            "expires_on",
            "accept_url",
            "reject_url",
            "deeds",
            "reasons",
        )
    }
)
"""Every name that a brief may use."""


@dataclass(frozen=True, slots=True)
class Change:
    """One new version: what it is, how many leads it moves, and which of their steps lead elsewhere."""

    kind: str
    name: str
    old_version: int | None
    version: int
    running: int = 0
    moved: Mapping[str, str] = field(default_factory=dict)


def check(sources: Sources) -> list[Fault]:
    """Return every fault in the rules and in the emails, by file and line; empty means publishable."""
    faults = list(rules.check(sources))
    layouts = {path: text for path, text in sources.items() if path.startswith("layouts/")}
    for path, text in sorted(sources.items()):
        if path.startswith("tracks/") and path.endswith(".md"):
            faults += _check_email(path, text, layouts, letters.KNOWN, letters.REQUIRED)
        elif path.startswith("handoff/") and path.endswith(".md"):
            faults += _check_email(path, text, layouts, BRIEF_KNOWN, frozenset())
    return sorted(set(faults))


def _check_email(
    path: str, text: str, layouts: Mapping[str, str], known: frozenset[str], required: frozenset[str]
) -> list[Fault]:
    source = EmailSource(path, text)
    mjml = layouts.get(f"layouts/{layout_name(source)}.mjml")
    if mjml is None:
        return []  # the rules floor has named the missing layout
    return check_email(source, mjml, known, required)


def publish(house: House, sources: Sources, now: datetime, *, dry_run: bool = False) -> list[Change]:
    """Publish every track, the policy and the rules for sending that changed; return what did.

    Raises RulesFaulty with all faults, and Refused where a step is gone on which leads stand.
    """
    faults = check(sources)
    if faults:
        raise RulesFaulty(faults)
    loaded = rules.load(sources)
    with house.database.write() as connection:
        changes = _changes(connection, loaded)
        if not dry_run:
            _write(connection, loaded, changes, now)
            _wake(house, connection, changes, now)
    return changes


def unlisted(house: House, sources: Sources) -> dict[str, int]:
    """Return the published tracks that *sources* no longer have, and how many leads are on each.

    They go on as published, and still take leads in: somebody may have deleted a folder by mistake.
    """
    with house.database.read() as connection:
        published = [row.name for row in publications.newest(connection) if row.kind == "track"]
        standing = enrollments.standing(connection)
    gone = [name for name in published if f"tracks/{name}/track.yaml" not in sources]
    return {name: sum(count for (on, _), count in standing.items() if on == name) for name in gone}


def _wake(house: House, connection: Connection, changes: Sequence[Change], now: datetime) -> None:
    """Look at the leads that the new versions rule: some sleep until a day that the old ones named."""
    if any(change.kind == POLICY for change in changes):
        enrollments.wake(house.database, connection, None, now)
        return
    tracks = [change.name for change in changes if change.kind == "track"]
    if tracks:
        enrollments.wake(house.database, connection, tracks, now)


def _changes(connection: Connection, loaded: Rules) -> list[Change]:
    published = {(row.kind, row.name): row for row in publications.newest(connection)}
    standing = enrollments.standing(connection)
    changes = []
    for name, track in sorted(loaded.tracks.items()):
        old = published.get(("track", name))
        if old is not None and old.digest == track.digest:
            continue
        on_steps = {step: count for (on, step), count in standing.items() if on == name}
        program = track.program((old.version if old else 0) + 1)
        moved = _moved(program, on_steps)
        changes.append(
            Change(
                "track", name, old.version if old else None, program.version, sum(on_steps.values()), moved
            )
        )
    for kind, digest in ((POLICY, loaded.policy_digest), (SENDING, loaded.sending_digest)):
        old = published.get((kind, kind))
        if digest and (old is None or old.digest != digest):
            version = old.version if old else 0
            changes.append(Change(kind, kind, version or None, version + 1))
    return changes


def _moved(program: Program, on_steps: Mapping[str, int]) -> Mapping[str, str]:
    """Return where leads go on whose step is gone; refuse to leave any of them without one."""
    moved = {}
    for step, count in sorted(on_steps.items()):
        place = program.place_of(step)
        if place is None:
            raise Refused(
                f"{count} {'leads stand' if count != 1 else 'lead stands'} on step {step} of track "
                f"{program.track}, which the new version does not have. Write "
                f"`moved_to: {{{step}: <a step>}}` in tracks/{program.track}/track.yaml, or keep the step."
            )
        if step not in program.index:
            moved[step] = program.land(place, 1)[0]
    return moved


def _write(connection: Connection, loaded: Rules, changes: Sequence[Change], now: datetime) -> None:
    rows = []
    for change in changes:
        if change.kind == POLICY:
            digest, files = loaded.policy_digest, loaded.sources_of_policy()
        elif change.kind == SENDING:
            digest, files = loaded.sending_digest, loaded.sources_of_sending()
        else:
            digest, files = loaded.tracks[change.name].digest, loaded.sources_of(change.name)
        rows.append((change.kind, change.name, change.version, digest, dict(files)))
    publications.add(connection, rows, now)
