"""Explain one lead: `nurture explain`."""

from datetime import datetime
from functools import partial
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, format_cell, make_table, out, print_result
from nurture.definitions.schema_check import InvalidValue
from nurture.definitions.values import read_zone
from nurture.domain.planning.calendar import to_local
from nurture.errors import NotFound
from nurture.journey.leads import find
from nurture.reporting import explain as explanations

_OF_LEAD: Final = "lead"


def explain(
    lead: LeadArgument,
    zone: Annotated[
        str, typer.Option(help="Show times in this zone, such as Europe/Berlin; `lead` is that of the lead.")
    ] = "UTC",
    json: JsonOption = False,
) -> None:
    """Explain one lead: where it is, who owns it, what happens next, and why everything so far happened."""
    if zone != _OF_LEAD:
        _check_zone(zone)
    with open_app() as app:
        explanation = explanations.explain(app.ctx, find.find_lead(app.ctx, lead), app.clock.now())
    print_result(explanation, partial(print_explanation, zone=zone), json=json)


def _check_zone(zone: str) -> None:
    try:
        read_zone(zone)
    except InvalidValue as error:
        raise NotFound(f"{str(error)[0].upper()}{str(error)[1:]}") from error


def print_explanation(explanation: explanations.LeadExplanation, zone: str = "UTC") -> None:
    """Print a lead's state and its history, with times in *zone*, or in that of the lead if it is `lead`."""
    shown_zone = explanation.zone or "UTC" if zone == _OF_LEAD else zone

    def localized(value: object) -> object:
        return to_local(value, shown_zone) if isinstance(value, datetime) else value

    out.print(f"[bold]Lead {explanation.lead_id}[/] {escape(explanation.name)}")
    for name, value in explanations.summary(explanation):
        shown = f"{format_cell(localized(value))}{f' {shown_zone}' if isinstance(value, datetime) else ''}"
        out.print(f"  {name:<14} {escape(shown)}", soft_wrap=True)
    rows = [(localized(each.at), each.event, each.reason, each.ref) for each in explanation.history]
    out.print()
    out.print(make_table((f"time ({shown_zone})", "event", "reason", "ref"), rows))
