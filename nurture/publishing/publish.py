"""Check all definitions, and publish the changed ones as new immutable versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from nurture.db.transaction import Transaction
from nurture.definitions import read_all
from nurture.definitions.folder import Sources
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.definitions.read_all import ProjectDefinitions
from nurture.domain.planning.program import Program
from nurture.domain.problems import Problem
from nurture.errors import InvalidDefinitions, InvalidState
from nurture.formats.lead_row import EMAIL_FIELDS
from nurture.journey.handoff import sla_emails
from nurture.journey.leads import enrollment_queries
from nurture.journey.routing import lead_question
from nurture.journey.tracks import touch_email
from nurture.mail.rendering.compile import EmailSource, check_email, compile_and_check
from nurture.mail.rendering.email_file import Piece, get_layout_name
from nurture.publishing import approval
from nurture.publishing.email_checks import EmailUnderTest, check_email_rendering
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import POLICY
from nurture.runtime.published import SENDING

_OFFER_VARIABLES = """
id rule reason routing_reason fit fit_reason score no_email_reason bant call_on activities replies reasons expires_on
account account.name account.kind account.owner account.match_reason previous_offers
touches touches.count touches.since touches.newest accept_url reject_url reassign_url call_back_url
"""
BRIEF_VARIABLES = frozenset(
    {f"lead.{name}" for name in EMAIL_FIELDS}
    | {"lead.id", "lead.email", "rep.id", "rep.name", "sender.name"}
    | {f"offer.{name}" for name in _OFFER_VARIABLES.split()}
)
"""The names that a brief may use."""

QUESTION_VARIABLES = touch_email.KNOWN_VARIABLES | {"question.url", "question.text", "question.field"}
"""The names that a question to the lead may use."""


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
    for path, text in sorted(sources.items()):
        if path.startswith("tracks/") and path.endswith(".md"):
            track = loaded.tracks.get(path.split("/")[1])
            problems += _check_touch_email(EmailSource(path, text), loaded, track.program(0) if track else None)
        elif path.startswith("handoff/") and path.endswith(".md"):
            source = EmailSource(path, text)
            mjml = loaded.layouts.get(get_layout_name(source))
            problems += check_email(source, mjml, *_template_variables(path)) if mjml is not None else []
    unreadable_files = {problem.file for problem in unreadable}
    return tuple(sorted({*unreadable, *(problem for problem in problems if problem.file not in unreadable_files)}))


def _template_variables(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that an email in handoff/ may use, and those that it must use."""
    if path == lead_question.TEMPLATE:
        return QUESTION_VARIABLES, touch_email.REQUIRED_VARIABLES | {"question.url"}
    return sla_emails.ALLOWED_VARIABLES if path in (REMIND, ESCALATE) else BRIEF_VARIABLES, frozenset()


def _check_touch_email(source: EmailSource, loaded: ProjectDefinitions, program: Program | None) -> list[Problem]:
    layout = get_layout_name(source)
    if layout not in loaded.layouts:
        return []  # `definitions.read` reports the missing layout
    mjml = loaded.layouts[layout]
    compiled, problems = compile_and_check(source, mjml, touch_email.KNOWN_VARIABLES, touch_email.REQUIRED_VARIABLES)
    if compiled is None or program is None:
        return problems
    return problems + check_email_rendering(
        EmailUnderTest(source, Piece(f"layouts/{layout}.mjml", 1, mjml), compiled, program)
    )


def publish(ctx: AppContext, sources: Sources, now: datetime, *, dry_run: bool = False) -> list[PublishedChange]:
    """Publish the changed tracks, policy and sending rules; return the changes.

    A policy with new content is pending until it is approved; everything else is in force at once. Raises
    InvalidDefinitions with all problems, and InvalidState if a step with leads on it is missing, or an email that
    the policy in force refers to.
    """
    problems = check_definitions(sources)
    if problems:
        raise InvalidDefinitions(problems)
    loaded = read_all.load(sources)
    with ctx.database.write() as tx:
        changes = _find_changes(ctx, tx, loaded)
        _require_compatible_tracks(ctx, tx, loaded)
        if not dry_run:
            _insert_versions(tx, loaded, changes, now)
            _activate_policies(tx, loaded, changes, now)
            _wake(tx, changes, now)
    return changes


def find_removed_tracks(ctx: AppContext, sources: Sources) -> dict[str, int]:
    """Return the published tracks that are missing in *sources*, and the number of leads on each.

    They stay published and still enroll leads: the folder may have been deleted by mistake.
    """
    with ctx.database.read() as tx:
        published = [row.name for row in publication_queries.load_newest_versions(tx) if row.kind == "track"]
        leads_per_step = enrollment_queries.count_leads_by_step(tx)
    removed = [name for name in published if f"tracks/{name}/track.yaml" not in sources]
    return {name: sum(count for (on, _), count in leads_per_step.items() if on == name) for name in removed}


def keeps_sending_rules(ctx: AppContext, sources: Sources) -> bool:
    """Return whether the published sending rules stay in force because *sources* have none."""
    with ctx.database.read() as tx:
        return "sending.yaml" not in sources and any(
            row.kind == SENDING for row in publication_queries.load_newest_versions(tx)
        )


def _wake(tx: Transaction, changes: Sequence[PublishedChange], now: datetime) -> None:
    """Make the leads of the changed definitions due: their next action may have a date of the old version."""
    if any(change.kind == POLICY and change.activation != approval.PENDING for change in changes):
        enrollment_queries.make_tracks_due(tx, None, now)
        return
    tracks = [change.name for change in changes if change.kind == "track"]
    if tracks:
        enrollment_queries.make_tracks_due(tx, tracks, now)


def _find_changes(ctx: AppContext, tx: Transaction, loaded: ProjectDefinitions) -> list[PublishedChange]:
    published = {(row.kind, row.name): row for row in publication_queries.load_newest_versions(tx)}
    leads_per_step = enrollment_queries.count_leads_by_step(tx)
    changes = []
    for name, track in sorted(loaded.tracks.items()):
        old = published.get(("track", name))
        if old is not None and old.digest == track.digest:
            continue
        leads_on_steps = {step: count for (on, step), count in leads_per_step.items() if on == name}
        program = track.program((old.version if old else 0) + 1)
        moved = _resolve_moved_steps(program, leads_on_steps)
        changes.append(
            PublishedChange(
                "track", name, old.version if old else None, program.version, sum(leads_on_steps.values()), moved
            )
        )
    for kind, digest in ((POLICY, loaded.policy_digest), (SENDING, loaded.sending_digest)):
        old = published.get((kind, kind))
        if digest and (old is None or old.digest != digest):
            version = old.version if old else 0
            change = PublishedChange(kind, kind, version or None, version + 1)
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
    tx: Transaction, loaded: ProjectDefinitions, changes: Sequence[PublishedChange], now: datetime
) -> None:
    rows = []
    for change in changes:
        if change.kind == POLICY:
            digest, files = loaded.policy_digest, loaded.sources_of_policy()
        elif change.kind == SENDING:
            digest, files = loaded.sending_digest, loaded.sources_of_sending()
        else:
            digest, files = loaded.tracks[change.name].digest, loaded.sources_of(change.name)
        rows.append((change.kind, change.name, change.version, digest, dict(files)))
    publication_queries.insert_versions(tx, rows, now)


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
