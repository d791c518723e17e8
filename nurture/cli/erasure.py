"""Erase a person: `nurture leads erase`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, out, pluralize, print_json
from nurture.errors import InvalidState
from nurture.journey.erasure import erase as lead_erasure


def erase(
    lead: LeadArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")] = False,
    json: JsonOption = False,
) -> None:
    """Erase all that tells who a lead is from the database. It is closed for good, and never mailed again.

    A mark of the address stays, so that no import brings mail to it.

    What lies elsewhere is yours to clear: files in our folders that hold the person are listed, and where
    else copies are (exports, backups, the CRM, who carries mail). A name in what others wrote is not found.
    """
    if not yes:
        raise InvalidState(f"Erasing {lead} cannot be undone. Add --yes to do it.")
    with open_app() as app:
        settings = app.settings
        folders = {Path(), settings.maildir, settings.crm_folder, settings.spool}
        done = lead_erasure.erase_person(app.ctx, lead, app.clock.now(), folders=folders)
    if json:
        print_json(done)
        return
    subject = f"Lead {done.lead}" if done.lead is not None else escape(f"The address {lead}")
    also = (
        f"; so is what a file may have told of it: {', '.join(map(str, done.ambiguous_leads))}"
        if done.ambiguous_leads
        else ""
    )
    more = f"; {pluralize(done.rows, 'row')} elsewhere that mentioned it" if done.rows else ""
    out.print(f"{subject} is erased{also}{more}. Ids, times and numbers stay.")
    out.print("[bold]Clear by hand[/]")
    for left in (*done.files, *done.systems):
        out.print(f"- {escape(left)}", soft_wrap=True)
