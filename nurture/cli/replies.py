"""What people answered: replies."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.leads import LeadArgument
from nurture.cli.show import JsonOption, as_json, out, table
from nurture.journey import explain
from nurture.journey.replies import list_replies
from nurture.store.replies import Written


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("replies")(replies)


def replies(
    lead: LeadArgument,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show what was answered to a lead's mail, and which rep was told of it."""
    with open_app() as app:
        found = list_replies(app.house, explain.find_lead(app.house, lead), limit)
    if json:
        as_json(found)
    elif not found:
        out.print("Nothing was answered yet.")
    else:
        rows = [
            (each.received_at, each.kind, each.sender or "the lead", _words(each), _told(each))
            for each in found
        ]
        out.print(table(("when (UTC)", "kind", "who", "what", "passed on"), rows))


def _words(one: Written) -> str:
    more = f"({one.attachments} attached, not kept)" if one.attachments else ""
    away = f"(back on {one.back_on})" if one.back_on is not None else ""
    return " ".join(part for part in (one.text, away, more) if part) or "-"


def _told(one: Written) -> str:
    return f"{one.rep}: {one.passed_on}" if one.rep is not None else "-"
