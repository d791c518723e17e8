"""Commands of `nurture reports`: the audit, tracks, funnel, touches, links and wins."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import (
    JsonOption,
    make_table,
    out,
    pluralize,
    print_json,
    print_result,
    print_table,
)
from nurture.reporting import audit as auditing
from nurture.reporting import queues as queue_report
from nurture.reporting import report_tables, speed
from nurture.reporting import tracks as reporting
from nurture.reporting.tracks import clicks_per_link


def audit(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Count the facts behind reports again, and correct what differs.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check that every lead has exactly one custodian and one next action (residual 0)."""
    with open_app() as app:
        found = auditing.run_audit(app.ctx, app.clock.now())
        recounted = auditing.recount(app.ctx) if rebuild else None
    result = {"ok": found.ok, "audit": found} | ({"recounted": recounted} if recounted is not None else {})
    print_result(result, lambda _: print_audit(found), json=json)
    for one in recounted or () if not json else ():
        verdict = f"[yellow]{pluralize(one.rows, 'row')} corrected[/]" if one.rows else "[green]as the facts say[/]"
        out.print(f"{one.table}: {verdict}.")
    if not found.ok:
        raise typer.Exit(1)


def print_audit(found: auditing.AuditReport) -> None:
    """Print the ledger and the violations."""
    ledger = report_tables.ledger_table(found)
    out.print(make_table(ledger.columns, ledger.rows, title=ledger.title, right=ledger.right))
    for finding in found.findings:
        color = "red" if finding.is_violation else "yellow"
        ids = ", ".join(map(str, finding.lead_ids))
        which = f" [dim]({ids})[/]" if ids else ""
        out.print(f"[{color}]{escape(finding.headline)}[/] {escape(finding.remedy)}{which}")
    verdict = (
        "[green]Every lead has one custodian and one next action.[/]" if found.ok else "[bold red]The audit failed.[/]"
    )
    out.print(verdict)


def report_tracks(json: JsonOption = False) -> None:
    """Show per step of each track: sent, held, clicked, replied, unsubscribed, exited; and who reached a goal."""
    with open_app() as app:
        found, goals = reporting.report_tracks(app.ctx), reporting.report_goals(app.ctx)
    if json:
        print_json({"steps": found, "goals": goals})
        return
    if not found:
        out.print("Nothing yet.")
    for table in report_tables.step_tables(found):
        out.print(make_table(table.columns, table.rows, title=f"\n{table.title}", right=table.right))
    past_cap = [each for each in found if each.past_cap]
    if past_cap:
        steps = ", ".join(f"{each.past_cap:,} of {each.track}/{each.step}" for each in past_cap)
        out.print(f"\nSent past a cap, because they are exempt: {escape(steps)}", soft_wrap=True)
    if goals:
        table = report_tables.goal_table(goals)
        out.print(make_table(table.columns, table.rows, title=f"\n{table.title}", right=table.right))


def report_funnel(
    source: Annotated[str | None, typer.Option(help="Only leads from this source.")] = None, json: JsonOption = False
) -> None:
    """Show the funnel: imported, classified, enrolled, handed off, accepted, recycled, resting, closed."""
    with open_app() as app:
        found = reporting.report_funnel(app.ctx, source)
    table = report_tables.funnel_table(found)
    print_table(table.columns, table.rows, found, json=json, right=table.right)


def report_touches(json: JsonOption = False) -> None:
    """Show touches and touched leads per week, and the peak hour and day beside the mean."""
    with open_app() as app:
        found, peaks = reporting.touches_per_week(app.ctx), reporting.find_peaks(app.ctx)
    if json:
        print_json({"weeks": found, "peaks": peaks})
        return
    print_touches(found)
    if peaks is not None:
        out.print(
            f"\npeak hour  {peaks.hour:%Y-%m-%d %H:%M} UTC, {pluralize(peaks.in_hour, 'email')}; "
            f"{peaks.mean_per_hour:,.1f} on average in hours with any\n"
            f"peak day   {peaks.day}, {pluralize(peaks.in_day, 'email')}; "
            f"{peaks.mean_per_day:,.1f} on average on days with any",
            soft_wrap=True,
        )


def print_touches(found: list[reporting.Week]) -> None:
    """Print one bar per week."""
    max_touches = max((week.touches for week in found), default=0)
    rows = [(week.monday, week.touches, week.leads, _render_bar(week.touches, max_touches)) for week in found]
    out.print(make_table(("week of", "touches", "leads", ""), rows, right=("touches", "leads")))


def _render_bar(count: int, maximum: int, width: int = 40) -> str:
    """Return a bar for *count* on a scale up to *maximum*."""
    return "█" * max(1 if count else 0, round(width * count / maximum)) if maximum else ""


def report_links(
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None, json: JsonOption = False
) -> None:
    """Show clicks per link, with suspected and bot clicks counted separately."""
    with open_app() as app:
        found = clicks_per_link(app.ctx, track)
    table = report_tables.link_table(found)
    nothing = f"No link was clicked{f' on track {escape(track)}' if track else ''} yet."
    print_table(table.columns, table.rows, found, json=json, right=table.right, empty=nothing)


def report_wins(json: JsonOption = False) -> None:
    """Show how long after the first contact leads were won."""
    with open_app() as app:
        found = reporting.wins_by_age(app.ctx)
    table = report_tables.win_table(found)
    print_table(table.columns, table.rows, found, json=json, right=table.right, title=table.title)


def report_queues(
    days: Annotated[int, typer.Option(min=1, max=365, help="The last days of which stays are counted.")] = 30,
    json: JsonOption = False,
) -> None:
    """Show who works each queue and in which time, what waits and for how long, the median, and what was late."""
    with open_app() as app:
        found = queue_report.report_queues(app.ctx, app.clock.now(), timedelta(days=days))
    rows = [
        (
            each.queue,
            each.owner,
            each.within,
            each.waiting,
            each.waiting_late,
            f"{each.oldest:%Y-%m-%d}" if each.oldest else None,
            each.left,
            each.late,
            each.median_hours,
        )
        for each in found
    ]
    columns = ("queue", "owner", "within", "waiting", "too long", "since", "left", "late", "median h")
    empty = f"No lead was in a queue in the last {pluralize(days, 'day')}."
    print_table(columns, rows, found, json=json, right=columns[3:5] + columns[6:], empty=empty)


def report_speed(
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Only offers made in the last days.")] = 90,
    json: JsonOption = False,
) -> None:
    """Show per tier how fast a signal becomes a brief, and a brief a first contact, in minutes."""
    with open_app() as app:
        found = speed.report_speed(app.ctx, app.clock.now() - timedelta(days=days))
    rows = [
        (
            each.tier,
            each.offers,
            each.signal_to_brief_p50,
            each.signal_to_brief_p95,
            each.brief_to_touch_p50,
            each.brief_to_touch_p95,
            each.untouched,
            each.taken_back,
        )
        for each in found
    ]
    columns = ("tier", "offers", "min to brief", "95 %", "min to contact", "95 % ", "no contact", "taken back")
    empty = f"No lead was offered to a rep in the last {pluralize(days, 'day')}."
    print_table(columns, rows, found, json=json, right=columns[1:], empty=empty)
