"""Publish definitions, and show what that does to leads; versions of tracks; check and approve the policy."""

import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import TemplatesOption, parse_date, templates_folder
from nurture.cli.output import JsonOption, err, make_table, out, pluralize, print_json, print_result, print_table
from nurture.definitions.folder import BROADCASTS, read_folder
from nurture.errors import InvalidDefinitions
from nurture.publishing import approval, policy_check, policy_diff, track_versions, unpublished
from nurture.publishing import publish as publishing
from nurture.publishing.batch_check import find_batch_problems
from nurture.publishing.effect_wording import COLUMNS, describe_fits, format_day, summarize, tabulate
from nurture.publishing.effects import Effects
from nurture.publishing.publish import PublicationPlan, PublishedChange
from nurture.runtime.published import BROADCAST
from nurture.settings import Settings

_LABELS = {"sending": "the sending limits", "fields": "the declared fields"}

_MAX_SHIFTS: Final = 20
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would change, and who gets what earlier, later or never.")
]


def publish(
    tracks: Annotated[
        list[str] | None,
        typer.Argument(metavar="TRACK", help="Tracks, or broadcasts/NAME, to publish alone. Default: everything."),
    ] = None,
    templates: TemplatesOption = None,
    dry_run: DryRunOption = False,
    take_in: Annotated[
        bool | None,
        typer.Option(
            "--take-in/--new-only",
            help="Whether a new or changed audience takes leads from other tracks that fit it today. "
            "Default: ask; without a terminal, it does not.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Publish changed definitions as new versions. Leads on a track continue on the newest version.

    With --take-in or --new-only, a named track is asked for leads that fit it although it did not change.
    """
    sources, only = read_folder(templates_folder(templates)), tracks or []
    if problems := list(find_batch_problems(sources, Settings.read())):
        raise InvalidDefinitions(problems)
    with open_app(upgrade=True) as app:
        ctx, now = app.ctx, app.clock.now()
        if dry_run:
            plan = publishing.preview_effects(ctx, sources, now, only=only, take_in=take_in)
        else:
            if take_in is None and not json and sys.stdin.isatty():
                take_in = _ask_to_take_in(publishing.publish(ctx, sources, now, only=only, dry_run=True)) or None
            changes = publishing.publish(ctx, sources, now, only=only, take_in=take_in)
            plan = PublicationPlan(changes)
        others = unpublished.find_unpublished(ctx, sources, only) if only else []
        unlisted = {} if only else unpublished.find_removed_tracks(ctx, sources)
        kept = [] if only else unpublished.find_kept_files(ctx, sources)
    if json:
        print_json({"changes": plan.changes, "effects": plan.effects})
        return
    _print_missing(unlisted, kept)
    if others:
        err.print(f"[dim]Changed too, and not published: {', '.join(others)}.[/]")
    warnings = sum(one.is_warning for one in publishing.check_definitions(sources))
    if warnings:
        err.print(f"[yellow]{pluralize(warnings, 'warning')}: `nurture check` lists them.[/]")
    if not plan.changes:
        hint = " To take known leads in on a track as it is: `nurture publish TRACK --take-in`." if take_in else ""
        out.print(f"Nothing changed.{hint}")
        return
    _print_plan(plan, dry_run=dry_run, take_in=bool(take_in))


def _print_missing(unlisted: Mapping[str, int], kept: Sequence[str]) -> None:
    for name, count in unlisted.items():
        err.print(
            f"[yellow]track {name} is no longer in the folder. Its published version still takes leads and mails the "
            f"{count} that are on it.[/] What becomes of it?\n"
            f"    nurture tracks retire {name} --move-to OTHER   nobody enters, and its leads continue on OTHER\n"
            f"    nurture tracks stop {name} --reason WHY        its leads wait, until it starts again\n"
            "    To keep it as it is, put the folder back.",
            soft_wrap=True,
        )
    for file in kept:
        err.print(
            f"[yellow]{file} is no longer in the folder. Its published version stays active.[/] "
            "To change that, put it back, with `default: {}` for no limits, or with another list of fields."
        )


def _print_plan(plan: PublicationPlan, *, dry_run: bool, take_in: bool) -> None:
    verb = "would be published" if dry_run else "published"
    for change in plan.changes:
        what = f"track {change.name}" if change.kind == "track" else _LABELS.get(change.kind, change.name)
        old = f" (was version {change.old_version})" if change.old_version else ""
        on_it = f"; {pluralize(change.leads_on_track, 'lead')} on it" if change.leads_on_track else ""
        if change.is_unchanged:
            out.print(f"{what} is unchanged (version {change.version}){on_it}")
        else:
            out.print(f"{what} version {change.version} {verb}{old}{on_it}")
        for step, to in change.moved_steps.items():
            out.print(f"    leads on {step} continue at {to}")
        if change.fits or change.is_unchanged:
            out.print(f"    {describe_fits(change, taken_in=take_in)}")
        if change.activation:
            _print_approval(change)
        if change.kind == BROADCAST and not dry_run:
            name = change.name.removeprefix(BROADCASTS)
            out.print(f"    it goes out after `nurture broadcasts send {name}`; first with --dry-run", soft_wrap=True)
    if plan.effects is not None:
        _print_effects(plan.effects, [one.name for one in plan.changes])


def _print_effects(effects: Effects, changed: Container[str]) -> None:
    """Print who gets what earlier, later, never or again, by track, email and day; *changed* are tracks."""
    until = format_day(effects.until.date())
    if not effects.leads:
        return
    if not effects.rows:
        out.print(
            f"Until {until}, nothing changes for the {pluralize(effects.leads, 'lead')} concerned if nobody reacts."
        )
        return
    affected = f"{effects.affected:,} of {pluralize(effects.leads, 'lead')}"
    out.print(f"\nUntil {until}, if nobody reacts, the change affects {affected}: {summarize(effects.rows, changed)}")
    rows = list(tabulate(effects))
    out.print(make_table(COLUMNS, rows, right=("leads",), whole=("leads", "change")))


def _ask_to_take_in(changes: Sequence[PublishedChange]) -> bool:
    """Ask whether leads move that are on other tracks; without such leads there is nothing to ask."""
    moving = [one for one in changes if any(track for track in one.fits)]
    for one in moving:
        out.print(f"track {one.name}: {describe_fits(one, taken_in=True)}")
    return bool(moving) and typer.confirm(
        "Move those that are on other tracks now, in sets 15 minutes apart?", default=False
    )


def _print_approval(change: PublishedChange) -> None:
    by = escape(change.approver)
    if change.activation == approval.PENDING:
        until = "until then the current version stays in force"
        out.print(f"    [yellow]pending approval by {by}[/]; {until}.\n    {_approval_hint(by)}", soft_wrap=True)
    elif change.activation == approval.FIRST_VERSION:
        out.print(f"    the first version: in force, approved by {by} as policy.yaml states")
    else:
        out.print("    same meaning as the approved version, so it is in force")


_TrackArgument = Annotated[str, typer.Argument(help="A published track.")]


def history(track: _TrackArgument, json: JsonOption = False) -> None:
    """List the published versions of a track, the newest first, and the files that each changed."""
    with open_app() as app:
        found = track_versions.list_versions(app.ctx, track)
    rows = [(one.version, one.published_at, one.published_by, ", ".join(one.changed_files)) for one in found]
    print_table(("version", "published (UTC)", "by", "changed files"), rows, found, json=json, right=("version",))


def rollback(
    track: _TrackArgument,
    to: Annotated[int, typer.Option("--to", help="The version to publish again: `nurture tracks history` lists them.")],
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Publish an earlier version of a track again, as its newest. The folder templates/ stays as it is."""
    with open_app() as app:
        if dry_run:
            plan = track_versions.preview_roll_back(app.ctx, track, to, app.clock.now())
        else:
            plan = PublicationPlan([track_versions.roll_back(app.ctx, track, to, app.clock.now())])
    if json:
        print_json({"changes": plan.changes, "effects": plan.effects})
        return
    _print_plan(plan, dry_run=dry_run, take_in=False)
    out.print(
        f"[dim]Its content is that of version {to}. The folder keeps its text: the next `nurture publish` publishes "
        "that again, unless you put the old text back.[/]"
    )


def approve(
    by: Annotated[str, typer.Option(help="Your name, as in `approved:` of policy.yaml.")],
    on: Annotated[str | None, typer.Option(help="The day of the approval; default today.")] = None,
    version: Annotated[
        int | None, typer.Option(help="The version to approve; default: the newest pending one.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Approve a published policy, which puts it in force. Leads are handed off under it from now on."""
    day = parse_date(on) if on else None
    with open_app() as app:
        one = approval.approve(app.ctx, by, app.clock.now(), day, version)
    approved = f"approved by {escape(one.approved_by)} on {one.approved_on}"
    print_result(one, f"Version {one.policy_version} of the policy is in force, {approved}.", json=json)


def check_policy(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """Check the policy on all open leads: overlaps, gaps, missing reps, rules that match no lead.

    The exit code is 0 if nothing must be fixed before publishing.
    """
    folder = templates_folder(templates)
    sources = read_folder(folder)
    with open_app(upgrade=True) as app:
        found = policy_check.check_policy(app.ctx, sources, app.clock.now())
    if json:
        print_json({"ok": found.ok, "leads": found.leads, "findings": found.findings})
    else:
        for one in found.findings:
            mark = "[bold red]error[/]" if one.is_error else "[yellow]warning[/]"
            out.print(f"{mark} [bold]{folder / one.file}:{one.line}[/] {escape(one.message)}", soft_wrap=True)
            named = f" Leads: {', '.join(map(str, one.examples))}." if one.examples else ""
            out.print(f"    [dim]{escape(one.remedy)}{named}[/]", soft_wrap=True)
        if not found.findings:
            out.print("[green]No problems[/]", end=" ")
        out.print(f"[dim]checked on {pluralize(found.leads, 'lead')}[/]")
    if not found.ok:
        raise typer.Exit(InvalidDefinitions.exit_code)


def diff_policies(
    templates: Annotated[
        Path | None, typer.Option("--templates", help="Compare with this folder, not with the pending version.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Compare with this version.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a pending policy (or the folder's) changes, and for how many leads."""
    with open_app() as app:
        has_pending = any(one.state == approval.PENDING for one in approval.list_versions(app.ctx))
        wanted = templates or (None if has_pending or version is not None else templates_folder(None))
        sources = read_folder(wanted) if wanted is not None else None
        found = policy_diff.compare_policies(app.ctx, app.clock.now(), sources, version)
    if json:
        print_json(found)
        return
    if not found.differences:
        out.print(f"{found.new_label.capitalize()} means the same as {found.old_label}, which is in force.")
        return
    out.print(f"[bold]From {found.old_label}, which is in force, to {found.new_label}[/]")
    for one in found.differences:
        out.print(f"  {escape(str(one))}", soft_wrap=True)
    out.print(f"\n[bold]It changes the result for {found.changed_leads:,} of {pluralize(found.leads, 'lead')}[/]")
    rows = [
        (one.part.replace("_", " "), one.before or "none", one.after or "none", one.leads, _join_ids(one.examples))
        for one in found.verdict_changes[:_MAX_SHIFTS]
    ]
    if rows:
        out.print(make_table(("result", "before", "after", "leads", "examples"), rows, right=("leads",)))
    if len(found.verdict_changes) > _MAX_SHIFTS:
        out.print(f"[dim]and {len(found.verdict_changes) - _MAX_SHIFTS} more changes; --json shows all[/]")


def _join_ids(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))


def show_policies(json: JsonOption = False) -> None:
    """List the policy versions: approver, state, and number of hand-offs."""
    with open_app() as app:
        found = approval.list_versions(app.ctx)
    if json:
        print_json(found)
        return
    if not found:
        out.print("No policy is published yet. Run `nurture publish`.")
        return
    rows = [
        (one.version, one.published_at, _STATES[one.state], one.approver, one.approved_on, one.offers) for one in found
    ]
    columns = ("version", "published (UTC)", "state", "approver", "approved on", "hand-offs")
    out.print(make_table(columns, rows, right=("version", "hand-offs")))
    pending = next((one for one in found if one.state == approval.PENDING), None)
    if pending is not None:
        out.print(f"\n{_approval_hint(pending.approver)}", soft_wrap=True)


_STATES = {
    "pending": "pending approval",
    "in_force": "in force",
    "superseded": "superseded",
    "never_approved": "never approved",
}


def _approval_hint(approver: str) -> str:
    named = escape(approver.partition(",")[0])
    return f'See what changes: `nurture policy diff`. Approve it: `nurture policy approve --by "{named}"`.'
