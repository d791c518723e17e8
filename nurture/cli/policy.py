"""Commands of `nurture policy`: check, diff, show, approve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import TemplatesOption, parse_date, templates_folder
from nurture.cli.output import JsonOption, make_table, out, pluralize, print_json
from nurture.definitions.folder import read_folder
from nurture.errors import InvalidDefinitions
from nurture.publishing import approval, policy_check, policy_diff

_MAX_SHIFTS: Final = 20


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
    if json:
        print_json(one)
        return
    out.print(
        f"Version {one.policy_version} of the policy is in force, approved by {escape(one.approved_by)} "
        f"on {one.approved_on}."
    )


def check(templates: TemplatesOption = None, json: JsonOption = False) -> None:
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


def diff(
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


def show(json: JsonOption = False) -> None:
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
