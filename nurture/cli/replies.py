"""Show a lead's replies, and mail that could not be read: `nurture leads replies`."""

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, out, pluralize, print_table
from nurture.journey.engagement import inbound_mail
from nurture.journey.engagement.replies import list_replies
from nurture.journey.handoff.lead_profile import describe_reply
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
    rows = [
        (
            each.received_at,
            describe_reply(each),
            each.sender or "the lead",
            _format_text(each),
            f"{each.rep}: {each.forward_state}" if each.rep is not None else "-",
        )
        for each in found
    ]
    columns = ("received (UTC)", "class", "sender", "text", "forwarded to")
    print_table(columns, rows, found, json=json, empty="There are no replies from this lead.")


def _print_unread_mail(limit: int, *, json: bool, retry: bool) -> None:
    with open_app() as app:
        if retry:
            again = inbound_mail.retry_failed(app.ctx)
            out.print(f"{pluralize(again, 'message')} queued to be read again by the next `nurture run`.")
            return
        found = inbound_mail.list_failed(app.ctx, limit)
    rows = [(one.received_at, one.source, one.lead_id or "-", one.size, one.error) for one in found]
    columns = ("received (UTC)", "source", "lead", "bytes", "error")
    print_table(columns, rows, found, json=json, empty="All inbound mail was read.")


def _format_text(one: ReplyRecord) -> str:
    attachment_note = f"(attached, not stored: {', '.join(one.attachments)})" if one.attachments else ""
    return " ".join(part for part in (one.text, attachment_note) if part) or "-"
