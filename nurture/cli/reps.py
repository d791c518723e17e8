"""Commands of `nurture handoffs reps`, and `nurture handoffs replay` for routing decisions."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, err, many, out, table
from nurture.errors import Refused
from nurture.journey.handoff import roster, workspace_links
from nurture.journey.leads import find
from nurture.journey.routing.replay import replay as ask_again


def listing(json: JsonOption = False) -> None:
    """List the policy's reps: who is there today, what they have, and who stands in."""
    with open_app() as app:
        found = roster.roster(app.house, app.clock.now())
    if json:
        as_json(found)
        return
    rows = [
        (
            one.id,
            one.name,
            one.away or "there",
            one.deputy,
            f"{one.today} of {one.capacity}",
            one.open,
            one.overdue,
            f"{one.in_hand} of {one.most_in_hand}" if one.most_in_hand is not None else one.in_hand,
            one.to_follow_up,
            "; ".join(f"{leave.first_day} to {leave.last_day}" for leave in one.leaves),
        )
        for one in found
    ]
    columns = ("id", "name", "today", "deputy", "new today", "open", "overdue", "in hand", "to call", "leave")
    out.print(table(columns, rows, right=("open", "overdue", "in hand", "to call")))


def link(rep: Annotated[str, typer.Argument(help="The rep's id.")], json: JsonOption = False) -> None:
    """Make a link to a rep's own page, for that rep alone. It works for 30 days."""
    with open_app() as app:
        made = workspace_links.create(app.house, rep, app.clock.now())
        url = made.url(app.house.base_url)
    if json:
        as_json({"rep": rep, "url": url, "days": workspace_links.WORKS_FOR.days})
        return
    err.print(f"Whoever has this link can answer for {rep}. Shown only now:")
    typer.echo(url)


def revoke(rep: Annotated[str, typer.Argument(help="The rep's id.")], json: JsonOption = False) -> None:
    """End every link to a rep's page and in the rep's briefs at once. Open offers stay open."""
    with open_app() as app:
        ended = workspace_links.revoke(app.house, rep, app.clock.now())
    if json:
        as_json({"rep": rep, "ended": ended.page, "ended_in_briefs": ended.offers})
    else:
        briefs = many(ended.offers, "link")
        out.print(f"{many(ended.page, 'link')} to the page of {rep} and {briefs} in briefs ended.")
        out.print(f"Open offers can be answered on a new page: nurture handoffs reps link {rep}")


def leave(
    rep: Annotated[str, typer.Argument(help="The rep's id.")],
    first: Annotated[str, typer.Argument(help="The first day away, as 2026-12-20.")],
    last: Annotated[str | None, typer.Argument(help="The last day away; default: that one day.")] = None,
    deputy: Annotated[str | None, typer.Option(help="Who stands in; default: as the policy says.")] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Take back the leave that begins on FIRST.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Note a rep's leave: new leads go to the deputy meanwhile, or on to the next rule."""
    begins = _day(first)
    ends = _day(last) if last is not None else begins
    with open_app() as app:
        now = app.clock.now()
        if cancel:
            roster.cancel_leave(app.house, rep, begins, now)
        else:
            roster.add_leave(app.house, rep, begins, ends, deputy, now)
    if json:
        as_json({"rep": rep, "first": first, "last": str(ends), "deputy": deputy, "cancelled": cancel})
    elif cancel:
        out.print(f"The leave of {rep} that began on {begins} is taken back.")
    else:
        stands_in = f"; {deputy} stands in" if deputy else ""
        out.print(f"{rep} is away from {begins} to {ends}{stands_in}.")


def _day(told: str) -> date:
    try:
        return date.fromisoformat(told)
    except ValueError:
        raise Refused(f"{told!r} is not a date. Write it as 2026-12-20.") from None


def replay(
    lead: Annotated[str | None, typer.Option(help="Only the decisions about this lead.")] = None,
    json: JsonOption = False,
) -> None:
    """Make every decision of routing again from what is stored: each must have the same result."""
    with open_app() as app:
        done = ask_again(app.house, find.find_lead(app.house, lead) if lead is not None else None)
    if json:
        as_json({"ok": not done.differences, "replay": done})
    else:
        rows = [(one.decision, one.lead, one.was, one.would_be) for one in done.differences]
        if rows:
            out.print(table(("decision", "lead", "was", "would be"), rows, right=("decision", "lead")))
        told = f"{many(done.decisions, 'decision')} made again, {len(rows):,} with another result."
        out.print(f"[{'red' if rows else 'green'}]{escape(told)}[/]")
    if done.differences:
        raise typer.Exit(1)
