"""Sales and the books: handoffs, accept, reject, close, audit, report."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.operate import moment
from nurture.cli.output import JsonOption, as_json, bar, cell, counts, out, table
from nurture.cli.reports import sales
from nurture.domain.lead import Closing
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import sweep
from nurture.journey.leads import find
from nurture.journey.outcomes import outcomes
from nurture.reporting import audit as auditing
from nurture.reporting import tracks as reporting
from nurture.reporting.links import clicks_per_link

_STATES: Final = ("offered", "accepted", "rejected", "expired", "withdrawn", "reassigned", "lapsed")
report = typer.Typer(help="What the tracks and the hand-offs brought.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (
        ("handoffs", handoffs),
        ("accept", accept),
        ("reject", reject),
        ("close", close),
        ("audit", audit),
    ):
        app.command(name)(command)
    report.command("sales")(sales)
    app.add_typer(report, name="report")


def handoffs(
    state: Annotated[str | None, typer.Option(help=f"One of: {', '.join(_STATES)}.")] = None,
    rep: Annotated[str | None, typer.Option(help="Only this rep's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List hand-offs: which lead, why now, which rep and why, and what came of it."""
    if state is not None and state not in _STATES:
        raise NotFound(f"A hand-off is never {state!r}. Write one of: {', '.join(_STATES)}.")
    with open_app() as app:
        found = [
            each
            for each in reporting.handoffs_report(app.house)
            if (state is None or each.state == state) and (rep is None or each.rep == rep)
        ]
    found = sorted(found, key=lambda each: -each.offer_id)[:limit]
    if json:
        as_json(found)
        return
    rows = [
        (
            each.offer_id,
            each.lead_id,
            each.rep,
            each.state + (f": {each.reason}" if each.reason else ""),
            each.offered_at,
            each.because,
        )
        for each in found
    ]
    columns = ("id", "lead", "rep", "state", "offered (UTC)", "because")
    out.print(table(columns, rows, right=("id", "lead")) if rows else "There are no such hand-offs.")


def accept(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")], json: JsonOption = False
) -> None:
    """Take a lead over: its track ends, and it is yours."""
    with open_app() as app:
        one = sweep.accept(app.house, offer, app.clock.now())
    if json:
        as_json({"offer": offer, "lead": one.lead_id, "rep": one.rep, "state": "accepted"})
    else:
        out.print(f"Hand-off {offer} accepted: lead {one.lead_id} belongs to {one.rep}.")


def reject(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    reason: Annotated[str, typer.Option(help="One of the policy's reject reasons.")],
    decides_on: Annotated[str | None, typer.Option(help="When the lead decides, if you learned it.")] = None,
    json: JsonOption = False,
) -> None:
    """Give a lead back, with the reason; it is recycled as the policy says."""
    try:
        when = date.fromisoformat(decides_on) if decides_on else None
    except ValueError:
        raise Refused(f"{decides_on!r} is not a date. Write it as 2027-03-31.") from None
    with open_app() as app:
        one = sweep.reject(app.house, offer, reason, app.clock.now(), when)
    if json:
        as_json({"offer": offer, "lead": one.lead_id, "state": "rejected", "reason": reason})
    else:
        out.print(f"Hand-off {offer} rejected ({escape(reason)}): lead {one.lead_id} goes back.")


def close(
    lead: Annotated[str, typer.Argument(help="A lead's id, email address or external id.")],
    closing: Annotated[Closing, typer.Argument(help="How it ended.")],
    amount: Annotated[float | None, typer.Option(help="What it was worth, if won.")] = None,
    on: Annotated[str | None, typer.Option(help="When (ISO, UTC); default now.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    json: JsonOption = False,
) -> None:
    """Close a lead as won, lost, discarded or unreachable."""
    if closing in (Closing.LOST, Closing.DISCARDED) and not reason:
        raise Refused(f"A lead is closed as {closing.value} with a reason. Add --reason.")
    with open_app() as app:
        lead_id = find.find_lead(app.house, lead)
        at = moment(on) if on else None
        now = app.clock.now()
        one = outcomes.Telling(
            lead_id, closing, at, amount, reason, key="" if at else f"at {now.isoformat()}"
        )
        (verdict,) = outcomes.tell(app.house, [one], "cli", now)
    outcomes.require_agreement(verdict, lead_id)
    if json:
        as_json({"lead": lead_id, "closed": closing.value})
    else:
        out.print(f"Lead {lead_id} is closed as {closing.value}.")


def audit(json: JsonOption = False) -> None:
    """Prove that no lead fell between: exactly one custodian and one next action each, residual 0."""
    with open_app() as app:
        found = auditing.audit(app.house, app.clock.now())
    if json:
        as_json({"ok": found.ok, "audit": found})
    else:
        show_audit(found)
    if not found.ok:
        raise typer.Exit(1)


def show_audit(found: auditing.Audit) -> None:
    """Print the ledger and what is wrong."""
    kinds = list(found.total.custody)
    rows = [
        (
            each.name,
            each.leads,
            *(each.custody.get(kind, 0) for kind in kinds),
            each.residual + each.journal_residual,
        )
        for each in (*found.by_source, found.total)
    ]
    columns = ("leads in", "all", *kinds, "residual")
    out.print(table(columns, rows, title="The ledger", right=columns[1:]))
    for finding in found.findings:
        colour = "red" if finding.breach else "yellow"
        ids = ", ".join(map(str, finding.lead_ids))
        out.print(
            f"[{colour}]{finding.count:,} {escape(finding.what)}[/] {escape(finding.remedy)} [dim]{ids}[/]"
        )
    verdict = (
        "[green]Every lead has one custodian and one next action.[/]"
        if found.ok
        else "[bold red]Not in order.[/]"
    )
    out.print(verdict)


@report.command("tracks")
def report_tracks(json: JsonOption = False) -> None:
    """Show per step: sent, held, clicked, replied, left, handed off."""
    with open_app() as app:
        found = reporting.report_tracks(app.house)
    if json:
        as_json(found)
        return
    rows = [
        (
            each.track,
            each.step,
            each.sent,
            sum(each.held.values()),
            each.waiting,
            each.clicked,
            each.replied,
            each.unsubscribed,
            sum(each.left.values()),
            each.handed_off,
        )
        for each in found
    ]
    columns = (
        "track",
        "step",
        "sent",
        "held",
        "here now",
        "clicked",
        "replied",
        "unsub.",
        "left",
        "handed off",
    )
    out.print(table(columns, rows, right=columns[2:]))


@report.command("funnel")
def report_funnel(
    source: Annotated[str | None, typer.Option(help="Only leads from this source.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what became of the leads that came in."""
    with open_app() as app:
        found = reporting.report_funnel(app.house, source)
    if json:
        as_json(found)
        return
    rows = [
        ("came in", found.leads, ""),
        ("classified", sum(found.readiness.values()), counts(found.readiness)),
        ("enrolled", sum(found.enrolled.values()), counts(found.enrolled)),
        ("handed off", found.handed_off, ""),
        (
            "offered",
            found.offered,
            f"{found.accepted} accepted, {found.rejected} rejected, {found.expired} expired",
        ),
        ("recycled", found.recycled, ""),
        ("nurtured now", found.nurtured, counts(found.nurtured_on)),
        ("in queues", sum(found.queued.values()), counts(found.queued)),
        ("closed", sum(found.closed.values()), counts(found.closed)),
    ]
    out.print(table(("leads", "count", "of which"), rows, right=("count",)))


@report.command("touches")
def report_touches(json: JsonOption = False) -> None:
    """Show touches per week."""
    with open_app() as app:
        found = reporting.touches_per_week(app.house)
    if json:
        as_json(found)
        return
    show_touches(found)


def show_touches(found: list[reporting.Week]) -> None:
    """Print one bar per week."""
    most = max((week.touches for week in found), default=0)
    rows = [(week.monday, week.touches, week.leads, bar(week.touches, most)) for week in found]
    out.print(table(("week of", "touches", "leads", ""), rows, right=("touches", "leads")))


@report.command("links")
def report_links(
    track: Annotated[str | None, typer.Option(help="Only this track.")] = None, json: JsonOption = False
) -> None:
    """Show which links people follow; what machines did is counted apart."""
    with open_app() as app:
        found = clicks_per_link(app.house, track)
    if json:
        as_json(found)
        return
    rows = [
        (one.track, one.step, one.link, one.leads, one.clicks, one.sent, one.suspects, one.bots)
        for one in found
    ]
    columns = ("track", "email", "link", "leads", "clicks", "sent", "suspect", "bot")
    nothing = f"No link was followed{f' on {escape(track)}' if track else ''} yet."
    out.print(table(columns, rows, right=columns[3:]) if rows else nothing)


@report.command("wins")
def report_wins(json: JsonOption = False) -> None:
    """Show how long after the first contact leads bought."""
    with open_app() as app:
        found = reporting.wins_by_age(app.house)
    if json:
        as_json(found)
        return
    rows = [(band.name, band.wins, f"{band.share:.0%}", cell(band.amount)) for band in found.bands]
    out.print(
        table(
            ("days after first contact", "wins", "share", "amount"),
            rows,
            right=("wins", "share", "amount"),
            title=f"{found.wins:,} wins",
        )
    )
