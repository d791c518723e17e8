"""Import and list leads, record their signals, and change their track manually."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.arguments import DryRunOption, LeadArgument, LimitOption, ReportOption, import_options
from nurture.cli.output import JsonOption, format_cell, format_counts, make_table, out, print_import, print_json
from nurture.clock import parse_time
from nurture.errors import InvalidState
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.signal_files import import_signals
from nurture.journey.intake import import_file
from nurture.journey.leads import find
from nurture.journey.tracks import manual
from nurture.reporting.leads import list_leads

_MAX_PAUSE_DIGITS: Final = 4  # a pause is at most 9,999 days


def import_leads(
    file: Annotated[Path, typer.Argument(help="A CSV export of a CRM or a webinar platform.")],
    mapping: Annotated[Path | None, typer.Option(help="A YAML file that maps columns to fields.")] = None,
    source: Annotated[str | None, typer.Option(help="The system that the file's ids come from.")] = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import leads from a CSV. Importing a file again only updates known leads."""
    with open_app(upgrade=True) as app, import_options(file, report, dry_run=dry_run, json=json) as options:
        done = import_file.import_file(app.ctx, file, app.clock.now(), mapping=mapping, source=source, **options)
    print_lead_import(done, dry_run=dry_run, json=json)
    if not dry_run and not json:
        out.print("[dim]Next: `nurture run` classifies them and starts their tracks.[/]")


def print_lead_import(done: import_file.LeadImportResult, *, dry_run: bool = False, json: bool = False) -> None:
    """Print the result of an import of leads."""
    details = f"  new leads go to: {format_counts(done.by_custodian) or '-'}; signals: {done.signals:,}"
    if done.by_queue:
        details += f"\n  queues: {format_counts(done.by_queue)}"
    if done.unmapped:
        details += f"\n  [dim]kept as custom fields: {escape(', '.join(done.unmapped))}[/]"
    print_import(done, dry_run=dry_run, json=json, details=details)


def leads(
    custodian: Annotated[str | None, typer.Option(help="intake, track, queue, offer, rep or closed.")] = None,
    track: Annotated[str | None, typer.Option(help="Only leads on this track.")] = None,
    source: Annotated[str | None, typer.Option(help="Only leads from this source.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only leads in this queue, such as account-ambiguous.")] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List leads: who has custody, what happens next and when."""
    with open_app() as app:
        found = list_leads(
            app.ctx, app.clock.now(), custodian=custodian, track=track, source=source, queue=queue, limit=limit
        )
    if json:
        print_json(found)
        return
    rows = [
        (
            each.id,
            each.name,
            each.company,
            f"{each.custodian} {each.ref}",
            _truncate(each.next_action),
            each.due_at,
            each.engagement,
        )
        for each in found
    ]
    columns = ("id", "name", "company", "custodian", "next action", "due (UTC)", "score")
    out.print(make_table(columns, rows, right=("id", "score")))


def _truncate(text: str, max_length: int = 46) -> str:
    return text if len(text) <= max_length else f"{text[: max_length - 1].rstrip()}…"


def signal(
    lead: LeadArgument,
    kind: Annotated[str, typer.Argument(help="What the lead did: clicked, replied, deciding, registered, ...")],
    value: Annotated[str | None, typer.Argument(help="For deciding: the date, such as 2027-03-31.")] = None,
    at: Annotated[str | None, typer.Option(help="When it happened (ISO, UTC); default now.")] = None,
    email: Annotated[str | None, typer.Option(help="The email (step) that the lead reacted to.")] = None,
    link: Annotated[str | None, typer.Option(help="The link that was clicked.")] = None,
    json: JsonOption = False,
) -> None:
    """Record a signal: something a lead did. It is stored once, and the next run reacts to it."""
    signal_kind, checked_value = engagement_signals.validate_signal(kind, value)
    with open_app() as app:
        now = app.clock.now()
        lead_id = find.find_lead(app.ctx, lead)
        when = parse_time(at) if at else now
        if when > now:
            raise InvalidState(f"{at} is in the future. Give a time in the past.")
        answered_email = engagement_signals.find_answered_touch(app.ctx, lead_id, email)
        new_signal = engagement_signals.build_reported_signal(
            lead_id, signal_kind, checked_value, when, now, email, link, answered_email
        )
        new = engagement_signals.record(app.ctx, [new_signal], now)
    if json:
        print_json({"lead": lead_id, "kind": signal_kind.value, "new": bool(new)})
    else:
        out.print(f"Lead {lead_id}: {signal_kind.value} {'recorded' if new else 'was recorded before'}.")


def import_signal_file(
    file: Annotated[
        Path, typer.Argument(help="A CSV with the columns lead, kind and at; value, email and link are optional.")
    ],
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import signals from a CSV. A row that was imported before is skipped."""
    with open_app() as app, import_options(file, report, dry_run=dry_run, json=json) as options:
        done = import_signals(app.ctx, file, app.clock.now(), **options)
    print_import(done, dry_run=dry_run, json=json)


def pause(
    lead: LeadArgument,
    until: Annotated[str, typer.Option(help="An ISO date or time (UTC), or a number of days such as 30d.")],
    json: JsonOption = False,
) -> None:
    """Send a lead no email until a date."""
    with open_app() as app:
        now = app.clock.now()
        days = until.removesuffix("d")
        if days != until and days.isdecimal() and len(days) <= _MAX_PAUSE_DIGITS:
            end = now + timedelta(days=int(days))
        else:
            end = parse_time(until)
        if end <= now:
            raise InvalidState(f"{until} is in the past. Give a future date, or a number of days such as 30d.")
        _set_pause(app, lead, "paused", json=json, until=end)


def resume(lead: LeadArgument, json: JsonOption = False) -> None:
    """End a lead's pause."""
    with open_app() as app:
        _set_pause(app, lead, "resumed", json=json, until=None)


def _set_pause(app: App, lead: str, verb: str, *, json: bool, until: datetime | None) -> None:
    lead_id = find.find_lead(app.ctx, lead)
    manual.pause(app.ctx, lead_id, until, app.clock.now())
    if json:
        print_json({"lead": lead_id, verb: True, "until": until})
    else:
        out.print(f"Lead {lead_id} is {verb}" + (f" until {format_cell(until)} UTC." if until else "."))


def enroll(
    lead: LeadArgument, track: Annotated[str, typer.Argument(help="A published track.")], json: JsonOption = False
) -> None:
    """Enroll a lead on a track; it leaves its current track."""
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        manual.enroll(app.ctx, lead_id, track, app.clock.now())
    if json:
        print_json({"lead": lead_id, "track": track})
    else:
        out.print(f"Lead {lead_id} is on {track}.")


def leave(
    lead: LeadArgument,
    queue: Annotated[str, typer.Option(help="The queue that the lead is put in.")] = "by-hand",
    json: JsonOption = False,
) -> None:
    """Take a lead off its track, and put it in a queue."""
    if not queue.strip():
        raise InvalidState("The name of the queue is empty. Give a name, such as --queue call-back.")
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        manual.remove_from_track(app.ctx, lead_id, queue, app.clock.now())
    if json:
        print_json({"lead": lead_id, "queue": queue})
    else:
        out.print(f"Lead {lead_id} is in queue {queue}.")
