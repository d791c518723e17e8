"""Import and list leads, record their signals, and change their track manually."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.arguments import (
    DryRunOption,
    EncodingOption,
    LeadArgument,
    LimitOption,
    ReportOption,
    SheetOption,
    open_import,
)
from nurture.cli.output import (
    JsonOption,
    err,
    format_cell,
    make_table,
    out,
    pluralize,
    print_import,
    print_result,
    print_table,
)
from nurture.clock import parse_time
from nurture.definitions.field_checks import parse_condition
from nurture.domain.lead import Custodian, Queue, full_name
from nurture.errors import InvalidState, NotFound
from nurture.formats.column_report import BARE_CONSENT, IGNORED, describe_statuses
from nurture.formats.table_file import ReadOptions
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.signal_files import import_signals
from nurture.journey.intake import import_file
from nurture.journey.intake.import_file import LeadImportResult
from nurture.journey.intake.queries import ClosedLead
from nurture.journey.leads import find
from nurture.journey.tracks import manual
from nurture.journey.tracks.enroll_where import EnrollmentCounts, enroll_where
from nurture.reporting.leads import list_leads
from nurture.reporting.wording import format_counts

_MAX_PAUSE_DIGITS: Final = 4  # a pause is at most 9,999 days
_REASONS: Final[Mapping[str, str]] = {
    Queue.NO_CONSENT_BASIS: "no consent or other basis, or none confirmed: map a column to consent_basis, or write it "
    "under constants; of one lead: `nurture leads consent LEAD --grant BASIS --evidence TEXT`",
    Queue.NO_ADDRESS: "no email address",
    Queue.SUPPRESSED: "opted out, consent withdrawn, deleted or undeliverable",
    Queue.OWNER_UNKNOWN: "a rep works it, and no column says who: map a column to owner",
    Queue.AMBIGUOUS: "its id and its address match different leads: a person decides",
}
_CUSTODIANS: Final = {
    Custodian.REP: "a rep works it",
    Custodian.RESTING: "a customer, says the file: only a track for customers takes it",
    Custodian.CLOSED: "lost or unqualified, says the file",
}
_CONSENT_CHANGES: Final = {
    "granted": "known before may be mailed now",
    "requested": "to be asked by one email to confirm the consent (`confirm: yes` in templates/sending.yaml)",
    "withdrawn": "known before may not be mailed any more",
    "overruled": "with a yes in this file and a no, in it or from before: not mailed, the no wins. `nurture leads "
    "consent LEAD` shows who said it; a later dated yes lifts a withdrawal, an opt-in a suppression",
}
_ADVICE: Final = {
    "consent": "nobody may be mailed unless the mapping gives a basis, such as constants: {consent_basis: consent}",
    BARE_CONSENT: "nobody may be mailed unless the mapping says that this means a yes, such as constants: "
    "{consent_basis: consent}, or names a column that has one",
    "country or time zone": "email goes out in the working hours of the sender",
    "owner": "no lead is recognized as a rep's",
}


def import_leads(
    file: Annotated[Path, typer.Argument(help="An export of a CRM or webinar platform: CSV, Excel, JSON.")],
    mapping: Annotated[Path | None, typer.Option(help="A YAML file that maps columns to fields.")] = None,
    source: Annotated[str | None, typer.Option(help="The system that the file's ids come from.")] = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    skip_column: Annotated[
        list[str] | None, typer.Option(help="Ignore this column, also if it looks like an opt-out; repeatable.")
    ] = None,
    map_: Annotated[
        bool, typer.Option("--map", help="Only write a mapping file beside FILE, with what is understood, to edit.")
    ] = False,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import leads from a file. Importing a file again only updates known leads."""
    chosen: dict[str, Any] = {"mapping": mapping, "source": source, "skip_columns": skip_column or ()}
    if map_:
        written = import_file.write_mapping_file(file, **chosen, reading=ReadOptions(encoding, sheet))
        out.print(f"Wrote {escape(str(written))}: edit it, then give it to the import with --mapping.")
        return
    with open_import(file, report, sheet, encoding, dry_run=dry_run, json=json, upgrade=True) as (app, options):
        done = import_file.import_file(app.ctx, file, app.clock.now(), **chosen, **options)
    print_lead_import(done, dry_run=dry_run, json=json)
    if not dry_run and not json:
        out.print(f"[dim]{_next_step(done)}[/]")


def _next_step(done: LeadImportResult) -> str:
    classified = done.by_custodian[Custodian.INTAKE] + done.freed
    if classified:
        return f"Next: `nurture run` classifies {pluralize(classified, 'lead')} and starts their tracks."
    if done.by_queue[Queue.NO_CONSENT_BASIS]:
        return "Next: record why these leads may be mailed. No track starts before."
    return "No lead of this file waits for a track. `nurture leads list` shows where they are."


def print_lead_import(done: LeadImportResult, *, dry_run: bool = False, json: bool = False) -> None:
    """Print the result of an import of leads."""
    if not json:
        _print_columns(done)
    print_import(done, dry_run=dry_run, json=json, details=f"  signals: {done.signals:,}")
    if json:
        return
    for name in done.missing:
        out.print(f"  [yellow]No column gives {name}: {_ADVICE[name]}.[/]")
    if done.unknown_statuses:
        out.print("  [yellow]Unknown status words, whose leads count as open. Paste into the mapping and correct:[/]")
        out.print(escape(describe_statuses(done.unknown_statuses)))
    _print_mailable(done)
    _print_consent(done.consent)
    if done.preview:
        out.print(f"By the published policy the new leads would go to: {format_counts(done.preview)}")
    print_closed(done.closed)


def _print_columns(done: LeadImportResult) -> None:
    if not done.columns:
        return
    out.print(f"System: {escape(done.system)}")
    used = [one for one in done.columns if one.field != IGNORED and one.examples]
    rows = [(one.column, one.field, " · ".join(one.examples), one.empty) for one in used]
    out.print(make_table(("column", "field", "examples", "empty"), rows, right=("empty",)))
    empty = [one.column for one in done.columns if one.field != IGNORED and not one.examples]
    ignored = [one.column for one in done.columns if one.field == IGNORED]
    for title, names in (("without any value", empty), ("ignored", ignored)):
        if names:
            out.print(f"[dim]{title}: {escape(', '.join(names))}[/]")
    out.print()


def _print_mailable(done: LeadImportResult) -> None:
    """Print how many new leads may be mailed, and why the others may not."""
    if not done.new:
        return
    bases = format_counts({name: count for name, count in done.by_basis.items() if name != "none"})
    mailable = f"may be mailed (basis in the rows: {bases or 'none'})"
    rows = [(done.by_custodian[Custodian.INTAKE], mailable)]
    rows += [(count, f"not mailed: {_REASONS.get(name, name)}") for name, count in done.by_queue.most_common()]
    rows += [(done.by_custodian[kind], f"not mailed: {reason}") for kind, reason in _CUSTODIANS.items()]
    out.print(
        make_table(("new leads", ""), [row for row in rows if row[0] or row[1] == mailable], right=("new leads",))
    )


def _print_consent(consent: Mapping[str, int]) -> None:
    """Print what the file changes about consent, and where a no wins over its yes."""
    for name, line in _CONSENT_CHANGES.items():
        if count := consent.get(name, 0):
            out.print(f"  [yellow]{pluralize(count, 'lead')} {line}.[/]")


def leads(
    custodian: Annotated[str | None, typer.Option(help="intake, track, queue, offer, rep, resting or closed.")] = None,
    track: Annotated[str | None, typer.Option(help="Only leads on this track.")] = None,
    source: Annotated[str | None, typer.Option(help="Only leads from this source.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only leads in this queue, such as account-ambiguous.")] = None,
    words: Annotated[str, typer.Option("--find", help="Only leads with these words in name, company or address.")] = "",
    sort: Annotated[str, typer.Option(help="due, name, company or newest.")] = "due",
    page: Annotated[int, typer.Option(min=1, help="The next rows: 2 shows those after the first `--limit`.")] = 1,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List leads: who they are, who has custody, what happens next and when."""
    chosen: dict[str, Any] = {"custodian": custodian, "track": track, "source": source, "queue": queue}
    first = (page - 1) * limit
    with open_app() as app:
        now = app.clock.now()
        found = list_leads(app.ctx, now, **chosen, find=words, order=sort, offset=first, limit=limit + 1)
    shown, has_more = found[:limit], len(found) > limit
    rows = [
        (
            each.id,
            f"{', '.join(filter(None, (each.name, each.company)))} {each.email}".strip(),
            " ".join(filter(None, (each.custodian, each.ref, each.step and f"at {each.step}"))),
            each.next_action,
            each.due_at,
            each.engagement,
        )
        for each in shown
    ]
    columns = ("id", "lead", "custodian", "next action", "due (UTC)", "score")
    print_table(columns, rows, shown, json=json, right=("id", "score"), empty="No lead is like that.")
    if has_more and not json:
        out.print(f"[dim]More: --page {page + 1}[/]")


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
    text = f"Lead {lead_id}: {signal_kind.value} {'recorded' if new else 'was recorded before'}."
    print_result({"lead": lead_id, "kind": signal_kind.value, "new": bool(new)}, text, json=json)


def import_signal_file(
    file: Annotated[
        Path, typer.Argument(help="A CSV or workbook with lead, kind and at; value, email and link are optional.")
    ],
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import signals from a file. A row that was imported before is skipped."""
    with open_import(file, report, sheet, encoding, dry_run=dry_run, json=json) as (app, options):
        done = import_signals(app.ctx, file, app.clock.now(), **options)
    print_import(done, dry_run=dry_run, json=json)


def pause(
    lead: LeadArgument,
    day: Annotated[str, typer.Argument(help="The same as --until.")] = "",
    until: Annotated[str, typer.Option(help="An ISO date or time (UTC), or a number of days such as 30d.")] = "",
    json: JsonOption = False,
) -> None:
    """Send a lead no email until a date."""
    until = until or day
    if not until:
        raise InvalidState(f"Until when? Write for example `nurture leads pause {lead} 30d`, or 2027-03-31.")
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
    text = f"Lead {lead_id} is {verb}" + (f" until {format_cell(until)} UTC." if until else ".")
    print_result({"lead": lead_id, verb: True, "until": until}, text, json=json)


def enroll(
    names: Annotated[
        list[str], typer.Argument(metavar="[LEAD] TRACK", help="A lead and a published track; with --where, the track.")
    ],
    where: Annotated[
        str | None, typer.Option(help="Enroll all leads that meet a condition, such as '{field: country, is: DE}'.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --where: only count who enters.")] = False,
    json: JsonOption = False,
) -> None:
    """Enroll a lead, or all that meet a condition, on a track. With --where, their own track is interrupted."""
    if len(names) != (2 if where is None else 1):
        raise NotFound("Write `leads enroll LEAD TRACK`, or for many leads `leads enroll TRACK --where CONDITION`.")
    with open_app() as app:
        if where is None:
            lead_id, track = find.find_lead(app.ctx, names[0]), names[1]
            manual.enroll(app.ctx, lead_id, track, app.clock.now())
            print_result({"lead": lead_id, "track": track}, f"Lead {lead_id} is on {track}.", json=json)
            return
        with app.database.read() as tx:
            condition, warnings = parse_condition(where, app.ctx.definitions.declared_fields(tx))
        found = enroll_where(app.ctx, names[0], condition, app.clock.now(), dry_run=dry_run)
    for problem in warnings:
        err.print(f"[yellow]{escape(problem.message)}. {escape(problem.suggestion)}[/]")
    print_result(found, lambda one: _print_enrolled(one, dry_run=dry_run), json=json)


def _print_enrolled(found: EnrollmentCounts, *, dry_run: bool) -> None:
    total, verb = found.entering.total(), "would enter" if dry_run else "entered"
    named = ", ".join(
        f"{count:,} {f'from {on}' if on else 'on no track'}" for on, count in found.entering.most_common()
    )
    out.print(f"{pluralize(total, 'lead')} {verb} {found.track}{f': {named}' if named else ''}.")
    for reason, count in found.left_out.most_common():
        out.print(f"{count:>7,} left out: {escape(reason)}")


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
    print_result({"lead": lead_id, "queue": queue}, f"Lead {lead_id} is in queue {queue}.", json=json)


_MAX_CLOSED: Final = 10


def describe_closed(lead: ClosedLead) -> str:
    """Return whom the policy closed, and why."""
    name = full_name(lead.fields) or str(lead.fields.get("company") or "")
    who = " ".join(filter(None, (name, f"<{lead.email}>" if lead.email else f"(lead {lead.lead_id})")))
    return f"{who}: {lead.reason}"


def print_closed(leads: Sequence[ClosedLead]) -> None:
    """Print whom the policy closed, and why: at most ten."""
    if not leads:
        return
    out.print(f"[yellow]Closed by the policy, before any track was asked: {pluralize(len(leads), 'lead')}[/]")
    for lead in leads[:_MAX_CLOSED]:
        out.print(f"    {escape(describe_closed(lead))}")
    if len(leads) > _MAX_CLOSED:
        out.print(f"    and {len(leads) - _MAX_CLOSED:,} more: `nurture leads list --custodian closed`")
    out.print("  [dim]Change `readiness:` in sales/policy.yaml, or add the starter keep-everybody.[/]")
