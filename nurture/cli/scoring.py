"""Show a lead's score, and record its budget, authority and need."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument, parse_date
from nurture.cli.output import JsonOption, format_cell, make_table, out, print_result
from nurture.domain.scoring.bant import Confidence
from nurture.journey.leads import find
from nurture.journey.scoring import breakdown
from nurture.journey.scoring.breakdown import ScoreBreakdown, ScoreLine, ScoreThreshold
from nurture.journey.tracks import manual

_COLUMNS = ("date (UTC)", "signal", "points", "half-life", "now", "verdict", "reason")


class ConfidenceOption(StrEnum):
    """The confidence of an answer, as typed on the command line."""

    GUESSED = "guessed"
    STATED = "stated"
    CONFIRMED = "confirmed"


def score(lead: LeadArgument, json: JsonOption = False) -> None:
    """Show a lead's score breakdown: each signal, the points left of it, and when the sum falls below a threshold."""
    with open_app() as app:
        found = breakdown.score_breakdown(app.ctx, find.find_lead(app.ctx, lead), app.clock.now())
    print_result(found, print_score_breakdown, json=json)


def qualify(
    lead: LeadArgument,
    source: Annotated[str, typer.Option(help="The source: a rep's id, a form, a call.")],
    budget: Annotated[str | None, typer.Option(help="What is known of the budget.")] = None,
    authority: Annotated[str | None, typer.Option(help="The lead's say in the decision.")] = None,
    need: Annotated[str | None, typer.Option(help="What the lead needs.")] = None,
    confidence: Annotated[ConfidenceOption, typer.Option(help="How sure it is.")] = ConfidenceOption.STATED,
    on: Annotated[str | None, typer.Option(help="The day on which it was stated; default today.")] = None,
    json: JsonOption = False,
) -> None:
    """Record a lead's budget, authority or need, with its source, day and confidence."""
    day = parse_date(on) if on else None
    options = {"budget": budget, "authority": authority, "need": need}
    answers = {name: value for name, value in options.items() if value}
    with open_app() as app:
        lead_id, now = find.find_lead(app.ctx, lead), app.clock.now()
        manual.qualify(
            app.ctx, lead_id, answers, now, source=source, confidence=Confidence[confidence.name], stated_on=day
        )
    data = {"lead": lead_id, "answers": answers, "source": source, "confidence": confidence.value}
    text = f"Lead {lead_id}: {' and '.join(answers)} {confidence.value} by {escape(source)}."
    print_result(data, text, json=json)


def print_score_breakdown(found: ScoreBreakdown) -> None:
    """Print a score breakdown: its lines, the sum and the thresholds."""
    out.print(f"[bold]Lead {found.lead_id}[/]: fit {found.fit}, engagement {found.engagement:,.1f}")
    out.print(f"  fit {found.fit}: {escape(found.fit_reason)}")
    if found.lines:
        out.print(make_table(_COLUMNS, map(_row, found.lines), right=("points", "now")))
    else:
        out.print("  No signals yet.")
    for one in found.half_lives:
        out.print(f"  {one.total:>8,.1f}  {escape(one.name)}")
    out.print(f"[bold]  {found.engagement:>8,.1f}[/]  total, by policy version {found.policy_version}")
    if found.counts_since is not None:
        out.print(f"  Only signals after {format_cell(found.counts_since)} UTC count: a rep answered then.")
    for drop in found.thresholds:
        out.print(f"  {_describe_drop(drop)}")


def _row(entry: ScoreLine) -> tuple[object, ...]:
    signal = " ".join(word for word in (entry.kind.replace("_", " "), entry.step, entry.link) if word)
    return entry.at, signal, entry.points, entry.half_life, entry.remaining, entry.verdict, entry.reason


def _describe_drop(drop: ScoreThreshold) -> str:
    threshold = f"{drop.value:g} ({escape(drop.used_by)})"
    if drop.falls_below_at is not None:
        return f"falls below {threshold} on {drop.falls_below_at:%Y-%m-%d %H:%M:%S} UTC without new signals"
    return f"never falls below {threshold}" if drop.reached else f"is below {threshold}"
