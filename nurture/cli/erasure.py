"""Erase a person: `nurture leads erase`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, out, pluralize, print_json
from nurture.crm import registry as crms
from nurture.errors import InvalidState
from nurture.journey.erasure import erase as lead_erasure
from nurture.mail.providers.registry import local_folders


def erase(
    lead: LeadArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm. Erasure cannot be undone.")] = False,
    json: JsonOption = False,
) -> None:
    """Erase all data that identifies a lead. The lead is closed for good and never mailed again.

    A hash of the address stays, so that a later import cannot bring mail to it.

    Copies elsewhere are listed for you to delete: files in our folders, exports, backups, the CRM and the
    email provider. A name inside text that others wrote is not found.
    """
    if not yes:
        raise InvalidState(f"Erasing {lead} cannot be undone. Add --yes to do it.")
    with open_app() as app:
        settings = app.settings
        folders = {Path(), *local_folders(settings), *crms.local_folders(settings), settings.spool}
        done = lead_erasure.erase_person(app.ctx, lead, app.clock.now(), folders=folders)
    if json:
        print_json(done)
        return
    subject = f"Lead {done.lead}" if done.lead is not None else escape(f"The address {lead}")
    also = (
        f"; so are leads whose fields a file may have mixed with it: {', '.join(map(str, done.ambiguous_leads))}"
        if done.ambiguous_leads
        else ""
    )
    more = f"; so are {pluralize(done.rows, 'row')} that mentioned it" if done.rows else ""
    out.print(f"{subject} is erased{also}{more}. Ids, times and counts stay.")
    out.print("[bold]Delete manually[/]")
    for left in (*done.files, *done.systems):
        out.print(f"- {escape(left)}", soft_wrap=True)
