"""Show a lead's score, and record its budget, authority and need."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, as_json, cell, out, table
from nurture.domain.scoring.bant import Sure
from nurture.errors import Refused
from nurture.journey.leads import find
from nurture.journey.scoring import breakdown
from nurture.journey.scoring.breakdown import Entry, Falls, Reckoning
from nurture.journey.tracks import manual

_COLUMNS = ("date (UTC)", "deed", "points", "half-life", "now", "verdict", "why")


class Surely(StrEnum):
    """How sure it is, as people type it."""

    GUESSED = "guessed"
    TOLD = "told"
    CONFIRMED = "confirmed"


def score(lead: LeadArgument, json: JsonOption = False) -> None:
    """Show how a lead's score comes about: each deed, what is left of its points, and when the sum falls."""
    with open_app() as app:
        found = breakdown.reckon(app.house, find.find_lead(app.house, lead), app.clock.now())
    if json:
        as_json(found)
        return
    show_reckoning(found)


def qualify(
    lead: LeadArgument,
    source: Annotated[str, typer.Option(help="Who says so: a rep's id, a form, a call.")],
    budget: Annotated[str | None, typer.Option(help="What is known of its budget.")] = None,
    authority: Annotated[str | None, typer.Option(help="What say it has.")] = None,
    need: Annotated[str | None, typer.Option(help="What it needs.")] = None,
    sure: Annotated[Surely, typer.Option(help="How sure that is.")] = Surely.TOLD,
    on: Annotated[str | None, typer.Option(help="The day on which it was said; default today.")] = None,
    json: JsonOption = False,
) -> None:
    """Keep what somebody learned of a lead's budget, authority or need, with the day and how sure it is."""
    try:
        day = date.fromisoformat(on) if on else None
    except ValueError:
        raise Refused(f"{on!r} is not a date. Write it as 2027-03-31.") from None
    given = {"budget": budget, "authority": authority, "need": need}
    said = {name: value for name, value in given.items() if value}
    with open_app() as app:
        lead_id, now = find.find_lead(app.house, lead), app.clock.now()
        manual.qualify(app.house, lead_id, said, now, source=source, sure=Sure[sure.name], on=day)
    if json:
        as_json({"lead": lead_id, "said": said, "source": source, "sure": sure.value})
    else:
        out.print(f"Lead {lead_id}: {' and '.join(said)} {sure.value} by {escape(source)}.")


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
