"""Erase a person: `nurture leads erase`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, as_json, many, out
from nurture.errors import Refused
from nurture.journey.erasure import erase as forgetting


def forget(
    lead: LeadArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: it cannot be taken back.")] = False,
    json: JsonOption = False,
) -> None:
    """Erase all that tells who a lead is from the database. It is closed for good, and never mailed again.

    A mark of the address stays, so that no import brings mail to it.

    What lies elsewhere is yours to clear: files in our folders that hold the person are listed, and where
    else copies are (exports, backups, the CRM, who carries mail). A name in what others wrote is not found.
    """
    if not yes:
        raise Refused(f"Forgetting {lead} cannot be taken back. Add --yes to do it.")
    with open_app() as app:
        kept = app.settings
        folders = {Path(), kept.mailbox, kept.crm_folder, kept.spool}
        done = forgetting.forget(app.house, lead, app.clock.now(), folders=folders)
    if json:
        as_json(done)
        return
    who = f"Lead {done.lead}" if done.lead is not None else escape(f"The address {lead}")
    also = f"; so is what a file may have told of it: {', '.join(map(str, done.also))}" if done.also else ""
    more = f"; {many(done.rows, 'row')} elsewhere that mentioned it" if done.rows else ""
    out.print(f"{who} is forgotten{also}{more}. Ids, times and numbers stay.")
    out.print("[bold]Clear by hand[/]")
    for left in (*done.files, *done.systems):
        out.print(f"- {escape(left)}", soft_wrap=True)
