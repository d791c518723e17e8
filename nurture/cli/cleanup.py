"""Delete old data: `nurture cleanup`."""

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, format_cell, make_table, out, pluralize, print_json
from nurture.db.vacuum import find_free_bytes, vacuum
from nurture.errors import InvalidState
from nurture.operations.cleanup import CleanupReport, clean_up

_WORTH_A_WORD = 100_000_000
"""Bytes that the file does not use, from which on the disk is mentioned."""


def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--vacuum",
            help="Then write the SQLite file anew, without what it does not use. Stop nurture first: it locks the "
            "database, and needs as much free disk again.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete data past its retention (`NURTURE_KEEP_...`). Consent, opt-outs, hand-offs and outcomes are kept."""
    with open_app() as app:
        done = clean_up(app.ctx, app.clock.now(), dry_run=dry_run)
        if rewrite and not dry_run:
            if not vacuum(app.ctx.database):
                raise InvalidState(
                    "The database file was not written anew: another process uses it, the disk is full, or it is "
                    "PostgreSQL, which does this by itself. Stop nurture, then run this command again."
                )
            done = done._replace(free_bytes=find_free_bytes(app.ctx.database))
    if json:
        rows = [one._asdict() for one in done.cleaned]
        print_json({"dry_run": dry_run, "cleaned": rows, "free_bytes": done.free_bytes})
        return
    _print_report(done, dry_run=dry_run)


def _print_report(done: CleanupReport, *, dry_run: bool) -> None:
    rows = [
        (one.name, "forever" if one.before is None else f"since {format_cell(one.before.date())}", f"{one.rows:,}")
        for one in done.cleaned
    ]
    number = "would be deleted" if dry_run else "deleted"
    out.print(make_table(("data", "kept", number), rows, right=(number,)))
    total = sum(one.rows for one in done.cleaned)
    if dry_run:
        out.print(f"Nothing was changed. `nurture cleanup` deletes {pluralize(total, 'row')}.")
    if done.free_bytes >= _WORTH_A_WORD:
        out.print(
            f"{done.free_bytes / 1e6:,.0f} MB of the database file are unused: new rows take them up. To give them "
            "back to the disk, stop nurture and run `nurture cleanup --vacuum`."
        )
