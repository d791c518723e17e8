"""Commands of `nurture reports`: the audit, tracks, funnel, touches, links and wins."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import JsonOption, format_cell, format_counts, make_table, out, print_json, render_bar
from nurture.reporting import audit as auditing
from nurture.reporting import tracks as reporting
from nurture.reporting.links import clicks_per_link


def audit(json: JsonOption = False) -> None:
    """Check that every lead has exactly one custodian and one next action (residual 0)."""
    with open_app() as app:
        found = auditing.run_audit(app.ctx, app.clock.now())
    if json:
        print_json({"ok": found.ok, "audit": found})
    else:
        print_audit(found)
    if not found.ok:
        raise typer.Exit(1)


def print_audit(found: auditing.AuditReport) -> None:
    """Print the ledger and the violations."""
    kinds = list(found.total.custody)
    rows = [
        (each.name, each.leads, *(each.custody.get(kind, 0) for kind in kinds), each.residual + each.journal_residual)
        for each in (*found.by_source, found.total)
    ]
    columns = ("source", "leads", *kinds, "residual")
    out.print(make_table(columns, rows, title="The ledger", right=columns[1:]))
    for finding in found.findings:
        color = "red" if finding.is_violation else "yellow"
        ids = ", ".join(map(str, finding.lead_ids))
        out.print(f"[{color}]{finding.count:,} {escape(finding.description)}[/] {escape(finding.remedy)} [dim]{ids}[/]")
    verdict = (
        "[green]Every lead has one custodian and one next action.[/]" if found.ok else "[bold red]The audit failed.[/]"
    )
    out.print(verdict)


def report_tracks(json: JsonOption = False) -> None:
    """Show per step of each track: sent, held, clicked, replied, unsubscribed, exited, handed off."""
    with open_app() as app:
        found = reporting.report_tracks(app.ctx)
    if json:
        print_json(found)
        return
    rows = [
        (
            each.track,
            each.step,
            each.sent,
            sum(each.holds.values()),
            each.waiting,
            each.clicked,
            each.replied,
            each.unsubscribed,
            sum(each.exits.values()),
            each.handed_off,
        )
        for each in found
    ]
    columns = ("track", "step", "sent", "held", "here now", "clicked", "replied", "unsub.", "exited", "handed off")
    out.print(make_table(columns, rows, right=columns[2:]))


def report_funnel(
    source: Annotated[str | None, typer.Option(help="Only leads from this source.")] = None, json: JsonOption = False
) -> None:
    """Show the funnel: imported, classified, enrolled, handed off, accepted, recycled, closed."""
    with open_app() as app:
        found = reporting.report_funnel(app.ctx, source)
    if json:
        print_json(found)
        return
    rows = [
        ("imported", found.leads, ""),
        ("classified", sum(found.readiness.values()), format_counts(found.readiness)),
        ("enrolled", sum(found.enrolled.values()), format_counts(found.enrolled)),
        ("handed off", found.handed_off, ""),
        ("offered", found.offered, f"{found.accepted} accepted, {found.rejected} rejected, {found.expired} expired"),
        ("recycled", found.recycled, ""),
        ("on a track now", found.nurtured, format_counts(found.nurtured_on)),
        ("in queues", sum(found.queued.values()), format_counts(found.queued)),
        ("closed", sum(found.closed.values()), format_counts(found.closed)),
    ]
    out.print(make_table(("leads", "count", "details"), rows, right=("count",)))


def report_touches(json: JsonOption = False) -> None:
    """Show touches and touched leads per week."""
    with open_app() as app:
        found = reporting.touches_per_week(app.ctx)
    if json:
        print_json(found)
        return
    print_touches(found)


def print_touches(found: list[reporting.Week]) -> None:
    """Print one bar per week."""
    max_touches = max((week.touches for week in found), default=0)
    rows = [(week.monday, week.touches, week.leads, render_bar(week.touches, max_touches)) for week in found]
    out.print(make_table(("week of", "touches", "leads", ""), rows, right=("touches", "leads")))


def report_links(
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None, json: JsonOption = False
) -> None:
    """Show clicks per link, with suspected and bot clicks counted separately."""
    with open_app() as app:
        found = clicks_per_link(app.ctx, track)
    if json:
        print_json(found)
        return
    rows = [(one.track, one.step, one.link, one.leads, one.clicks, one.sent, one.suspects, one.bots) for one in found]
    columns = ("track", "email", "link", "leads", "clicks", "sent", "suspect", "bot")
    nothing = f"No link was clicked{f' on track {escape(track)}' if track else ''} yet."
    out.print(make_table(columns, rows, right=columns[3:]) if rows else nothing)


def report_wins(json: JsonOption = False) -> None:
    """Show how long after the first contact leads were won."""
    with open_app() as app:
        found = reporting.wins_by_age(app.ctx)
    if json:
        print_json(found)
        return
    rows = [(band.name, band.wins, f"{band.share:.0%}", format_cell(band.amount)) for band in found.bands]
    out.print(
        make_table(
            ("days after first contact", "wins", "share", "amount"),
            rows,
            right=("wins", "share", "amount"),
            title=f"{found.wins:,} wins",
        )
    )
