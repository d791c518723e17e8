"""Commands of `nurture handoffs crm`: sync, check, drift."""

from collections import Counter
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.deliverability import print_breaker
from nurture.cli.output import JsonOption, make_table, out, print_json
from nurture.clock import parse_time
from nurture.crm.base import Crm, CrmUnavailable
from nurture.crm.registry import CRMS, NO_CRM
from nurture.db import clock_row
from nurture.errors import InvalidState, Misconfigured
from nurture.journey.crm_sync import drift as crm_sync_drift
from nurture.journey.crm_sync import pull, push
from nurture.journey.delivery import circuit_breakers
from nurture.outbox import crm_records
from nurture.reporting.wording import format_counts


def sync(
    resync_since: Annotated[
        str | None,
        typer.Option(
            help="Also push again all hand-offs offered since this time (ISO, UTC), after a change in the CRM."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Push hand-offs to the CRM, each once and in order; pull follow-ups, owners and outcomes from it."""
    with open_app() as app:
        crm = _require_crm(app)
        now = app.clock.now()
        with app.database.write() as tx:
            clock_row.advance_to(tx, now)
        requeued = _requeue_handoffs(app, parse_time(resync_since)) if resync_since else 0
        pushed = push.push(app.ctx, app.clock)
        pulled = pull.pull(app.ctx, app.clock.now())
        with app.database.read() as tx:
            handoff_states = crm_records.count_by_state(tx)
        paused = [
            one for one in circuit_breakers.load_deliverability_status(app.ctx, now).breakers if one.name == crm.name
        ]
    if json:
        payload = {"crm": crm.name, "requeued": requeued, "pushed": dict(pushed)}
        print_json(payload | {"pulled": pulled, "handoffs": handoff_states, "breakers": paused})
        return
    out.print(f"{crm.name}: {format_counts(pushed) or 'nothing to push'}")
    out.print(f"Pulled: {format_counts(pulled.counts) or 'nothing new'}")
    for status, count in sorted(pulled.unknown_statuses.items()):
        what = f"{count:,} with the status {status!r}, which sales/crm.yaml does not map"
        out.print(f"[yellow]unknown[/] {escape(what)}")
    for problem in pulled.problems:
        out.print(f"[red]not read[/] {escape(problem)}")
    rows = [(one.state.replace("_", " "), one.record_count, one.since, one.reason) for one in handoff_states]
    if rows:
        out.print(make_table(("hand-offs", "count", "oldest since (UTC)", "reason"), rows, right=("count",)))
    for breaker in paused:
        print_breaker(breaker)


def check(json: JsonOption = False) -> None:
    """Check whether the CRM is set up for hand-offs, and list what is missing. Nothing is written."""
    with open_app() as app:
        crm = _require_crm(app)
        try:
            problems = list(crm.check(app.clock.now()))
        except CrmUnavailable as down:
            problems = [down.reason]
    if json:
        print_json({"crm": crm.name, "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            out.print(f"[red]{crm.name}[/] {escape(problem)}")
        if not problems:
            out.print(f"[green]{crm.name} is set up for hand-offs.[/]")
    if problems:
        raise typer.Exit(Misconfigured.exit_code)


def drift(json: JsonOption = False) -> None:
    """List the leads on which the CRM and nurture differ, and what to do. Nothing is written."""
    with open_app() as app:
        crm = _require_crm(app)
        try:
            found = crm_sync_drift.find_drift(app.ctx, crm)
        except CrmUnavailable as down:
            raise InvalidState(f"{crm.name} cannot be reached: {down.reason}") from down
    if json:
        print_json({"crm": crm.name, "drift": found})
    else:
        rows = [(one.lead_id, one.field, one.crm_says, one.we_say) for one in found]
        columns = ("lead", "field", f"in {crm.name}", "in nurture")
        out.print(
            make_table(columns, rows, right=("lead",)) if rows else f"{crm.name} and nurture agree on every lead."
        )
        for (what, remedy), times in Counter((one.field, one.remedy) for one in found).items():
            out.print(f"{escape(what)} ({times:,}): {escape(remedy)}")
    if found:
        raise typer.Exit(1)


def _require_crm(app: App) -> Crm:
    if app.ctx.crm is None:
        reason = "NURTURE_CRM is none" if app.settings.crm == NO_CRM else "a database in virtual time uses no CRM"
        raise InvalidState(f"No CRM is connected: {reason}. Set NURTURE_CRM: {', '.join(CRMS)}.")
    return app.ctx.crm


def _requeue_handoffs(app: App, since: datetime) -> int:
    with app.database.write() as tx:
        return crm_records.plan_existing_offers(tx, since, app.clock.now())
