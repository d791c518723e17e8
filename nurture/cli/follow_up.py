"""Record a rep's follow-up, and reassign hand-offs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, out, print_json
from nurture.journey.handoff import follow_up
from nurture.journey.handoff import reassign as handoff_reassign
from nurture.journey.leads import find


def record_follow_up(
    lead: LeadArgument,
    channel: Annotated[str, typer.Option(help="call, email or meeting.")] = "call",
    json: JsonOption = False,
) -> None:
    """Record that the rep contacted a lead."""
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        rep = follow_up.record_follow_up(app.ctx, lead_id, channel, app.clock.now())
    if json:
        print_json({"lead": lead_id, "rep": rep, "channel": channel})
    else:
        out.print(f"Lead {lead_id} was contacted by {rep}: {escape(channel)}.")


def reassign(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    rep: Annotated[str, typer.Argument(help="The id of the new rep.")],
    force: Annotated[bool, typer.Option("--force", help="Even if the rep has no capacity or is away.")] = False,
    json: JsonOption = False,
) -> None:
    """Offer the lead of a hand-off to another rep, whether the hand-off is open or accepted."""
    with open_app() as app:
        one = handoff_reassign.reassign(app.ctx, offer, rep, app.clock.now(), force=force)
    if json:
        print_json({"offer": offer, "lead": one.lead_id, "from": one.rep, "to": rep})
    else:
        out.print(f"Lead {one.lead_id} is now offered to {rep}, no longer to {one.rep}.")
