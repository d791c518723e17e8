"""After an offer: `nurture handoffs follow-up` and `reassign`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, out
from nurture.journey.handoff import follow_up
from nurture.journey.handoff import reassign as handoff_reassign
from nurture.journey.leads import find


def followed_up(
    lead: Annotated[str, typer.Argument(help="A lead's id, email address or external id.")],
    how: Annotated[str, typer.Option(help="How: call, email, meeting.")] = "call",
    json: JsonOption = False,
) -> None:
    """Say that its rep was in touch with a lead."""
    with open_app() as app:
        lead_id = find.find_lead(app.house, lead)
        rep = follow_up.followed_up(app.house, lead_id, how, app.clock.now())
    if json:
        as_json({"lead": lead_id, "rep": rep, "how": how})
    else:
        out.print(f"Lead {lead_id} was followed up by {rep}: {escape(how)}.")


def reassign(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    rep: Annotated[str, typer.Argument(help="The id of the rep who gets it.")],
    anyway: Annotated[bool, typer.Option("--anyway", help="Though they have no room, or are away.")] = False,
    json: JsonOption = False,
) -> None:
    """Offer the lead of a hand-off to another rep, whether it was answered or taken over."""
    with open_app() as app:
        one = handoff_reassign.reassign(app.house, offer, rep, app.clock.now(), anyway=anyway)
    if json:
        as_json({"offer": offer, "lead": one.lead_id, "from": one.rep, "to": rep})
    else:
        out.print(f"Lead {one.lead_id} is offered to {rep} now, no longer {one.rep}'s.")
