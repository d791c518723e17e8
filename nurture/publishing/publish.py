"""Check all definitions, and publish the changed ones as new immutable versions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from nurture.db.transaction import Transaction
from nurture.definitions import read_all
from nurture.definitions.folder import BROADCASTS, CONFIRM, TRACKS, Sources, email_folder
from nurture.definitions.folder import SENDING as SENDING_FILE
from nurture.definitions.policy.queues import WAITING
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.definitions.program_compiler import tracks_reached
from nurture.definitions.read_all import ProjectDefinitions
from nurture.domain.planning.broadcasts import first_start
from nurture.domain.planning.program import Program
from nurture.domain.problems import Problem, faults
from nurture.errors import InvalidDefinitions, InvalidState, NotFound, suggest
from nurture.journey.broadcasts import queries as broadcast_queries
from nurture.journey.consent import suppression
from nurture.journey.handoff import sla_emails
from nurture.journey.handoff.waiting import emails as waiting_emails
from nurture.journey.leads import enrollment_queries
from nurture.journey.routing import lead_question
from nurture.journey.tracks import touch_email
from nurture.journey.tracks.take_in import (
    KnownLead,
    count_fits,
    find_former_topics,
    has_changed,
    survey_known_leads,
)
from nurture.mail.rendering.compile import EmailSource, check_email, compile_and_check
from nurture.mail.rendering.email_file import Piece, get_layout_name, parse_email
from nurture.publishing import approval
from nurture.publishing.effects import Effects, forecast_effects
from nurture.publishing.email_checks import EmailUnderTest, check_email_rendering, find_impossible_values
from nurture.publishing.lead_survey import require_no_overlaps
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import POLICY
from nurture.runtime.published import BROADCAST, FIELDS, SENDING

_OFFER_VARIABLES = """
id rule reason routing_reason fit fit_reason score no_email_reason bant call_on activities replies reasons expires_on
colleague colleague.name colleague.lead_id colleague.rep
account account.name account.kind account.owner account.match_reason previous_offers
touches touches.count touches.since touches.newest why_now call_url mail_url crm_url
accept_url reject_url reassign_url call_back_url
"""
BRIEF_VARIABLES = frozenset(
    {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name"}
    | {f"offer.{name}" for name in _OFFER_VARIABLES.split()}
)
"""The names that a brief may use, besides the fields of the lead."""

SINGLE_FILES = {SENDING: SENDING_FILE, FIELDS: "fields.yaml"}
"""The file of each publication that consists of one."""

QUESTION_VARIABLES = touch_email.KNOWN_VARIABLES | {"question.url", "question.text", "question.field"}
"""The names that a question to the lead may use, besides the fields of the lead."""


@dataclass(frozen=True, slots=True)
class PublishedChange:
    """One new version. *moved_steps* maps each removed step that has leads to the step where they continue."""

    kind: str
    name: str
    old_version: int | None
    version: int
    leads_on_track: int = 0
    moved_steps: Mapping[str, str] = field(default_factory=dict)
    activation: str = ""
    """How a policy comes into force: first, unchanged or pending approval; "" for other kinds."""
    approver: str = ""
    fits: Mapping[str, int] = field(default_factory=dict)
    """How many known leads a new or changed audience fits, by the track that they are on; "" is none."""

    @property
    def is_unchanged(self) -> bool:
        """Return whether no new version is published, and only known leads are asked about."""
        return self.version == self.old_version


@dataclass(frozen=True, slots=True)
class PublicationPlan:
    """What is published, all tracks as they are then, and the known leads that fit a new or changed audience."""

    changes: list[PublishedChange]
    programs: Mapping[str, Program] = field(default_factory=dict)
    entering: Sequence[KnownLead] = ()
    effects: Effects | None = None
    """What changes for leads, if that was asked."""
    former_topics: Mapping[str, str] = field(default_factory=dict)
    """The topic until now of each track that gets another one: whoever refused it gets no mail of the track."""


def check_definitions(sources: Sources, unreadable: Sequence[Problem] = ()) -> list[Problem]:
    """Return every problem of the definitions and emails, by file and line; none means publishable.

    For *unreadable* files (see survey_folder), return only that problem.
    """
    return list(_check_once(tuple(sorted(sources.items())), tuple(unreadable)))


@lru_cache(maxsize=8)
def _check_once(files: tuple[tuple[str, str], ...], unreadable: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Check and cache: `publish` follows `check` with the same text."""
    sources = dict(files)
    loaded, problems = read_all.read(sources)
    for path, email in sorted(loaded.emails.items()):
        source = EmailSource(path, email.text, origins=email.origins)
        if path.startswith((TRACKS, BROADCASTS)):
            problems += _check_touch_email(source, loaded)
        else:
            mjml = loaded.layouts.get(get_layout_name(source))
            known, required = _template_variables(path)
            problems += check_email(source, mjml, known | loaded.field_names, required) if mjml is not None else []
    problems += _find_repeated_subjects(sources)
    unreadable_files = {problem.file for problem in unreadable}
    return tuple(sorted({*unreadable, *(problem for problem in problems if problem.file not in unreadable_files)}))


def _find_repeated_subjects(sources: Sources) -> Iterator[Problem]:
    first: dict[tuple[str, str], str] = {}
    for path, text in sorted(sources.items()):
        if path.startswith((TRACKS, BROADCASTS)) and path.endswith(".md"):
            folder, _, name = path.rpartition("/")
            subject = parse_email(EmailSource(path, text))[0].subject
            other = first.setdefault((folder, subject.text.casefold()), name)
            if other.partition(".")[0] != name.partition(".")[0] and subject.text:
                message = f"it has the subject of {other}: to a reader it looks like the same email again"
                yield Problem(path, subject.line, message, "Write another subject", is_warning=True)


def _template_variables(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that an email in handoff/ may use, and those that it must use."""
    if path == CONFIRM:
        return touch_email.KNOWN_VARIABLES | {"confirm_url"}, touch_email.REQUIRED_VARIABLES | {"confirm_url"}
    if path == lead_question.TEMPLATE:
        return QUESTION_VARIABLES, touch_email.REQUIRED_VARIABLES | {"question.url"}
    if path == WAITING:
        return waiting_emails.ALLOWED_VARIABLES, frozenset()
    return sla_emails.ALLOWED_VARIABLES if path in (REMIND, ESCALATE) else BRIEF_VARIABLES, frozenset()


def _check_touch_email(source: EmailSource, loaded: ProjectDefinitions) -> list[Problem]:
    track, _, email = source.name.removesuffix(".md").removeprefix(TRACKS).rpartition("/")
    found = {**loaded.tracks, **loaded.broadcasts}.get(track)
    layout = (found.layouts if found is not None else {}).get(email) or get_layout_name(source)
    if layout not in loaded.layouts:
        return []  # `read_all.read` reports the missing layout
    mjml = loaded.layouts[layout]
    known = touch_email.KNOWN_VARIABLES | loaded.field_names
    compiled, problems = compile_and_check(source, mjml, known, touch_email.REQUIRED_VARIABLES)
    if compiled is None or found is None:
        return problems
    piece = Piece(f"layouts/{layout}.mjml", 1, mjml)
    problems += find_impossible_values(source, loaded.fields)
    return problems + check_email_rendering(EmailUnderTest(source, piece, compiled, found.program(0), loaded.fields))


def publish(
    ctx: AppContext,
    sources: Sources,
    now: datetime,
    *,
    only: Collection[str] = (),
    dry_run: bool = False,
    take_in: bool | None = None,
    by: str = "",
) -> list[PublishedChange]:
    """Publish the changed tracks, broadcasts, policy and sending rules, or those named in *only*; return the changes.

    With *take_in*, a new or changed audience takes leads over from other tracks that fit it already, set by set;
    without it, these enter only after it was once false for them. If *take_in* is given, the audiences of *only* are
    asked although they did not change. A policy with new content is pending until it is approved; everything else is
    in force at once. *by* is the user of the console. Raises InvalidDefinitions with all problems, NotFound for an
    unknown track, and InvalidState if a step with leads on it is missing, or what the tracks or the policy in force
    refer to.
    """
    loaded = load_publishable(sources, only)
    _check_territories(ctx, loaded, now)
    if dry_run:
        with ctx.database.read() as tx:
            return plan_changes(ctx, tx, loaded, now, only=only, take_in=take_in, dry_run=True).changes
    return publish_loaded(ctx, loaded, now, only=only, take_in=take_in, by=by)


def preview_effects(
    ctx: AppContext,
    sources: Sources,
    now: datetime,
    *,
    only: Collection[str] = (),
    take_in: bool | None = None,
    limit: int | None = None,
) -> PublicationPlan:
    """Return what `publish` would change, and what that does to the leads if nobody acts. Raises as `publish`.

    With *limit*, only so many leads are forecast, and audiences are asked of ten times as many.
    """
    loaded = load_publishable(sources, only)
    _check_territories(ctx, loaded, now)
    with ctx.database.read() as tx:
        return plan_effects(ctx, tx, loaded, now, only=only, take_in=take_in, limit=limit)


def load_publishable(sources: Sources, only: Collection[str]) -> ProjectDefinitions:
    """Return the definitions of a folder, reduced to the tracks and broadcasts *only* if any are named."""
    problems = faults(check_definitions(sources))
    problems = find_concerned(problems, only) if only else problems
    if problems:
        raise InvalidDefinitions(problems)
    if not only:
        return read_all.load(sources)
    loaded = read_all.read(sources)[0]
    for name in only:
        if name not in loaded.tracks and name not in loaded.broadcasts:
            known = {**loaded.tracks, **loaded.broadcasts}
            raise NotFound(f"There is no track {name} in the folder. {suggest(name, known)}")
    return reduce_to(loaded, only)


def reduce_to(loaded: ProjectDefinitions, only: Collection[str]) -> ProjectDefinitions:
    """Return *only* these tracks and broadcasts, without the policy and what else is published by itself."""
    tracks, broadcasts = (
        {name: one for name, one in found.items() if name in only} for found in (loaded.tracks, loaded.broadcasts)
    )
    reduced = replace(loaded, tracks=tracks, broadcasts=broadcasts, unversioned_policy=None)
    return replace(reduced, policy_digest="", sending_digest="", fields_digest="")


def find_concerned(problems: Iterable[Problem], only: Collection[str]) -> list[Problem]:
    """Return the problems in the tracks and broadcasts *only*, or in files that all of them use."""
    return [one for one in problems if _concerns(one, only)]


def _concerns(problem: Problem, only: Collection[str]) -> bool:
    """Return whether a problem is in one of *only*, or in a file that all tracks and broadcasts use."""
    if problem.file.startswith((TRACKS, BROADCASTS)):
        return problem.file.startswith(tuple(map(email_folder, only)))
    return problem.file.partition("/")[0] not in ("sales", "handoff", SENDING_FILE)


def publish_loaded(
    ctx: AppContext,
    loaded: ProjectDefinitions,
    now: datetime,
    *,
    only: Collection[str],
    take_in: bool | None,
    by: str = "",
) -> list[PublishedChange]:
    """Publish what changed of *loaded*; see `publish`."""
    with ctx.database.write() as tx:
        plan = plan_changes(ctx, tx, loaded, now, only=only, take_in=take_in, dry_run=False)
        if plan.former_topics:
            suppression.keep_refusals(tx, plan.former_topics, now)
        changed = [one for one in plan.changes if not one.is_unchanged]
        _insert_versions(tx, loaded, changed, now, by)
        _activate_policies(tx, loaded, changed, now)
        _wake(tx, changed, now)
        for one in changed:
            if one.kind == BROADCAST:
                due_at = first_start(loaded.broadcasts[one.name].program(one.version))
                broadcast_queries.reschedule(tx, one.name, due_at)
    return plan.changes


def _check_territories(ctx: AppContext, loaded: ProjectDefinitions, now: datetime) -> None:
    """Raise InvalidState if territories of a changed policy overlap."""
    with ctx.database.read() as tx:
        published = [row.digest for row in publication_queries.load_newest_versions(tx) if row.kind == POLICY]
    if loaded.unversioned_policy is not None and published != [loaded.policy_digest]:
        require_no_overlaps(ctx, loaded.unversioned_policy, now)


def plan_effects(
    ctx: AppContext,
    tx: Transaction,
    loaded: ProjectDefinitions,
    now: datetime,
    *,
    only: Collection[str] = (),
    take_in: bool | None = None,
    limit: int | None = None,
) -> PublicationPlan:
    """Return what publishing *loaded* would change, and what that does to the leads; see `preview_effects`."""
    asked = 10 * limit if limit is not None else None
    plan = plan_changes(ctx, tx, loaded, now, only=only, take_in=take_in, dry_run=True, limit=asked)
    names, current = [one.name for one in plan.changes if one.kind == "track"], ctx.definitions.find_current(tx)
    if current is None or not names:
        return plan
    new = replace(current, programs=plan.programs)
    return replace(plan, effects=forecast_effects(ctx, tx, new, names, plan.entering, now, limit=limit))


def plan_changes(
    ctx: AppContext,
    tx: Transaction,
    loaded: ProjectDefinitions,
    now: datetime,
    *,
    only: Collection[str],
    take_in: bool | None,
    dry_run: bool,
    limit: int | None = None,
) -> PublicationPlan:
    """Find what changed, and ask the new and changed audiences which known leads they take; in a dry run of *limit*."""
    asked = only if take_in is not None else ()
    changes = _find_changes(ctx, tx, loaded, asked)
    _require_compatible_tracks(ctx, tx, loaded)
    current = ctx.definitions.find_current(tx)
    if current is None:
        return PublicationPlan(changes)
    versions = {change.name: change.version for change in changes if change.kind == "track"}
    new = {name: loaded.tracks[name].program(version) for name, version in versions.items()}
    programs = {**current.programs, **new}
    if only:
        _require_published_destinations(programs, new)
    changed = [one for name, one in new.items() if name in asked or has_changed(one, current.programs.get(name))]
    former, how = find_former_topics(current.programs, new), {"take_in": bool(take_in), "dry_run": dry_run}
    entering = survey_known_leads(
        ctx, tx, changed, programs, current.policy, now, former_topics=former, limit=limit, **how
    )
    fits = count_fits(entering)
    changes = [replace(one, fits=dict(fits.get(one.name, {}))) if one.kind == "track" else one for one in changes]
    return PublicationPlan(changes, programs, entering, former_topics=former)


def _require_published_destinations(programs: Mapping[str, Program], new: Mapping[str, Program]) -> None:
    for name, program in new.items():
        for to in sorted(tracks_reached(program, through_emails=True) - programs.keys()):
            raise InvalidState(
                f"Track {name} leads to {to}, which is not published. Publish both: `nurture publish {name} {to}`."
            )


def _wake(tx: Transaction, changes: Sequence[PublishedChange], now: datetime) -> None:
    """Make the leads of the changed definitions due: their next action may have a date of the old version."""
    if any(change.kind == POLICY and change.activation != approval.PENDING for change in changes):
        enrollment_queries.make_tracks_due(tx, None, now)
        return
    tracks = [change.name for change in changes if change.kind == "track"]
    if tracks:
        enrollment_queries.make_tracks_due(tx, tracks, now)


def _find_changes(
    ctx: AppContext, tx: Transaction, loaded: ProjectDefinitions, asked: Collection[str]
) -> list[PublishedChange]:
    """Return the new versions, and the tracks *asked* about as they are if they did not change."""
    published = {(row.kind, row.name): row for row in publication_queries.load_newest_versions(tx)}
    leads_per_step = enrollment_queries.count_leads_by_step(tx)
    changes = []
    for name, track in sorted(loaded.tracks.items()):
        old = published.get(("track", name))
        leads_on_steps = {step: count for (on, step), count in leads_per_step.items() if on == name}
        if old is not None and old.digest == track.digest:
            if name in asked:
                on_it = sum(leads_on_steps.values())
                changes.append(PublishedChange("track", name, old.version, old.version, on_it))
            continue
        program = track.program((old.version if old else 0) + 1)
        moved = _resolve_moved_steps(program, leads_on_steps)
        changes.append(
            PublishedChange(
                "track", name, old.version if old else None, program.version, sum(leads_on_steps.values()), moved
            )
        )
    digests = {(BROADCAST, name): one.digest for name, one in sorted(loaded.broadcasts.items())}
    digests |= {(POLICY, POLICY): loaded.policy_digest, (SENDING, SENDING): loaded.sending_digest}
    digests[FIELDS, FIELDS] = loaded.fields_digest
    for (kind, name), digest in digests.items():
        old = published.get((kind, name))
        if digest and (old is None or old.digest != digest):
            version = old.version if old else 0
            change = PublishedChange(kind, name, version or None, version + 1)
            if kind == POLICY:
                policy = loaded.policy(version + 1)
                activation = approval.decide_activation(ctx, tx, policy)
                change = replace(change, activation=activation, approver=policy.approved_by)
            changes.append(change)
    return changes


def _require_compatible_tracks(ctx: AppContext, tx: Transaction, loaded: ProjectDefinitions) -> None:
    programs = {name: track.program(0) for name, track in loaded.tracks.items()}
    approval.require_compatible_tracks(ctx, tx, programs, loaded.unversioned_policy)


def _resolve_moved_steps(program: Program, leads_on_steps: Mapping[str, int]) -> Mapping[str, str]:
    """Return the new step for each removed step with leads. Raises InvalidState if one has none."""
    moved = {}
    for step, count in sorted(leads_on_steps.items()):
        instruction_index = program.index_of(step)
        if instruction_index is None:
            raise InvalidState(
                f"{count} {'leads are' if count != 1 else 'lead is'} on step {step} of track "
                f"{program.track}, which the new version does not have. Write "
                f"`moved_to: {{{step}: <a step>}}` in tracks/{program.track}/track.yaml, or keep the step."
            )
        if step not in program.index:
            moved[step] = program.resolve(instruction_index, 1)[0]
    return moved


def _insert_versions(
    tx: Transaction, loaded: ProjectDefinitions, changes: Sequence[PublishedChange], now: datetime, by: str
) -> None:
    rows = []
    for change in changes:
        if change.kind == POLICY:
            digest, files = loaded.policy_digest, loaded.sources_of_policy()
        elif change.kind in SINGLE_FILES:
            digest = loaded.sending_digest if change.kind == SENDING else loaded.fields_digest
            files = loaded.source_of(SINGLE_FILES[change.kind])
        else:
            digest, files = loaded.definition(change.name).digest, loaded.sources_of(change.name)
        rows.append((change.kind, change.name, change.version, digest, dict(files)))
    publication_queries.insert_versions(tx, rows, now, by)


def _activate_policies(
    tx: Transaction, loaded: ProjectDefinitions, changes: Sequence[PublishedChange], now: datetime
) -> None:
    """Activate a policy that needs no approval: the first, or one with unchanged content."""
    for change in changes:
        if change.kind == POLICY and change.activation != approval.PENDING:
            published = publication_queries.find_version(tx, POLICY, POLICY, change.version)
            assert published is not None  # by _insert_versions
            policy = loaded.policy(change.version)
            approval.activate(tx, published, policy, change.activation, now)
