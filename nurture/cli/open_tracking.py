"""Consent to open tracking: `nurture leads open-tracking`."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, format_cell, out, print_json
from nurture.journey.engagement import clicks
from nurture.journey.leads import find


def open_tracking(
    lead: LeadArgument,
    agreed: Annotated[
        bool | None, typer.Option("--agreed/--withdrawn", help="Record that the lead agreed, or withdrew.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show or record whether a lead agreed to open tracking. Without consent, opens are not recorded."""
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        if agreed is not None:
            clicks.set_open_tracking(app.ctx, lead_id, granted=agreed, source="admin", now=app.clock.now())
        known = clicks.load_open_consent(app.ctx, lead_id)
    if json:
        print_json({"lead": lead_id, **known._asdict()})
    elif not known.granted:
        out.print(f"Lead {lead_id} has not agreed: its mail has no tracking pixel, and opens are not recorded.")
    else:
        newest = format_cell(known.last_open_on) if known.last_open_on else "never recorded"
        if known.last_open_verdict is not None:
            reason = f": {known.last_open_reason}" if known.last_open_reason else ""
            newest += f" ({known.last_open_verdict}{reason})"
        out.print(f"Lead {lead_id} agreed, as of {format_cell(known.stated_at)} UTC. Last open: {newest}.")
