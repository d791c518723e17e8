"""Consent to open tracking: `nurture leads open-tracking`."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, as_json, cell, out
from nurture.journey.engagement import clicks
from nurture.journey.leads import find


def opens(
    lead: LeadArgument,
    agreed: Annotated[
        bool | None, typer.Option("--agreed/--withdrawn", help="Write what the lead said of it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show or write whether a lead agreed that we hear when mail is opened. Nobody has until told so."""
    with open_app() as app:
        lead_id = find.find_lead(app.house, lead)
        if agreed is not None:
            clicks.state_opens(app.house, lead_id, granted=agreed, source="admin", now=app.clock.now())
        known = clicks.opens_of(app.house, lead_id)
    if json:
        as_json({"lead": lead_id, **known._asdict()})
    elif not known.granted:
        out.print(f"Lead {lead_id} has not agreed: its mail has no pixel, and no open is kept.")
    else:
        newest = cell(known.last_open_on) if known.last_open_on else "never, as far as we know"
        if known.last_open_verdict is not None:
            why = f": {known.last_open_because}" if known.last_open_because else ""
            newest += f" ({known.last_open_verdict}{why})"
        out.print(f"Lead {lead_id} agreed, as of {cell(known.stated_at)} UTC. It last opened mail: {newest}.")
