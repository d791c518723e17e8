"""Commands of `nurture policy`: check, diff, show, approve."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, many, out, table
from nurture.definitions import read_folder
from nurture.errors import Refused, RulesFaulty
from nurture.publishing import approval, policy_check, policy_diff
from nurture.settings import Settings

TemplatesOption = Annotated[
    Path | None, typer.Option("--templates", help="The folder of rules; default NURTURE_TEMPLATES.")
]
_MOST_SHIFTS: Final = 20


def approve(
    by: Annotated[str, typer.Option(help="Your name, as `approved:` in policy.yaml has it.")],
    on: Annotated[str | None, typer.Option(help="The day on which you approved it; default today.")] = None,
    version: Annotated[int | None, typer.Option(help="Which version; default the newest that waits.")] = None,
    json: JsonOption = False,
) -> None:
    """Put a published policy in force. From now on leads are handed off under it."""
    try:
        day = date.fromisoformat(on) if on else None
    except ValueError:
        raise Refused(f"{on!r} is not a date. Write it as 2027-03-31.") from None
    with open_app() as app:
        one = approval.approve(app.house, by, app.clock.now(), day, version)
    if json:
        as_json(one)
        return
    out.print(
        f"Version {one.policy_version} of the policy is in force, approved by {escape(one.approved_by)} "
        f"on {one.approved_on}."
    )


def check(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """Check the policy on every lead that is not closed: overlaps, gaps, absent people, rules for nobody.

    It ends with exit code 0 if nothing has to be mended before it is published.
    """
    folder = templates or Settings.read().templates
    sources = read_folder(folder)
    with open_app(upgrade=True) as app:
        found = policy_check.check_policy(app.house, sources, app.clock.now())
    if json:
        as_json({"ok": found.ok, "leads": found.leads, "findings": found.findings})
    else:
        for one in found.findings:
            mark = "[bold red]mend[/]" if one.grave else "[yellow]look[/]"
            out.print(f"{mark} [bold]{folder / one.file}:{one.line}[/] {escape(one.what)}", soft_wrap=True)
            named = f" Leads: {', '.join(map(str, one.examples))}." if one.examples else ""
            out.print(f"    [dim]{escape(one.instead)}{named}[/]", soft_wrap=True)
        if not found.findings:
            out.print("[green]Nothing to mend[/]", end=" ")
        out.print(f"[dim]asked about {many(found.leads, 'lead')}[/]")
    if not found.ok:
        raise typer.Exit(RulesFaulty.exit_code)


def diff(
    templates: Annotated[
        Path | None, typer.Option("--templates", help="Compare with this folder, not with what waits.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Compare with this version.")] = None,
    json: JsonOption = False,
) -> None:
    """Say what the policy changes that waits for approval (else the folder's), and for how many leads."""
    with open_app() as app:
        waits = any(one.state == "waits" for one in approval.versions(app.house))
        wanted = templates or (None if waits or version is not None else Settings.read().templates)
        sources = read_folder(wanted) if wanted is not None else None
        found = policy_diff.compare(app.house, app.clock.now(), sources, version)
    if json:
        as_json(found)
        return
    if not found.differences:
        out.print(f"{found.new.capitalize()} means what {found.old} means, which is in force.")
        return
    out.print(f"[bold]From {found.old}, which is in force, to {found.new}[/]")
    for one in found.differences:
        out.print(f"  {escape(str(one))}", soft_wrap=True)
    out.print(f"\n[bold]It changes the verdict on {found.changed:,} of {many(found.leads, 'lead')}[/]")
    rows = [
        (one.part.replace("_", " "), one.was or "none", one.now or "none", one.leads, _some(one.examples))
        for one in found.shifts[:_MOST_SHIFTS]
    ]
    if rows:
        out.print(table(("verdict", "was", "becomes", "leads", "such as"), rows, right=("leads",)))
    if len(found.shifts) > _MOST_SHIFTS:
        out.print(f"[dim]and {len(found.shifts) - _MOST_SHIFTS} more kinds: --json shows all[/]")


def _some(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))


def show(json: JsonOption = False) -> None:
    """List the versions of the policy: who approved each, which one is in force, which ones wait."""
    with open_app() as app:
        found = approval.versions(app.house)
    if json:
        as_json(found)
        return
    if not found:
        out.print("No policy is published yet. Run `nurture publish`.")
        return
    rows = [
        (one.version, one.published_at, _STATES[one.state], one.approver, one.approved_on, one.offers)
        for one in found
    ]
    columns = ("version", "published (UTC)", "state", "approver", "approved on", "hand-offs")
    out.print(table(columns, rows, right=("version", "hand-offs")))
    waiting = next((one for one in found if one.state == "waits"), None)
    if waiting is not None:
        out.print(f"\n{_remedy(waiting.approver)}", soft_wrap=True)


_STATES = {
    "waits": "waits for approval",
    "in force": "in force",
    "before": "was in force",
    "never": "never approved",
}


def _remedy(approver: str) -> str:
    named = escape(approver.partition(",")[0])
    return f'See what changes: `nurture policy diff`. Approve it: `nurture policy approve --by "{named}"`.'
