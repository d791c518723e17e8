"""Explain one lead: `nurture explain`."""

from __future__ import annotations

from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, as_json, cell, out, table
from nurture.journey.leads import find
from nurture.reporting import explain as explanations


def explain(lead: LeadArgument, json: JsonOption = False) -> None:
    """Say where a lead is, who owns it, what happens next, and why everything so far happened."""
    with open_app() as app:
        trace = explanations.why(app.house, find.find_lead(app.house, lead), app.clock.now())
    if json:
        as_json(trace)
        return
    show_trace(trace)


def show_trace(trace: explanations.Trace) -> None:
    """Print everything that is known about one lead's way."""
    facts = [(name, cell(value)) for name, value in explanations.summary(trace)]
    out.print(f"[bold]Lead {trace.lead_id}[/] {escape(trace.name)}")
    for name, value in facts:
        out.print(f"  {name:<14} {escape(value)}", soft_wrap=True)
    rows = [(each.at, each.event, each.because, each.ref) for each in trace.history]
    out.print()
    out.print(table(("when (UTC)", "what", "because", "ref"), rows))
