"""Erase a person, or export what is stored about one."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument
from nurture.cli.output import JsonOption, out, pluralize, print_json, to_json
from nurture.crm.registry import CRMS
from nurture.errors import FileUnreadable, InvalidState
from nurture.files import open_private, require_own_file
from nurture.journey.erasure import erase as lead_erasure
from nurture.journey.erasure.personal_data import export_person
from nurture.mail.providers.registry import PROVIDERS
from nurture.settings_model import local_folders

_EXPORT_START: Final = '{\n  "lead": '


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
        folders = {Path(), *local_folders({**PROVIDERS, **CRMS}, settings), settings.spool}
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


def export(
    lead: LeadArgument,
    file: Annotated[Path, typer.Argument(help="The JSON file to write; it is for this account's eyes only.")],
    json: JsonOption = False,
) -> None:
    """Write all that is stored about a person to a JSON file, for a request for access.

    Rows about other people that mention the address are named by their ids only. What others keep (the CRM, the
    email provider, backups) is not included; `nurture leads erase` lists them. With --json the data is printed, too.
    """
    with open_app() as app:
        found = export_person(app.ctx, lead)
    try:
        require_own_file(file, _EXPORT_START)
        with open_private(file, "wb") as written:
            written.write(to_json(found))
    except OSError as error:
        raise FileUnreadable(f"{file} cannot be written: {error.strerror}. Choose another file.") from error
    if json:
        print_json(found)
        return
    rows = sum(map(len, found.rows.values()))
    out.print(
        f"{escape(str(file))}: {pluralize(rows, 'row')} of {pluralize(len(found.rows), 'table')}.", soft_wrap=True
    )
