"""For sales: what its policy says, what a new version changes, and approving it."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.show import JsonOption, as_json, out, table
from nurture.errors import Refused
from nurture.journey import approval

policy = typer.Typer(help="See and approve what sales decided.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(policy, name="policy")


@policy.command()
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


@policy.command()
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
