"""Erase a person: forget."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.leads import LeadArgument
from nurture.cli.show import JsonOption, as_json, many, out
from nurture.errors import Refused
from nurture.journey import forget as forgetting


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("forget")(forget)


def forget(
    lead: LeadArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: it cannot be taken back.")] = False,
    json: JsonOption = False,
) -> None:
    """Erase all that tells who a lead is, wherever it is kept. It is closed, and never mailed again.

    A mark of the address stays, so that no import brings mail to it.

    Mail in a mailbox folder, exports, backups and the CRM are yours to clear.
    """
    if not yes:
        raise Refused(f"Forgetting {lead} cannot be taken back. Add --yes to do it.")
    with open_app() as app:
        done = forgetting.forget(app.house, lead, app.clock.now())
    if json:
        as_json(done)
        return
    who = f"Lead {done.lead}" if done.lead is not None else escape(f"The address {lead}")
    more = f"; {many(done.rows, 'row')} that mentioned it deleted" if done.rows else ""
    out.print(f"{who} is forgotten{more}. Ids, times and numbers stay.")
