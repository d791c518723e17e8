"""Commands of `nurture handoffs crm`: sync, check, drift."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.arguments import moment
from nurture.cli.deliverability import tell_brake
from nurture.cli.output import JsonOption, as_json, counts, out, table
from nurture.crm.base import Crm, CrmDown
from nurture.db import clock_row
from nurture.errors import Misconfigured, Refused
from nurture.journey.crm_sync import drift as crm_sync_drift
from nurture.journey.crm_sync import pull, push
from nurture.journey.delivery import circuit_breakers
from nurture.outbox import crm_records


def sync(
    again_since: Annotated[
        str | None,
        typer.Option(
            help="Also tell anew what was offered since then (ISO, UTC): after a change of the CRM."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Tell the CRM of hand-offs, each once and in order; read what sales did there."""
    with open_app() as app:
        crm = _crm(app)
        now = app.clock.now()
        with app.database.write() as connection:
            clock_row.note(connection, now)
        planned = _plan_again(app, moment(again_since)) if again_since else 0
        done = push.hand_back(app.house, app.clock)
        read = pull.read_back(app.house, app.clock.now())
        with app.database.read() as connection:
            standing = crm_records.standing(connection)
        paused = [one for one in circuit_breakers.standing(app.house, now).brakes if one.name == crm.name]
    if json:
        told = {"crm": crm.name, "planned_again": planned, "did": dict(done)}
        as_json(told | {"read": read, "standing": standing, "paused": paused})
        return
    out.print(f"{crm.name}: {counts(done) or 'there was nothing new to tell'}")
    out.print(f"From there: {counts(read.did) or 'nothing new'}")
    for status, count in sorted(read.unknown.items()):
        what = f"{count:,} with the status {status!r}, of which sales/crm.yaml does not say what it means"
        out.print(f"[yellow]unknown[/] {escape(what)}")
    for fault in read.faults:
        out.print(f"[red]not read[/] {escape(fault)}")
    rows = [(one.state.replace("_", " "), one.handoffs, one.since, one.reason) for one in standing]
    if rows:
        out.print(table(("hand-offs", "count", "oldest since (UTC)", "why"), rows, right=("count",)))
    for brake in paused:
        tell_brake(brake)


def check(json: JsonOption = False) -> None:
    """Say what is missing in the CRM for this to work. Nothing is written."""
    with open_app() as app:
        crm = _crm(app)
        try:
            faults = list(crm.check(app.clock.now()))
        except CrmDown as down:
            faults = [down.why]
    if json:
        as_json({"crm": crm.name, "ok": not faults, "faults": faults})
    else:
        for fault in faults:
            out.print(f"[red]{crm.name}[/] {escape(fault)}")
        if not faults:
            out.print(f"[green]{crm.name} is set up for hand-offs.[/]")
    if faults:
        raise typer.Exit(Misconfigured.exit_code)


def drift(json: JsonOption = False) -> None:
    """Show where the CRM and nurture say different things of a lead, and what to do. Nothing is written."""
    with open_app() as app:
        crm = _crm(app)
        try:
            found = crm_sync_drift.drift(app.house, crm)
        except CrmDown as down:
            raise Refused(f"{crm.name} cannot be asked: {down.why}") from down
    if json:
        as_json({"crm": crm.name, "drift": found})
    else:
        rows = [(one.lead_id, one.what, one.crm_says, one.we_say) for one in found]
        columns = ("lead", "what", f"{crm.name} says", "we say")
        out.print(table(columns, rows, right=("lead",)) if rows else f"{crm.name} and we say the same.")
        for (what, remedy), times in Counter((one.what, one.remedy) for one in found).items():
            out.print(f"{escape(what)}, {times:,} times: {escape(remedy)}")
    if found:
        raise typer.Exit(1)


def _crm(app: App) -> Crm:
    if app.house.crm is None:
        why = "NURTURE_CRM is none" if app.settings.crm == "none" else "a database in virtual time has none"
        raise Refused(f"There is no CRM: {why}. Set NURTURE_CRM to csv, salesforce or hubspot.")
    return app.house.crm


def _plan_again(app: App, since: datetime) -> int:
    with app.database.write() as connection:
        return crm_records.adopt(connection, since, app.clock.now())
