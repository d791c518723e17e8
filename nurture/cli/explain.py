"""Explain one lead: `nurture explain`."""

from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, format_cell, make_table, out, print_result
from nurture.journey.leads import find
from nurture.reporting import explain as explanations


def explain(lead: LeadArgument, json: JsonOption = False) -> None:
    """Explain one lead: where it is, who owns it, what happens next, and why everything so far happened."""
    with open_app() as app:
        explanation = explanations.explain(app.ctx, find.find_lead(app.ctx, lead), app.clock.now())
    print_result(explanation, print_explanation, json=json)


def print_explanation(explanation: explanations.LeadExplanation) -> None:
    """Print a lead's state and its history."""
    summary = [(name, format_cell(value)) for name, value in explanations.summary(explanation)]
    out.print(f"[bold]Lead {explanation.lead_id}[/] {escape(explanation.name)}")
    for name, value in summary:
        out.print(f"  {name:<14} {escape(value)}", soft_wrap=True)
    rows = [(each.at, each.event, each.reason, each.ref) for each in explanation.history]
    out.print()
    out.print(make_table(("time (UTC)", "event", "reason", "ref"), rows))
