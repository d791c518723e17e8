"""Back up, adopt and restore a database: `nurture admin backup`, `adopt`, `restored`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import current_user
from nurture.cli.output import JsonOption, format_cell, out, pluralize, print_json
from nurture.clock import parse_time
from nurture.db import schema
from nurture.db.backup import create_backup
from nurture.db.engine import Database
from nurture.errors import InvalidState
from nurture.operations import restore as restoring
from nurture.operations.reoffer import QUEUE
from nurture.runtime import quarantine
from nurture.settings import Settings


def backup(
    file: Annotated[Path, typer.Argument(help="The backup file to create. It must not exist.")],
    json: JsonOption = False,
) -> None:
    """Back up an SQLite database while everything runs, and verify the backup. Never copy the database file itself."""
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
    out.print(f"{escape(str(done.path))}: complete, at revision {done.revision}, {counted}.")
    if done.seen_at:
        since = datetime.fromisoformat(done.seen_at)
        out.print(f"[dim]After restoring it, run: nurture admin restored --since {since:%Y-%m-%dT%H:%M}[/]")


def adopt(json: JsonOption = False) -> None:
    """Confirm that this database was moved here on purpose and nothing uses the old copy. Sending resumes."""
    with open_app(live=True) as app:
        was_on = quarantine.adopt(app.ctx, f"adopted by {current_user()}", app.clock.now())
    if json:
        print_json({"adopted": was_on})
    elif was_on:
        out.print("This database is confirmed at its new place. Sending resumes.")
    else:
        out.print("This database is not in quarantine. Nothing was changed.")


def finish_restore(
    since: Annotated[str, typer.Option(help="When the backup was made (ISO, UTC).")],
    journal: Annotated[
        list[Path] | None,
        typer.Option(help="The suppression journal of another machine. May be repeated.", metavar="FILE"),
    ] = None,
    without_journal: Annotated[
        str, typer.Option(help="Why no suppression journal exists. The reason is recorded.", metavar="REASON")
    ] = "",
    handoffs: Annotated[
        Literal["reoffer", "leave"] | None,
        typer.Option(help="Offer hand-offs again, or leave them in a queue. Ask the sales manager which."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring a restored database up to date: opt-outs are restored, no email is sent twice. Then sending resumes."""
    at = parse_time(since)
    with open_app(live=True) as app:
        done = restoring.restore(
            app.ctx,
            at,
            app.clock.now(),
            by=current_user(),
            journals=journal or (),
            without_journal=without_journal,
            choice=handoffs,
        )
    if done.needs_decision:
        listed = ", ".join(str(id_) for id_ in done.handoffs[:20])
        more = f" and {len(done.handoffs) - 20} more" if len(done.handoffs) > 20 else ""
        who = pluralize(len(done.handoffs), "lead")
        raise InvalidState(
            f"{who} may have been offered to reps since the backup: {listed}{more}. Ask the sales manager, then "
            "run this command again with --handoffs reoffer (reps get the brief again) or "
            f"--handoffs leave (the leads wait in the queue {QUEUE}). Until then nothing is sent."
        )
    if json:
        print_json(done)
        return
    _print_restored(done)


def _print_restored(done: restoring.RestoreReport) -> None:
    if done.already_done_at is not None:
        out.print(f"This restore was finished at {format_cell(done.already_done_at)} UTC. Nothing was changed.")
        return
    out.print(f"[bold]Restored since {format_cell(done.since)} UTC[/]: sending resumes.")
    out.print(f"  {pluralize(done.suppressed, 'opt-out')} and {pluralize(done.opted_in, 'opt-in')} restored")
    if done.erased:
        out.print(f"  {done.erased:,} erased people were erased again")
    out.print(
        f"  {pluralize(done.unknown, 'email')} with an unknown result: they may have been sent. `nurture delivery"
        " messages` lists them"
    )
    if done.handoffs:
        out.print(f"  {pluralize(len(done.handoffs), 'hand-off')} handled as the manager decided")
    for note in done.notes:
        out.print(f"  [yellow]{escape(note)}[/]")
