"""The CRM: crm sync, crm check."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.running import moment
from nurture.cli.sending import tell_brake
from nurture.cli.show import JsonOption, as_json, counts, out, table
from nurture.crm.port import Crm, CrmDown
from nurture.errors import Misconfigured, Refused
from nurture.journey import brakes, handback
from nurture.store import clocks, crmrecords

group = typer.Typer(help="The CRM in which sales keeps its leads.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="crm")


@group.command()
def sync(
    again_since: Annotated[
        str | None,
        typer.Option(
            help="Also tell anew what was offered since then (ISO, UTC): after a change of the CRM."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Tell the CRM of hand-offs: each once, in order, also after an outage."""
    with open_app() as app:
        crm = _crm(app)
        now = app.clock.now()
        with app.database.write() as connection:
            clocks.note(connection, now)
        planned = _plan_again(app, moment(again_since)) if again_since else 0
        done = handback.hand_back(app.house, app.clock)
        with app.database.read() as connection:
            standing = crmrecords.standing(connection)
        paused = [one for one in brakes.standing(app.house, now).brakes if one.name == crm.name]
    if json:
        told = {"crm": crm.name, "planned_again": planned, "did": dict(done)}
        as_json(told | {"standing": standing, "paused": paused})
        return
    out.print(f"{crm.name}: {counts(done) or 'there was nothing new to tell'}")
    rows = [(one.state.replace("_", " "), one.handoffs, one.since, one.reason) for one in standing]
    if rows:
        out.print(table(("hand-offs", "count", "oldest since (UTC)", "why"), rows, right=("count",)))
    for brake in paused:
        tell_brake(brake)


@group.command()
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


def _crm(app: App) -> Crm:
    if app.house.crm is None:
        why = "NURTURE_CRM is none" if app.settings.crm == "none" else "a database in virtual time has none"
        raise Refused(f"There is no CRM: {why}. Set NURTURE_CRM to csv, salesforce or hubspot.")
    return app.house.crm


def _plan_again(app: App, since: datetime) -> int:
    with app.database.write() as connection:
        return crmrecords.adopt(connection, since, app.clock.now())
