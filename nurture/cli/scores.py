"""Scores: the arithmetic behind a lead's number and letter."""

from __future__ import annotations

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.leads import LeadArgument
from nurture.cli.show import JsonOption, as_json, cell, out, table
from nurture.journey import explain, reckoning
from nurture.journey.reckoning import Entry, Falls, Reckoning

_COLUMNS = ("date (UTC)", "deed", "points", "half-life", "now", "verdict", "why")


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("score")(score)


def score(lead: LeadArgument, json: JsonOption = False) -> None:
    """Show how a lead's score comes about: each deed, what is left of its points, and when the sum falls."""
    with open_app() as app:
        found = reckoning.reckon(app.house, explain.find_lead(app.house, lead), app.clock.now())
    if json:
        as_json(found)
        return
    show_reckoning(found)


def show_reckoning(found: Reckoning) -> None:
    """Print a score as a sum with its lines."""
    out.print(f"[bold]Lead {found.lead_id}[/]: fit {found.fit}, engagement {found.engagement:,.1f}")
    out.print(f"  fit {found.fit}: {escape(found.fit_because)}")
    if found.entries:
        out.print(table(_COLUMNS, map(_row, found.entries), right=("points", "now")))
    else:
        out.print("  It did nothing yet that we know of.")
    for one in found.half_lives:
        out.print(f"  {one.now:>8,.1f}  {escape(one.name)}")
    out.print(f"[bold]  {found.engagement:>8,.1f}[/]  together, by policy version {found.policy_version}")
    if found.counts_since is not None:
        out.print(f"  Only what came after {cell(found.counts_since)} UTC counts: then a rep answered.")
    for falls in found.falls:
        out.print(f"  {_told(falls)}")


def _row(entry: Entry) -> tuple[object, ...]:
    deed = " ".join(word for word in (entry.kind.replace("_", " "), entry.step, entry.link) if word)
    return entry.at, deed, entry.points, entry.half_life, entry.now, entry.verdict, entry.because


def _told(falls: Falls) -> str:
    asked = f"{falls.asked:g} ({escape(falls.by)})"
    if falls.at is not None:
        return f"falls below {asked} on {falls.at:%Y-%m-%d %H:%M:%S} UTC if nothing happens"
    return f"never falls below {asked}" if falls.reached else f"is below {asked}"
