"""Show a lead's replies, and mail that could not be read: `nurture leads replies`."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, make_table, out, pluralize, print_json
from nurture.journey.engagement import inbound_mail
from nurture.journey.engagement.replies import list_replies
from nurture.journey.leads import find
from nurture.journey.leads.reply_queries import ReplyRecord


def replies(
    lead: Annotated[
        str | None,
        typer.Argument(help="A lead's id, email address or external id. Leave it out to list unreadable mail."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Read the unreadable mail again in the next run.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of rows, newest first.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show what a lead replied and which rep was notified, or list mail that could not be read."""
    if lead is None or retry:
        _print_unread_mail(limit, json=json, retry=retry)
        return
    with open_app() as app:
        found = list_replies(app.ctx, find.find_lead(app.ctx, lead), limit)
    if json:
        print_json(found)
    elif not found:
        out.print("There are no replies from this lead.")
    else:
        rows = [
            (each.received_at, each.kind, each.sender or "the lead", _format_text(each), _format_forwarding(each))
            for each in found
        ]
        out.print(make_table(("received (UTC)", "kind", "sender", "text", "forwarded to"), rows))


def _print_unread_mail(limit: int, *, json: bool, retry: bool) -> None:
    with open_app() as app:
        if retry:
            again = inbound_mail.retry_failed(app.ctx)
            out.print(f"{pluralize(again, 'message')} queued to be read again by the next `nurture run`.")
            return
        found = inbound_mail.list_failed(app.ctx, limit)
    if json:
        print_json(found)
    elif not found:
        out.print("All inbound mail was read.")
    else:
        rows = [(one.received_at, one.source, one.lead_id or "-", one.size, one.error) for one in found]
        out.print(make_table(("received (UTC)", "source", "lead", "bytes", "error"), rows))


def _format_text(one: ReplyRecord) -> str:
    attachment_note = f"({one.attachments} attachments, not stored)" if one.attachments else ""
    absence_note = f"(back on {one.returns_on})" if one.returns_on is not None else ""
    return " ".join(part for part in (one.text, absence_note, attachment_note) if part) or "-"


def _format_forwarding(one: ReplyRecord) -> str:
    return f"{one.rep}: {one.forward_state}" if one.rep is not None else "-"
