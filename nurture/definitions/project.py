"""The rules as a whole: all tracks, the sales policy, the defaults; every fault at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from nurture.definitions.crm_status import read_crm_words
from nurture.definitions.defaults import Defaults, read_defaults
from nurture.definitions.destinations import check_named
from nurture.definitions.email_front_matter import check_front, chosen_layout, layouts_in
from nurture.definitions.folder import BRIEF, CRM, DEFAULTS, POLICY, SENDING, Sources
from nurture.definitions.policy.policy import read_policy
from nurture.definitions.program_compiler import tracks_without_an_email
from nurture.definitions.sending_limits import read_sending_rules
from nurture.definitions.tracks import FOLDER, TrackRead, read_track, track_names
from nurture.definitions.yaml_reader import Node, Reading
from nurture.domain.delivery.sending_limits import SendingRules
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.program import Email, Program
from nurture.domain.policy.crm_status import CrmWords
from nurture.domain.policy.policy import Policy
from nurture.domain.problems import Fault
from nurture.errors import NotFound, RulesFaulty

__all__ = ["Rules", "TrackRules", "check", "load", "misfits", "read"]


@dataclass(frozen=True)
class TrackRules:
    """One track: its source, its emails (Markdown by name), the layout of each, and a digest of it all."""

    name: str
    program_source: str
    emails: Mapping[str, str]
    layouts: Mapping[str, str]
    digest: str
    unversioned: Program = field(repr=False)

    @property
    def audience(self) -> Condition | None:
        """Return whom readiness may enrol here; None means nobody by itself."""
        return self.unversioned.audience

    def program(self, version: int) -> Program:
        """Return the compiled track as its published *version*."""
        return replace(self.unversioned, version=version)


@dataclass(frozen=True)
class Rules:
    """Everything that templates/ says, without a fault."""

    sources: Sources = field(repr=False)
    tracks: Mapping[str, TrackRules]
    defaults: Defaults
    layouts: Mapping[str, str] = field(repr=False)
    """MJML by name."""
    brief: str = field(repr=False)
    """The Markdown of the brief that a rep receives, "" if the bundle has none."""
    unversioned_policy: Policy | None = field(repr=False)
    policy_digest: str = ""
    crm: CrmWords = field(default_factory=CrmWords)
    sending: SendingRules = field(default_factory=SendingRules)
    sending_digest: str = ""
    """"" if the bundle has no sending.yaml."""

    def policy(self, version: int) -> Policy:
        """Return the policy as its published *version*; raises NotFound if the bundle has none."""
        if self.unversioned_policy is None:
            raise NotFound(f"these rules have no {POLICY}. Load the whole folder, or the published policy.")
        return replace(self.unversioned_policy, version=version)

    def sources_of(self, track: str) -> Sources:
        """Return the texts that a published version of *track* needs, and no others."""
        if track not in self.tracks:
            raise NotFound(f"there is no track {track}. Tracks: {', '.join(sorted(self.tracks))}.")
        return _sources_of(self.sources, f"{FOLDER}{track}/", set(self.tracks[track].layouts.values()))

    def sources_of_sending(self) -> Sources:
        """Return the text that a published version of the rules for sending needs."""
        return _sending_sources(self.sources)

    def sources_of_policy(self) -> Sources:
        """Return the texts that a published version of the policy needs: it, the briefs, their layouts."""
        return _policy_sources(self.sources)


def load(sources: Sources, *, whole: bool = True) -> Rules:
    """Return the rules in *sources*; raises RulesFaulty with all faults at once.

    Not *whole*: the bundle is one published track or policy, so what it names elsewhere is not looked for.
    """
    rules, faults = _read(sources, whole=whole)
    if faults:
        raise RulesFaulty(faults)
    return rules


def check(sources: Sources, *, whole: bool = True) -> list[Fault]:
    """Return all faults of *sources*, sorted by file and line."""
    return _read(sources, whole=whole)[1]


def read(sources: Sources) -> tuple[Rules, list[Fault]]:
    """Return what can be read of *sources*, and all faults; tracks that cannot be read are left out."""
    return _read(sources, whole=True)


def misfits(policy: Sources, programs: Iterable[Program]) -> list[Fault]:
    """Return what a published policy asks for that these tracks do not have: emails, and tracks by name."""
    known = list(programs)
    reading = Reading(whole=False)
    read_policy(policy, _email_steps(known), reading)
    check_named(reading, [program.track for program in known])
    return sorted(set(reading.faults))


def _read(sources: Sources, *, whole: bool) -> tuple[Rules, list[Fault]]:
    rules, faults = _read_once(tuple(sorted(sources.items())), whole)
    return rules, list(faults)


@lru_cache(maxsize=32)
def _read_once(files: tuple[tuple[str, str], ...], whole: bool) -> tuple[Rules, tuple[Fault, ...]]:  # noqa: FBT001
    """Read the same text once: publishing checks it, loads it, and reads what was published."""
    sources = dict(files)
    reading = Reading(whole=whole)
    defaults = read_defaults(sources, reading)
    names = track_names(sources)
    found = {name: read_track(name, sources, defaults, reading) for name in names}
    read = {name: track for name, track in found.items() if track is not None}
    policy = _policy(sources, read, defaults, reading, whole=whole)
    senders = {defaults.sender.email, *(track.program.sender.email for track in read.values())}
    sending = read_sending_rules(sources, reading, senders if whole else None)
    crm = read_crm_words(sources, policy.reject_reasons if policy is not None else None, reading)
    if whole:
        check_named(reading, names)
        _check_circles(read, reading)
        if not names:
            reading.fault(
                Node(DEFAULTS, 1, None), "there is no track in tracks/", "Write tracks/my-track/track.yaml."
            )
    rules = Rules(
        sources=sources,
        tracks={name: _track(name, track, sources) for name, track in read.items()},
        defaults=defaults,
        layouts=layouts_in(sources),
        brief=sources.get(BRIEF, ""),
        unversioned_policy=policy,
        policy_digest=_digest(_policy_sources(sources)) if policy is not None else "",
        crm=crm,
        sending=sending,
        sending_digest=_digest(_sending_sources(sources)) if SENDING in sources else "",
    )
    return rules, tuple(sorted(set(reading.faults)))


def _policy(
    sources: Sources, read: Mapping[str, TrackRead], defaults: Defaults, reading: Reading, *, whole: bool
) -> Policy | None:
    if POLICY not in sources:
        if whole:
            reading.fault(
                Node(POLICY, 1, None),
                "this file is missing",
                "Write what sales approved: readiness, reps, reasons.",
            )
        return None
    _check_briefs(sources, defaults, reading)
    return read_policy(
        sources, _email_steps(track.program for track in read.values()) if whole else None, reading
    )


def _check_briefs(sources: Sources, defaults: Defaults, reading: Reading) -> None:
    if BRIEF not in sources:
        what, instead = "this file is missing", "Write the brief that a rep receives with a lead."
        reading.fault(Node(BRIEF, 1, None), what, instead)
    for path, text in sources.items():
        if path.startswith("handoff/") and path.endswith(".md"):
            check_front(path, text, reading)
            chosen_layout(path, text, defaults.layout, sources, reading)


def _email_steps(programs: Iterable[Program]) -> set[str]:
    return {
        instruction.step
        for program in programs
        for instruction in program.instructions
        if isinstance(instruction, Email)
    }


def _track(name: str, track: TrackRead, sources: Sources) -> TrackRules:
    folder = f"{FOLDER}{name}/"
    used = _sources_of(sources, folder, set(track.layouts.values()))
    return TrackRules(
        name, sources[f"{folder}track.yaml"], track.emails, track.layouts, _digest(used), track.program
    )


def _sources_of(sources: Sources, folder: str, layouts: Collection[str]) -> Sources:
    wanted = {DEFAULTS, *(f"layouts/{layout}.mjml" for layout in layouts)}
    return {path: text for path, text in sorted(sources.items()) if path.startswith(folder) or path in wanted}


def _policy_sources(sources: Sources) -> Sources:
    return {
        path: text
        for path, text in sorted(sources.items())
        if path in (POLICY, CRM, DEFAULTS) or path.startswith(("handoff/", "layouts/"))
    }


def _sending_sources(sources: Sources) -> Sources:
    return {path: text for path, text in sources.items() if path == SENDING}


def _digest(sources: Sources) -> str:
    whole = sha256()
    for path, text in sorted(sources.items()):
        for part in (path, text):
            encoded = part.encode()
            whole.update(len(encoded).to_bytes(8, "big"))
            whole.update(encoded)
    return whole.hexdigest()


def _check_circles(read: Mapping[str, TrackRead], reading: Reading) -> None:
    """Note tracks between which a lead could go round without ever getting an email."""
    onward = {name: tracks_without_an_email(track.program.instructions) for name, track in read.items()}
    for name in sorted(onward):
        route = _way_back(name, onward)
        if route and name == min(route):
            way = " to ".join(f"`{stop}`" for stop in [*route, name])
            at = read[name].node.part("finally") or read[name].node
            reading.fault(
                at,
                f"leads go round from {way} without an email",
                "Put an email into one of them, or end elsewhere.",
            )


def _way_back(start: str, onward: Mapping[str, set[str]]) -> list[str]:
    """Return the shortest round from *start* through other tracks back to it, [] if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for track in sorted(onward.get(way[-1], ())):
            if track == start:
                return way if len(way) > 1 else []
            if track not in seen:
                seen.add(track)
                ways.append([*way, track])
    return []
