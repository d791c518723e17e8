"""Read all definitions together: tracks, sales policy, defaults; report every problem at once."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from nurture.definitions.brand import Brand, check_brand_names
from nurture.definitions.broadcasts import read_broadcast
from nurture.definitions.cap_checks import check_caps
from nurture.definitions.caps import check_capped_topics
from nurture.definitions.crm_status import read_crm_statuses
from nurture.definitions.defaults import Defaults, read_defaults
from nurture.definitions.destinations import check_track_references
from nurture.definitions.email_front_matter import check_front_matter, email_layout, layouts_in
from nurture.definitions.field_checks import (
    add_set_fields,
    check_dates,
    check_field_conditions,
    check_owner_names,
    check_reach,
    check_ties,
    check_topics,
)
from nurture.definitions.fields import read_fields
from nurture.definitions.folder import (
    BRIEF,
    BROADCASTS,
    CRM,
    DEFAULTS,
    FIELDS,
    POLICY,
    SENDING,
    TRACKS,
    Sources,
    email_folder,
)
from nurture.definitions.languages import split_language
from nurture.definitions.misplaced_files import warn_of_misplaced_files
from nurture.definitions.policy.policy import read_policy
from nurture.definitions.policy.queues import check_queues
from nurture.definitions.program_compiler import tracks_reached
from nurture.definitions.sending_limits import read_sending_rules
from nurture.definitions.snippets import ExpandedText, expand_emails, used_snippets
from nurture.definitions.tracks import ParsedTrack, names_in, read_track
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.delivery.sending_limits import SendingRules
from nurture.domain.fields import Fields
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.program import Email, Program
from nurture.domain.policy.crm_status import CrmStatusMap
from nurture.domain.policy.policy import Policy
from nurture.domain.problems import Problem, faults
from nurture.errors import InvalidDefinitions, NotFound, suggest

_ENGLISH = re.compile(r'<mjml lang="en"')

__all__ = ["ProjectDefinitions", "TrackDefinition", "check", "find_policy_mismatches", "load", "read"]


@dataclass(frozen=True)
class TrackDefinition:
    """A track or broadcast: its emails (Markdown with snippets, by name), their layouts, a digest of everything."""

    name: str
    emails: Mapping[str, str]
    layouts: Mapping[str, str]
    digest: str
    unversioned: Program = field(repr=False)

    @property
    def audience(self) -> Condition | None:
        """Return which leads readiness may enroll here; None means none."""
        return self.unversioned.audience

    def program(self, version: int) -> Program:
        """Return the compiled track as its published *version*."""
        return replace(self.unversioned, version=version)


@dataclass(frozen=True)
class ProjectDefinitions:
    """Everything in templates/, valid."""

    sources: Sources = field(repr=False)
    tracks: Mapping[str, TrackDefinition]
    broadcasts: Mapping[str, TrackDefinition]
    """By path: `broadcasts/NAME`."""
    defaults: Defaults
    layouts: Mapping[str, str] = field(repr=False)
    """MJML by name, with the values of the brand."""
    brief: str = field(repr=False)
    """The Markdown of the brief that a rep receives, "" if the bundle has none."""
    emails: Mapping[str, ExpandedText] = field(repr=False)
    """Each email with its snippets, by path."""
    unversioned_policy: Policy | None = field(repr=False)
    policy_digest: str = ""
    crm: CrmStatusMap = field(default_factory=CrmStatusMap)
    sending: SendingRules = field(default_factory=SendingRules)
    sending_digest: str = ""
    """"" if the bundle has no sending.yaml."""
    fields: Fields = field(default_factory=dict, repr=False)
    """All fields: built in, declared, or written by a `set:` step."""
    fields_digest: str = ""
    """"" if the bundle has no fields.yaml."""

    @property
    def field_names(self) -> frozenset[str]:
        """Return the fields as emails name them, such as lead.company."""
        return frozenset(f"lead.{name}" for name in self.fields)

    def policy(self, version: int) -> Policy:
        """Return the policy as its published *version*; raises NotFound if the bundle has none."""
        if self.unversioned_policy is None:
            raise NotFound(f"these definitions have no {POLICY}. Load the whole folder, or the published policy.")
        return replace(self.unversioned_policy, version=version)

    def definition(self, name: str) -> TrackDefinition:
        """Return the track, or the broadcast (`broadcasts/NAME`), of this name. Raises NotFound."""
        known = {**self.tracks, **self.broadcasts}
        if name not in known:
            what = "broadcast" if name.startswith(BROADCASTS) else "track"
            raise NotFound(f"There is no {what} {name.removeprefix(BROADCASTS)}. {suggest(name, known)}")
        return known[name]

    def sources_of(self, name: str) -> Sources:
        """Return only the texts that a published version of a track or broadcast needs."""
        layouts = set(self.definition(name).layouts.values())
        return _sources_of(self.sources, self.emails, email_folder(name), layouts)

    def source_of(self, path: str) -> Sources:
        """Return the one file of which a publication consists: sending.yaml or fields.yaml."""
        return _only(self.sources, path)

    def sources_of_policy(self) -> Sources:
        """Return what a published version of the policy needs: policy, CRM statuses, briefs, snippets, layouts."""
        return _policy_sources(self.sources, self.emails)


def load(sources: Sources, *, complete: bool = True) -> ProjectDefinitions:
    """Return the definitions in *sources*; raises InvalidDefinitions with all problems at once.

    Not *complete*: the bundle is one published track or policy, so references outside it are not checked.
    """
    definitions, problems = _read(sources, complete=complete)
    if found := faults(problems):
        raise InvalidDefinitions(found)
    return definitions


def check(sources: Sources, *, complete: bool = True) -> list[Problem]:
    """Return all problems of *sources*, sorted by file and line."""
    return _read(sources, complete=complete)[1]


def read(sources: Sources) -> tuple[ProjectDefinitions, list[Problem]]:
    """Return what can be read of *sources*, and all problems; unreadable tracks are omitted."""
    return _read(sources, complete=True)


def find_policy_mismatches(policy: Sources, programs: Iterable[Program]) -> list[Problem]:
    """Return what a published policy refers to and these tracks do not have: emails, and tracks by name."""
    known = list(programs)
    context = ParseContext(complete=False)
    read_policy(policy, _email_steps(known), context)
    check_track_references(context, [one.track for one in known], [one.track for one in known if one.for_customers])
    return sorted(set(context.problems))


def _read(sources: Sources, *, complete: bool) -> tuple[ProjectDefinitions, list[Problem]]:
    definitions, problems = _read_once(tuple(sorted(sources.items())), complete)
    return definitions, list(problems)


@lru_cache(maxsize=32)
def _read_once(
    files: tuple[tuple[str, str], ...],
    complete: bool,  # noqa: FBT001
) -> tuple[ProjectDefinitions, tuple[Problem, ...]]:
    """Cache the result: publishing checks a text, loads it, and reads what was published."""
    sources = dict(files)
    context = ParseContext(complete=complete)
    context.fields = read_fields(sources, context)
    defaults = read_defaults(sources, context)
    emails = expand_emails(sources, defaults.brand.signature, context)
    layouts = _brand_layouts(sources, defaults.brand, defaults.language, context)
    texts = {**sources, **{path: one.text for path, one in emails.items()}}
    names = names_in(TRACKS, sources)
    read = _not_none({name: read_track(name, texts, defaults, context) for name in names})
    paths = [f"{BROADCASTS}{name}" for name in names_in(BROADCASTS, sources)]
    broadcasts = _not_none({path: read_broadcast(path, texts, defaults, context) for path in paths})
    policy = _policy(sources, read, defaults, context, complete=complete)
    both = {**read, **broadcasts}
    senders = {defaults.sender.email, *(track.program.sender.email for track in both.values())}
    sending = read_sending_rules(sources, context, senders if complete else None)
    crm = read_crm_statuses(sources, policy.reject_reasons if policy is not None else None, context)
    if complete:
        check_track_references(context, names, [name for name, one in read.items() if one.program.for_customers])
        _check_cycles(read, context)
        if policy is not None:
            check_queues(policy, context)
            check_owner_names(policy, context)
            _check_back_pressure(policy, [track.program for track in read.values()], context)
        programs = {name: track.program for name, track in read.items()}
        check_capped_topics((one.program for one in both.values()), context)
        if not faults(context.problems):
            for track in read.values():
                check_caps(track.program, track.node, context)
        context.fields = add_set_fields(context.fields, programs.values())
        check_field_conditions(context.fields, context)
        check_dates(context.fields, context)
        warn_of_misplaced_files(sources, context)
        _check_beside_each_other(read, both, context)
        if not names:
            context.add_problem(
                Node(DEFAULTS, 1, None), "there are no tracks in tracks/", "Write tracks/my-track/track.yaml."
            )
    definitions = ProjectDefinitions(
        sources=sources,
        tracks={name: _track(name, track, sources, emails) for name, track in read.items()},
        broadcasts={name: _track(name, one, sources, emails) for name, one in broadcasts.items()},
        defaults=defaults,
        layouts=layouts,
        brief=texts.get(BRIEF, ""),
        emails=emails,
        unversioned_policy=policy,
        policy_digest=_digest(_policy_sources(sources, emails)) if policy is not None else "",
        crm=crm,
        sending=sending,
        fields=context.fields,
        fields_digest=_digest(_only(sources, FIELDS)) if FIELDS in sources else "",
        sending_digest=_digest(_only(sources, SENDING)) if SENDING in sources else "",
    )
    return definitions, tuple(sorted(set(context.problems)))


def _check_beside_each_other(
    tracks: Mapping[str, ParsedTrack], both: Mapping[str, ParsedTrack], context: ParseContext
) -> None:
    """Warn of tracks that take each other's leads, and of topics that differ by a letter."""
    programs = {name: track.program for name, track in tracks.items()}
    audiences = {name: track.node.part("audience") or track.node for name, track in tracks.items()}
    check_ties(programs, audiences, context)
    check_reach(programs, audiences, context)
    topics = {name: one.node.part("topic") or one.node for name, one in both.items()}
    check_topics({name: one.program for name, one in both.items()}, topics, context)


def _not_none(found: Mapping[str, ParsedTrack | None]) -> dict[str, ParsedTrack]:
    return {name: one for name, one in found.items() if one is not None}


def _brand_layouts(sources: Sources, brand: Brand, language: str, context: ParseContext) -> dict[str, str]:
    layouts = layouts_in(sources)
    for name, text in layouts.items():
        check_brand_names(f"layouts/{name}.mjml", text, brand, context)
    return {name: brand.apply(_set_language(name, text, language)) for name, text in layouts.items()}


def _set_language(name: str, layout: str, default: str) -> str:
    """Name the language of a layout, by which screen readers choose their voice."""
    language = split_language(name)[1] or default
    return _ENGLISH.sub(f'<mjml lang="{language}"', layout, count=1)


def _policy(
    sources: Sources, read: Mapping[str, ParsedTrack], defaults: Defaults, context: ParseContext, *, complete: bool
) -> Policy | None:
    if POLICY not in sources:
        if complete:
            context.add_problem(
                Node(POLICY, 1, None),
                "this file is missing",
                "Write the sales policy: readiness, reps, reject reasons.",
            )
        return None
    _check_briefs(sources, defaults, context)
    steps = _email_steps(track.program for track in read.values()) if complete else None
    policy = read_policy(sources, steps, context)
    return replace(policy, sender=defaults.sender) if policy is not None else None


def _check_back_pressure(policy: Policy, programs: Sequence[Program], context: ParseContext) -> None:
    """Warn about calls to action that are held while reps are full, where no email is one."""
    if policy.priority.hold_calls_to_action_at is not None and not any(one.calls_to_action for one in programs):
        what = "`hold_calls_to_action_at` is on, but no email calls to action: nothing is ever held"
        remedy = "Write `call_to_action: yes` in the emails that ask leads to talk to sales, or remove it."
        context.warn(Node(POLICY, 1, None), what, remedy)


def _check_briefs(sources: Sources, defaults: Defaults, context: ParseContext) -> None:
    if BRIEF not in sources:
        what, instead = "this file is missing", "Write the brief that a rep receives with a lead."
        context.add_problem(Node(BRIEF, 1, None), what, instead)
    for path, text in sources.items():
        if path.startswith("handoff/") and path.endswith(".md"):
            check_front_matter(path, text, context)
            email_layout(path, text, defaults.layout, sources, context)


def _email_steps(programs: Iterable[Program]) -> set[str]:
    return {
        instruction.step
        for program in programs
        for instruction in program.instructions
        if isinstance(instruction, Email)
    }


def _track(name: str, track: ParsedTrack, sources: Sources, emails: Mapping[str, ExpandedText]) -> TrackDefinition:
    used = _sources_of(sources, emails, email_folder(name), set(track.layouts.values()))
    return TrackDefinition(name, track.emails, track.layouts, _digest(used), track.program)


def _sources_of(sources: Sources, emails: Mapping[str, ExpandedText], folder: str, layouts: Collection[str]) -> Sources:
    snippets = used_snippets(one for path, one in emails.items() if path.startswith(folder))
    wanted = {DEFAULTS, FIELDS, *snippets, *(f"layouts/{layout}.mjml" for layout in layouts)}
    return {path: text for path, text in sorted(sources.items()) if path.startswith(folder) or path in wanted}


def _policy_sources(sources: Sources, emails: Mapping[str, ExpandedText]) -> Sources:
    snippets = used_snippets(one for path, one in emails.items() if path.startswith("handoff/"))
    return {
        path: text
        for path, text in sorted(sources.items())
        if path in {POLICY, CRM, DEFAULTS, *snippets} or path.startswith(("handoff/", "layouts/"))
    }


def _only(sources: Sources, wanted: str) -> Sources:
    return {path: text for path, text in sources.items() if path == wanted}


def _digest(sources: Sources) -> str:
    digest = sha256()
    for path, text in sorted(sources.items()):
        for part in (path, text):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "big"))
            digest.update(encoded)
    return digest.hexdigest()


def _check_cycles(read: Mapping[str, ParsedTrack], context: ParseContext) -> None:
    """Report tracks between which a lead could move in a cycle: without ever getting an email, or with emails.

    The latter is no problem if one of them says `loops: yes`.
    """
    found: set[str] = set()
    for through_emails, end, suggestion in (
        (False, " without an email", "Add an email to one of them, or end elsewhere."),
        (True, " and get the same emails again", "Let one of them end elsewhere, or write `loops: yes` in one."),
    ):
        onward = {name: tracks_reached(track.program, through_emails=through_emails) for name, track in read.items()}
        if through_emails:
            onward = {name: to for name, to in onward.items() if read[name].node.value.get("loops") is not True}
        for name in sorted(onward.keys() - found):
            route = _find_cycle(name, onward)
            if route and name == min(route):
                found.add(name)
                way = " to ".join(f"`{stop}`" for stop in [*route, name])
                at = read[name].node.part("finally") or read[name].node
                context.add_problem(at, f"leads move in a cycle from {way}{end}", suggestion)


def _find_cycle(start: str, onward: Mapping[str, set[str]]) -> list[str]:
    """Return the shortest cycle from *start* through other tracks, [] if there is none."""
    paths = [[start]]
    seen: set[str] = set()
    while paths:
        path = paths.pop(0)
        for track in sorted(onward.get(path[-1], ())):
            if track == start:
                return path if len(path) > 1 else []
            if track not in seen:
                seen.add(track)
                paths.append([*path, track])
    return []
