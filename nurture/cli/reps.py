"""Commands of `nurture handoffs reps`, and `nurture handoffs replay` for routing decisions."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import JsonOption, err, make_table, out, pluralize, print_json
from nurture.errors import InvalidState
from nurture.journey.handoff import roster, workspace_links
from nurture.journey.leads import find
from nurture.journey.routing.replay import replay as replay_routing


def list_reps(json: JsonOption = False) -> None:
    """List the policy's reps: who is there today, what they have, and who stands in."""
    with open_app() as app:
        found = roster.load_roster(app.ctx, app.clock.now())
    if json:
        print_json(found)
        return
    rows = [
        (
            one.id,
            one.name,
            one.absence_reason or "there",
            one.deputy,
            f"{one.offers_today} of {one.capacity}",
            one.open_offers,
            one.overdue_offers,
            f"{one.open_leads} of {one.max_open_leads}" if one.max_open_leads is not None else one.open_leads,
            one.to_follow_up,
            "; ".join(f"{leave.first_day} to {leave.last_day}" for leave in one.leaves),
        )
        for one in found
    ]
    columns = ("id", "name", "today", "deputy", "new today", "open", "overdue", "in hand", "to call", "leave")
    out.print(make_table(columns, rows, right=("open", "overdue", "in hand", "to call")))


def link(rep: Annotated[str, typer.Argument(help="The rep's id.")], json: JsonOption = False) -> None:
    """Make a link to a rep's own page, for that rep alone. It works for 30 days."""
    with open_app() as app:
        made = workspace_links.create(app.ctx, rep, app.clock.now())
        url = made.url(app.ctx.base_url)
    if json:
        print_json({"rep": rep, "url": url, "days": workspace_links.LINK_LIFETIME.days})
        return
    err.print(f"Whoever has this link can answer for {rep}. Shown only now:")
    typer.echo(url)


def revoke(rep: Annotated[str, typer.Argument(help="The rep's id.")], json: JsonOption = False) -> None:
    """End every link to a rep's page and in the rep's briefs at once. Open offers stay open."""
    with open_app() as app:
        ended = workspace_links.revoke(app.ctx, rep, app.clock.now())
    if json:
        print_json({"rep": rep, "ended": ended.workspace, "ended_in_briefs": ended.offers})
    else:
        briefs = pluralize(ended.offers, "link")
        out.print(f"{pluralize(ended.workspace, 'link')} to the page of {rep} and {briefs} in briefs ended.")
        out.print(f"Open offers can be answered on a new page: nurture handoffs reps link {rep}")


def leave(
    rep: Annotated[str, typer.Argument(help="The rep's id.")],
    first: Annotated[str, typer.Argument(help="The first day away, as 2026-12-20.")],
    last: Annotated[str | None, typer.Argument(help="The last day away; default: that one day.")] = None,
    deputy: Annotated[str | None, typer.Option(help="Who stands in; default: as the policy says.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Take back the leave that begins on FIRST.")] = False,
    json: JsonOption = False,
) -> None:
    """Note a rep's leave: new leads go to the deputy meanwhile, or on to the next rule."""
    first_day = _parse_date(first)
    last_day = _parse_date(last) if last is not None else first_day
    with open_app() as app:
        now = app.clock.now()
        if cancel:
            roster.cancel_leave(app.ctx, rep, first_day, now)
        else:
            roster.add_leave(app.ctx, rep, first_day, last_day, deputy, now)
    if json:
        print_json({"rep": rep, "first": first, "last": str(last_day), "deputy": deputy, "cancelled": cancel})
    elif cancel:
        out.print(f"The leave of {rep} that began on {first_day} is taken back.")
    else:
        deputy_note = f"; {deputy} stands in" if deputy else ""
        out.print(f"{rep} is away from {first_day} to {last_day}{deputy_note}.")


def _parse_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidState(f"{text!r} is not a date. Write it as 2026-12-20.") from None


def replay(
    lead: Annotated[str | None, typer.Option(help="Only the decisions about this lead.")] = None,
    json: JsonOption = False,
) -> None:
    """Make every decision of routing again from what is stored: each must have the same result."""
    with open_app() as app:
        done = replay_routing(app.ctx, find.find_lead(app.ctx, lead) if lead is not None else None)
    if json:
        print_json({"ok": not done.differences, "replay": done})
    else:
        rows = [(one.decision_id, one.lead_id, one.before, one.after) for one in done.differences]
        if rows:
            out.print(make_table(("decision", "lead", "was", "would be"), rows, right=("decision", "lead")))
        summary = f"{pluralize(done.decisions, 'decision')} made again, {len(rows):,} with another result."
        out.print(f"[{'red' if rows else 'green'}]{escape(summary)}[/]")
    if done.differences:
        raise typer.Exit(1)
