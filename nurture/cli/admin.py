"""Back up, adopt and restore a database: `nurture admin backup`, `adopt`, `restored`."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import parse_time
from nurture.cli.output import JsonOption, format_cell, out, pluralize, print_json
from nurture.db import schema
from nurture.db.backup import create_backup
from nurture.db.engine import Database
from nurture.errors import InvalidState
from nurture.operations import restore as restoring
from nurture.operations.reoffer import QUEUE
from nurture.runtime import quarantine
from nurture.settings import Settings


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write; it must not exist.")], json: JsonOption = False
) -> None:
    """Write a backup of an SQLite database while everything runs, and open it once. Never copy the file."""
    database = Database(Settings.read().database_url.get_secret_value())
    try:
        if database.is_sqlite and not database.is_missing:
            schema.require_current(database)
        done = create_backup(database, file)
    finally:
        database.close()
    if json:
        print_json(done._asdict())
        return
    counted = ", ".join(f"{count:,} {name}s" for name, count in done.rows.items())
    out.print(f"{escape(str(done.path))}: whole, at revision {done.revision}, {counted}.")
    if done.seen_at:
        since = datetime.fromisoformat(done.seen_at)
        out.print(f"[dim]After it comes back: nurture admin restored --since {since:%Y-%m-%dT%H:%M}[/]")


def adopt(json: JsonOption = False) -> None:
    """Say that this database was moved here on purpose, and that nothing uses the old one: it sends again."""
    with open_app(live=True) as app:
        was_on = quarantine.adopt(app.ctx, f"adopted by {_current_user()}", app.clock.now())
    if json:
        print_json({"adopted": was_on})
    elif was_on:
        out.print("This database lives here from now on, and sends again.")
    else:
        out.print("It was not in quarantine: it lives here already, and sends.")


def finish_restore(
    since: Annotated[str, typer.Option(help="When the backup was made (ISO, UTC): what fell due since is known.")],
    journal: Annotated[
        list[Path] | None,
        typer.Option(help="The suppression journal of another machine; once for each.", metavar="FILE"),
    ] = None,
    without_journal: Annotated[
        str, typer.Option(help="Why there is no suppression journal. It is kept.", metavar="REASON")
    ] = "",
    handoffs: Annotated[
        Literal["reoffer", "leave"] | None,
        typer.Option(help="Offer hand-offs again, or leave them to people, as the manager says."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring a restored database to today: opt-outs come back, nothing goes out twice. Then it sends again."""
    at = parse_time(since)
    with open_app(live=True) as app:
        done = restoring.restore(
            app.ctx,
            at,
            app.clock.now(),
            by=_current_user(),
            journals=journal or (),
            without_journal=without_journal,
            choice=handoffs,
        )
    if done.needs_decision:
        listed = ", ".join(str(id_) for id_ in done.handoffs[:20])
        more = f" and {len(done.handoffs) - 20} more" if len(done.handoffs) > 20 else ""
        who = pluralize(len(done.handoffs), "lead")
        raise InvalidState(
            f"{who} may have been offered to reps since: {listed}{more}. Ask the sales manager, then "
            "run it again with --handoffs reoffer (reps get the brief once more) or "
            f"--handoffs leave (they wait in the queue {QUEUE}). Until then nothing is sent."
        )
    if json:
        print_json(done)
        return
    _print_restored(done)


def _print_restored(done: restoring.RestoreReport) -> None:
    if done.already_done_at is not None:
        out.print(f"This was done before, at {format_cell(done.already_done_at)} UTC. There is nothing to do.")
        return
    out.print(f"[bold]Restored since {format_cell(done.since)} UTC[/]: it sends again.")
    out.print(f"  {pluralize(done.suppressed, 'opt-out')} and {pluralize(done.opted_in, 'opt-in')} came back")
    if done.erased:
        out.print(f"  {done.erased:,} people who had been erased were erased again")
    out.print(
        f"  {pluralize(done.unknown, 'email')} with an unknown result, which may have gone: `nurture delivery"
        " messages` lists them"
    )
    if done.handoffs:
        out.print(f"  {pluralize(len(done.handoffs), 'hand-off')} decided about by the manager")
    for note in done.notes:
        out.print(f"  [yellow]{escape(note)}[/]")


def _current_user() -> str:
    try:
        return getuser()
    except (KeyError, OSError, ImportError):  # a container may know no name for its user
        return "somebody"
