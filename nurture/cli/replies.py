"""Show replies to mail: `nurture leads replies`."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, out, table
from nurture.journey.engagement import inbound_mail
from nurture.journey.engagement.replies import list_replies
from nurture.journey.leads import find
from nurture.journey.leads.reply_queries import Written


def replies(
    lead: Annotated[
        str | None,
        typer.Argument(help="The lead's number or address; without it: mail nobody could read."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again to read what was set aside.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show what was answered to a lead's mail, and which rep was told; or mail that could not be read."""
    if lead is None or retry:
        _show_set_aside(limit, json=json, retry=retry)
        return
    with open_app() as app:
        found = list_replies(app.house, find.find_lead(app.house, lead), limit)
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


def _show_set_aside(limit: int, *, json: bool, retry: bool) -> None:
    with open_app() as app:
        if retry:
            again = inbound_mail.retry(app.house)
            out.print(f"Mails that wait to be read again: {again}. The next `nurture run` reads them.")
            return
        found = inbound_mail.list_set_aside(app.house, limit)
    if json:
        as_json(found)
    elif not found:
        out.print("All mail that came in was read.")
    else:
        rows = [(one.received_at, one.source, one.lead_id or "-", one.size, one.fault) for one in found]
        out.print(table(("came (UTC)", "by", "lead", "bytes", "why it was not read"), rows))


def _words(one: Written) -> str:
    more = f"({one.attachments} attached, not kept)" if one.attachments else ""
    away = f"(back on {one.back_on})" if one.back_on is not None else ""
    return " ".join(part for part in (one.text, away, more) if part) or "-"


def _told(one: Written) -> str:
    return f"{one.rep}: {one.passed_on}" if one.rep is not None else "-"
