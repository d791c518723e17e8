"""Back up, adopt and restore a database: `nurture admin backup`, `adopt`, `restored`."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import moment
from nurture.cli.output import JsonOption, as_json, cell, many, out
from nurture.db import schema
from nurture.db.backup import back_up
from nurture.db.engine import Database
from nurture.errors import Refused
from nurture.operations import restore as restoring
from nurture.operations.reoffer import QUEUE
from nurture.runtime import quarantine
from nurture.settings import Settings


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write; it must not exist.")],
    json: JsonOption = False,
) -> None:
    """Write a backup of an SQLite database while everything runs, and open it once. Never copy the file."""
    database = Database(Settings.read().database_url.get_secret_value())
    try:
        if database.is_sqlite and not database.is_missing:
            schema.require_current(database)
        done = back_up(database, file)
    finally:
        database.close()
    if json:
        as_json(done._asdict())
        return
    counted = ", ".join(f"{count:,} {name}s" for name, count in done.rows.items())
    out.print(f"{escape(str(done.path))}: whole, at revision {done.revision}, {counted}.")
    if done.seen_at:
        since = datetime.fromisoformat(done.seen_at)
        out.print(f"[dim]After it comes back: nurture admin restored --since {since:%Y-%m-%dT%H:%M}[/]")


def adopt(json: JsonOption = False) -> None:
    """Say that this database was moved here on purpose, and that nothing uses the old one: it sends again."""
    with open_app(live=True) as app:
        was_on = quarantine.adopt(app.house, f"adopted by {_who()}", app.clock.now())
    if json:
        as_json({"adopted": was_on})
    elif was_on:
        out.print("This database lives here from now on, and sends again.")
    else:
        out.print("It was not in quarantine: it lives here already, and sends.")


def restored(
    since: Annotated[
        str, typer.Option(help="When the backup was made (ISO, UTC): what fell due since is known.")
    ],
    journal: Annotated[
        list[Path] | None,
        typer.Option(help="The suppression journal of another machine; once for each.", metavar="FILE"),
    ] = None,
    without_journal: Annotated[
        str, typer.Option(help="Why there is no suppression journal. It is kept.", metavar="REASON")
    ] = "",
    briefs: Annotated[
        Literal["again", "leave"] | None,
        typer.Option(help="Offer hand-offs again, or leave them to people, as the manager says."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring a restored database to today: opt-outs come back, nothing goes out twice. Then it sends again."""
    at = moment(since)
    with open_app(live=True) as app:
        done = restoring.restored(
            app.house,
            at,
            app.clock.now(),
            by=_who(),
            journals=journal or (),
            without_journal=without_journal,
            briefs=briefs,
        )
    if done.undecided:
        listed = ", ".join(str(id_) for id_ in done.handoffs[:20])
        more = f" and {len(done.handoffs) - 20} more" if len(done.handoffs) > 20 else ""
        who = many(len(done.handoffs), "lead")
        raise Refused(
            f"{who} may have been offered to reps since: {listed}{more}. Ask the sales manager, then "
            "run it again with --briefs again (reps get the brief once more) or "
            f"--briefs leave (they wait in the queue {QUEUE}). Until then nothing is sent."
        )
    if json:
        as_json(done)
        return
    _tell(done)


def _tell(done: restoring.Restored) -> None:
    if done.done_before is not None:
        out.print(f"This was done before, at {cell(done.done_before)} UTC. There is nothing to do.")
        return
    out.print(f"[bold]Restored since {cell(done.since)} UTC[/]: it sends again.")
    out.print(f"  {many(done.suppressed, 'opt-out')} and {many(done.opted_in, 'opt-in')} came back")
    if done.erased:
        out.print(f"  {done.erased:,} people who had been erased were erased again")
    out.print(
        f"  {many(done.doubtful, 'email')} in doubt, which may have gone: `nurture delivery messages` lists"
        " them"
    )
    if done.handoffs:
        out.print(f"  {many(len(done.handoffs), 'hand-off')} decided about by the manager")
    for note in done.notes:
        out.print(f"  [yellow]{escape(note)}[/]")


def _who() -> str:
    try:
        return getuser()
    except (KeyError, OSError, ImportError):  # a container may know no name for its user
        return "somebody"
