"""Check the rules as a whole, and publish what changed as new immutable versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection

from nurture import definitions
from nurture.definitions import Rules, Sources
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.domain.planning.program import Program
from nurture.domain.problems import Fault
from nurture.errors import Refused, RulesFaulty
from nurture.journey.handoff import sla_emails
from nurture.journey.leads import enrollment_queries
from nurture.journey.routing import ask_lead
from nurture.journey.tracks import touch_email
from nurture.mail.rendering.compile import EmailSource, check_email, examine_email
from nurture.mail.rendering.email_file import Piece, layout_name
from nurture.publishing import approval
from nurture.publishing.email_checks import Script, rehearse
from nurture.runtime import publication_queries
from nurture.runtime.context import House
from nurture.runtime.publication_queries import POLICY
from nurture.runtime.published import SENDING

BRIEF_KNOWN = frozenset(
    {f"lead.{name}" for name in touch_email.FIELDS}
    | {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name"}
    | {
        f"offer.{name}"
        for name in (
            "id",
            "because",
            "routed_because",
            "fit",
            "fit_because",
            "rule",
            "score",
            "no_mail",
            "bant",
            "call_on",
            "account",
            "account.name",
            "account.kind",
            "account.owner",
            "account.because",
            "earlier",
            "touches",
            "touches.count",
            "touches.since",
            "touches.newest",
            "reassign_url",
            "later_url",
            "expires_on",
            "accept_url",
            "reject_url",
            "deeds",
            "replies",
            "reasons",
        )
    }
)
"""Every name that a brief may use."""


ASK_KNOWN = touch_email.KNOWN | {"ask.url", "ask.question", "ask.field"}
"""Every name that the email may use that asks a lead for a fact."""


@dataclass(frozen=True, slots=True)
class Change:
    """One new version: what it is, how many leads it moves, and which of their steps lead elsewhere."""

    kind: str
    name: str
    old_version: int | None
    version: int
    running: int = 0
    moved: Mapping[str, str] = field(default_factory=dict)
    approval: str = ""
    """How a policy comes into force: first, unchanged, or waits for its approver; "" for everything else."""
    approver: str = ""


def check(sources: Sources, unreadable: Sequence[Fault] = ()) -> list[Fault]:
    """Return every fault in the rules and in the emails, by file and line; empty means publishable.

    Of files that were *unreadable* (see survey_folder), only that is said.
    """
    return list(_checked(tuple(sorted(sources.items())), tuple(unreadable)))


@lru_cache(maxsize=8)
def _checked(files: tuple[tuple[str, str], ...], unreadable: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Check once what is asked about again: `publish` follows `check`, on the same text."""
    sources = dict(files)
    loaded, faults = definitions.read(sources)
    for path, text in sorted(sources.items()):
        if path.startswith("tracks/") and path.endswith(".md"):
            track = loaded.tracks.get(path.split("/")[1])
            faults += _check_touch(EmailSource(path, text), loaded, track.program(0) if track else None)
        elif path.startswith("handoff/") and path.endswith(".md"):
            source = EmailSource(path, text)
            mjml = loaded.layouts.get(layout_name(source))
            faults += check_email(source, mjml, *_names_in(path)) if mjml is not None else []
    lost = {fault.file for fault in unreadable}
    return tuple(sorted({*unreadable, *(fault for fault in faults if fault.file not in lost)}))


def _names_in(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that a text in handoff/ may use, and those that it must."""
    if path == ask_lead.TEMPLATE:
        return ASK_KNOWN, touch_email.REQUIRED | {"ask.url"}
    return sla_emails.KNOWN if path in (REMIND, ESCALATE) else BRIEF_KNOWN, frozenset()


def _check_touch(source: EmailSource, loaded: Rules, program: Program | None) -> list[Fault]:
    layout = layout_name(source)
    if layout not in loaded.layouts:
        return []  # the rules floor has named the missing layout
    mjml = loaded.layouts[layout]
    compiled, faults = examine_email(source, mjml, touch_email.KNOWN, touch_email.REQUIRED)
    if compiled is None or program is None or any("nothing is called" in fault.what for fault in faults):
        return faults
    return faults + rehearse(Script(source, Piece(f"layouts/{layout}.mjml", 1, mjml), compiled, program))


def publish(house: House, sources: Sources, now: datetime, *, dry_run: bool = False) -> list[Change]:
    """Publish every track, the policy and the rules for sending that changed; return what did.

    A policy that means something new waits until it is approved; everything else is in force at once.
    Raises RulesFaulty with all faults, and Refused where a step is gone on which leads stand, or an email
    for which the policy asks that stays in force.
    """
    faults = check(sources)
    if faults:
        raise RulesFaulty(faults)
    loaded = definitions.load(sources)
    with house.database.write() as connection:
        changes = _changes(house, connection, loaded)
        _require_fit(house, connection, loaded)
        if not dry_run:
            _write(connection, loaded, changes, now)
            _approve(house, connection, loaded, changes, now)
            _wake(house, connection, changes, now)
    return changes


def unlisted(house: House, sources: Sources) -> dict[str, int]:
    """Return the published tracks that *sources* no longer have, and how many leads are on each.

    They go on as published, and still take leads in: somebody may have deleted a folder by mistake.
    """
    with house.database.read() as connection:
        published = [row.name for row in publication_queries.newest(connection) if row.kind == "track"]
        standing = enrollment_queries.standing(connection)
    gone = [name for name in published if f"tracks/{name}/track.yaml" not in sources]
    return {name: sum(count for (on, _), count in standing.items() if on == name) for name in gone}


def keeps_sending(house: House, sources: Sources) -> bool:
    """Tell whether the rules for sending go on as they were published, although *sources* have none."""
    with house.database.read() as connection:
        return "sending.yaml" not in sources and any(
            row.kind == SENDING for row in publication_queries.newest(connection)
        )


def _wake(house: House, connection: Connection, changes: Sequence[Change], now: datetime) -> None:
    """Look at the leads that the new versions rule: some sleep until a day that the old ones named."""
    if any(change.kind == POLICY and change.approval != approval.WAITS for change in changes):
        enrollment_queries.wake(house.database, connection, None, now)
        return
    tracks = [change.name for change in changes if change.kind == "track"]
    if tracks:
        enrollment_queries.wake(house.database, connection, tracks, now)


def _changes(house: House, connection: Connection, loaded: Rules) -> list[Change]:
    published = {(row.kind, row.name): row for row in publication_queries.newest(connection)}
    standing = enrollment_queries.standing(connection)
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
            change = Change(kind, kind, version or None, version + 1)
            if kind == POLICY:
                policy = loaded.policy(version + 1)
                how = approval.judge(house, connection, policy)
                change = replace(change, approval=how, approver=policy.approved_by)
            changes.append(change)
    return changes


def _require_fit(house: House, connection: Connection, loaded: Rules) -> None:
    programs = {name: track.program(0) for name, track in loaded.tracks.items()}
    approval.require_fit(house, connection, programs, loaded.unversioned_policy)


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
    publication_queries.add(connection, rows, now)


def _approve(
    house: House, connection: Connection, loaded: Rules, changes: Sequence[Change], now: datetime
) -> None:
    """Put a policy in force that needs nobody's word: the first one, and one that means what was approved."""
    for change in changes:
        if change.kind == POLICY and change.approval != approval.WAITS:
            published = publication_queries.find(connection, POLICY, POLICY, change.version)
            assert published is not None  # by _write
            policy = loaded.policy(change.version)
            approval.put_in_force(house, connection, published, policy, change.approval, now)
