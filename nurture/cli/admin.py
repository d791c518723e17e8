"""Back up, adopt and restore a database, and its API tokens: `nurture admin backup`, `adopt`, `restored`, `tokens`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import current_user
from nurture.cli.output import JsonOption, err, format_cell, out, pluralize, print_json, print_result, print_table
from nurture.clock import RealClock, parse_time
from nurture.db import last_rounds, schema
from nurture.db.backup import create_backup
from nurture.db.engine import Database
from nurture.errors import InvalidState
from nurture.journey.intake.api import tokens as api_tokens
from nurture.operations import restore as restoring
from nurture.operations.restore import QUEUE
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
        with database.write() as tx:
            last_rounds.note_success(tx, last_rounds.BACKUP, RealClock().now())
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
    adopted = "This database is confirmed at its new place. Sending resumes."
    text = adopted if was_on else "This database is not in quarantine. Nothing was changed."
    print_result({"adopted": was_on}, text, json=json)


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
    print_result(done, _print_restored, json=json)


def _print_restored(done: restoring.RestoreReport) -> None:
    if done.already_done_at is not None:
        out.print(f"This restore was finished at {format_cell(done.already_done_at)} UTC. Nothing was changed.")
        return
    out.print(f"[bold]Restored since {format_cell(done.since)} UTC[/]: sending resumes.")
    out.print(f"  {pluralize(done.suppressed, 'opt-out')} and {pluralize(done.opted_in, 'opt-in')} restored")
    if done.erased:
        out.print(f"  {done.erased:,} erased people were erased again")
    out.print(
        f"  {pluralize(done.unknown, 'email')} with an unknown result: they may have been sent. `nurture mail"
        " messages` lists them"
    )
    if done.handoffs:
        out.print(f"  {pluralize(len(done.handoffs), 'hand-off')} handled as the manager decided")
    for note in done.notes:
        out.print(f"  [yellow]{escape(note)}[/]")


def create(
    name: Annotated[str, typer.Argument(help="The program's name, such as website.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as signals:write. May be repeated.")],
    json: JsonOption = False,
) -> None:
    """Create an API token. It is shown only once and not stored: save it where the program reads it."""
    with open_app() as app:
        token = api_tokens.create_token(app.ctx, name, scope, app.clock.now())
    if json:
        print_json({"name": name, "scopes": sorted(set(scope)), "token": token})
        return
    err.print(f"The token {name!r}, shown only once:")
    typer.echo(token)


def list_tokens(json: JsonOption = False) -> None:
    """List API tokens: scopes, last use, and whether each is revoked."""
    with open_app() as app:
        found = api_tokens.list_tokens(app.ctx)
    rows = [
        (one.name, ", ".join(one.scopes), one.created_at, one.last_used_on, one.revoked_at, one.rate_limited_at)
        for one in found
    ]
    columns = ("name", "scopes", "created (UTC)", "last used", "revoked (UTC)", "rate limited (UTC)")
    print_table(columns, rows, found, json=json)


def revoke(name: Annotated[str, typer.Argument(help="The token's name.")], json: JsonOption = False) -> None:
    """Revoke an API token at once."""
    with open_app() as app:
        api_tokens.revoke_token(app.ctx, name, app.clock.now())
    print_result({"revoked": name}, f"The token {name} is revoked.", json=json)
