"""Commands of `nurture handoffs reps`, and `nurture handoffs replay`."""

from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import parse_date
from nurture.cli.output import JsonOption, err, make_table, out, pluralize, print_json, print_result, print_table
from nurture.journey.handoff import roster, workspace_links
from nurture.journey.leads import find
from nurture.journey.routing.replay import replay as replay_routing


def list_reps(json: JsonOption = False) -> None:
    """List the policy's reps: availability, deputy, capacity, open hand-offs and leave."""
    with open_app() as app:
        found = roster.load_roster(app.ctx, app.clock.now())
        managers = roster.list_leaves(app.ctx, app.clock.now())
    rows = [
        (
            one.id,
            one.name,
            (one.absence_reason or "here") + (f", deputy {one.deputy}" if one.deputy else ""),
            f"{one.offers_today} of {one.capacity}",
            f"{one.open_offers}, late {one.overdue_offers}" if one.overdue_offers else one.open_offers,
            f"{one.open_leads} of {one.max_open_leads}" if one.max_open_leads is not None else one.open_leads,
            one.to_follow_up,
            f"{one.working}, silent {one.silent}" if one.silent else one.working,
            "; ".join(f"{leave.first_day} to {leave.last_day}" for leave in one.leaves),
        )
        for one in found
    ]
    counts = ("offers", "leads", "to do", "working")
    columns = ("id", "name", "today", "new today", *counts, "leave")
    print_table(columns, rows, found, json=json, right=counts)
    if not json:
        reps = {one.id for one in found}
        for each in managers:
            if each.rep not in reps:
                deputy = f"; {each.deputy} is the deputy" if each.deputy else ""
                out.print(f"{each.rep} is away from {each.first_day} to {each.last_day}{deputy}.")


def link(rep: Annotated[str, typer.Argument(help="The id of the rep or manager.")], json: JsonOption = False) -> None:
    """Create a private link to a rep's workspace, or to a manager's page. It works for 30 days."""
    with open_app() as app:
        made = workspace_links.create(app.ctx, rep, app.clock.now())
        url = made.url(app.ctx.base_url)
    if json:
        print_json({"rep": rep, "url": url, "days": workspace_links.LINK_LIFETIME.days})
        return
    err.print(f"Anyone with this link can see and do what {rep} can. It is shown only once:")
    typer.echo(url)


def revoke(rep: Annotated[str, typer.Argument(help="The rep's id.")], json: JsonOption = False) -> None:
    """Revoke all links to a rep's workspace and in the rep's briefs. Open offers stay open."""
    with open_app() as app:
        ended = workspace_links.revoke(app.ctx, rep, app.clock.now())
    if json:
        print_json({"rep": rep, "ended": ended.workspace, "ended_in_briefs": ended.offers})
    else:
        briefs = pluralize(ended.offers, "link")
        out.print(f"Revoked {pluralize(ended.workspace, 'link')} to the workspace of {rep}, and {briefs} in briefs.")
        out.print(f"To answer open offers, create a new link: nurture handoffs reps link {rep}")


def leave(
    rep: Annotated[str, typer.Argument(help="The id of the rep or manager.")],
    first: Annotated[str, typer.Argument(help="The first day away, such as 2026-12-20.")],
    last: Annotated[str | None, typer.Argument(help="The last day away; default: FIRST.")] = None,
    deputy: Annotated[str | None, typer.Option(help="The deputy's id; default: the policy's deputy.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the leave that begins on FIRST.")] = False,
    json: JsonOption = False,
) -> None:
    """Record leave. A rep's new leads go to the deputy, or to the next rule; a manager's mail goes to the deputy."""
    first_day = parse_date(first)
    last_day = parse_date(last) if last is not None else first_day
    with open_app() as app:
        now = app.clock.now()
        if cancel:
            roster.cancel_leave(app.ctx, rep, first_day, now)
        else:
            roster.add_leave(app.ctx, rep, first_day, last_day, deputy, now)
    data = {"rep": rep, "first": first, "last": str(last_day), "deputy": deputy, "cancelled": cancel}
    deputy_note = f"; {deputy} is the deputy" if deputy else ""
    recorded = f"{rep} is away from {first_day} to {last_day}{deputy_note}."
    print_result(data, f"The leave of {rep} from {first_day} is cancelled." if cancel else recorded, json=json)


def replay(
    lead: Annotated[str | None, typer.Option(help="Only the decisions about this lead.")] = None,
    json: JsonOption = False,
) -> None:
    """Repeat every routing decision from stored data, and check that each result is the same."""
    with open_app() as app:
        done = replay_routing(app.ctx, find.find_lead(app.ctx, lead) if lead is not None else None)
    if json:
        print_json({"ok": not done.differences, "replay": done})
    else:
        rows = [(one.decision_id, one.lead_id, one.before, one.after) for one in done.differences]
        if rows:
            out.print(make_table(("decision", "lead", "stored", "replayed"), rows, right=("decision", "lead")))
        summary = f"{pluralize(done.decisions, 'decision')} replayed, {len(rows):,} with a different result."
        out.print(f"[{'red' if rows else 'green'}]{escape(summary)}[/]")
    if done.differences:
        raise typer.Exit(1)
