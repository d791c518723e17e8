"""Check and simulate definitions; preview and test their emails; list tracks."""

import json as json_lines
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import ClicksOption, RepliesOption, TemplatesOption, templates_folder
from nurture.cli.output import (
    JsonOption,
    err,
    format_local_time,
    has_display,
    make_table,
    out,
    pluralize,
    print_json,
    print_table,
)
from nurture.clock import RealClock, parse_time
from nurture.definitions.folder import SENDING, Sources, read_folder, scan_folder
from nurture.definitions.read_all import load, read
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.domain.delivery.stops import ALL_TRACKS, Stops
from nurture.domain.lead import Custodian
from nurture.domain.problems import Problem, faults
from nurture.errors import InvalidDefinitions, InvalidState, Misconfigured, NotFound, NurtureError
from nurture.files import make_folder, write_private
from nurture.journey.leads import stop_queries
from nurture.journey.leads.find import find_lead
from nurture.journey.leads.received_queries import count_content_left
from nurture.journey.tracks import emails_to_self
from nurture.mail.providers.registry import PROVIDERS
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing import copies
from nurture.publishing import preview as previews
from nurture.publishing import publish as publishing
from nurture.publishing.audience_check import AudienceCount, count_audiences
from nurture.publishing.batch_check import find_batch_problems
from nurture.publishing.day_check import find_past_days
from nurture.reporting.field_queries import list_fields
from nurture.reporting.queries import leads_by_custody
from nurture.settings import Settings
from nurture.simulation.engine import simulate as run_simulation
from nurture.simulation.script import read_script


def check(
    templates: TemplatesOption = None,
    leads: Annotated[bool, typer.Option("--leads", help="Also count the leads that fit each audience today.")] = False,
    json: JsonOption = False,
) -> None:
    """Check tracks, emails and policy; print each problem with its file, line and fix. Warnings stop nothing."""
    folder = templates_folder(templates)
    sources, unreadable = scan_folder(folder)
    problems = [*publishing.check_definitions(sources, unreadable), *_check_pages(sources)]
    problems += [*find_batch_problems(sources, Settings.read()), *find_past_days(sources, RealClock().now().date())]
    count = len(faults(problems))
    counts: list[AudienceCount] = []
    if leads and not count:
        with open_app(upgrade=True) as app:
            counts = count_audiences(app.ctx, read_folder(folder), app.clock.now())
    if json:
        print_json({"problems": problems, "audiences": counts} if leads else problems)
    else:
        _print_problems(folder, problems, counts)
    if count:
        raise typer.Exit(InvalidDefinitions.exit_code)


def _print_found(folder: Path, problems: Sequence[Problem]) -> None:
    for problem in problems:
        warning = "[yellow]warning:[/] " if problem.is_warning else ""
        out.print(f"[bold]{folder / problem.file}:{problem.line}[/] {warning}{escape(problem.message)}")
        out.print(f"    [dim]{escape(problem.suggestion)}[/]")


def _print_problems(folder: Path, problems: Sequence[Problem], counts: Sequence[AudienceCount]) -> None:
    _print_found(folder, problems)
    for one in counts:
        text = f"[bold]{one.track}[/]: {escape(str(one))}"
        out.print(text if one.fit else f"[yellow]{text}[/]")
    for line in _load_content_left() if counts else ():
        out.print(f"[yellow]{escape(line)}[/]")
    if count := len(faults(problems)):
        out.print(f"[bold red]{count} problem{'s' if count > 1 else ''}[/]")
        return
    rules = load(read_folder(folder))
    emails = sum(len(one.emails) for one in (*rules.tracks.values(), *rules.broadcasts.values()))
    broadcasts = f", {pluralize(len(rules.broadcasts), 'broadcast')}" if rules.broadcasts else ""
    warnings = f", {len(problems)} warning{'s' if len(problems) > 1 else ''}" if problems else ""
    out.print(
        f"[green]No problems[/]{warnings} in {len(rules.tracks)} tracks{broadcasts}, {emails} emails and the policy."
    )


def _check_pages(sources: Sources) -> list[Problem]:
    """Return a warning if leads are to confirm their consent, and no page could take their answer."""
    what = "`confirm: yes` needs web pages, and NURTURE_BASE_URL is not set: these leads wait and get no email"
    warning = Problem(SENDING, 1, what, "Set NURTURE_BASE_URL to the public address of `nurture up`", True)
    return [warning] if read(sources)[0].sending.confirm and Settings.read().base_url is None else []


def tracks(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """List the tracks in templates/: priority, emails, the leads on it, goal, and whether they are stopped."""
    rules = load(read_folder(templates_folder(templates)))
    stops, leads = _load_stops(), _count_leads()
    rows: list[tuple[object, ...]] = []
    for name, track in sorted(rules.tracks.items()):
        program, on_it = track.program(0), leads.get(name, 0) if leads else None
        stopped = stops[name].details if name in stops else ""
        rows.append((name, program.priority, len(track.emails), on_it, program.goal, stopped))
    gone = [(name, stop) for name, stop in stops.items() if name and name not in rules.tracks]
    rows += [(name, None, None, leads.get(name, 0), "", stop.details) for name, stop in gone]
    columns = ("track", "priority", "emails", "leads", "goal", "stopped")
    data = [dict(zip(columns, row, strict=True)) for row in rows]
    print_table(columns, rows, data, json=json, right=("priority", "emails", "leads"))
    if ALL_TRACKS in stops:
        err.print(f"[yellow]{escape(str(stops[ALL_TRACKS]))}[/]")
    if empty := [name for name in sorted(rules.tracks) if leads and name not in leads]:
        err.print(f"[yellow]Nobody is on {escape(', '.join(empty))}: `nurture check --leads` counts who would fit.[/]")
    for line in _load_content_left():
        err.print(f"[yellow]{escape(line)}[/]")


def copy(
    origin: Annotated[str, typer.Argument(metavar="FROM", help="A track, or an email as TRACK/EMAIL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The name of the new track, or TRACK/EMAIL.")],
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Copy a track, or an email with all its languages, in templates/. Nothing is published.

    It says which subjects the copy shares, and which new problems `nurture check` finds.
    """
    folder = templates_folder(templates)
    found = copies.write_copy(folder, origin, target)
    if json:
        print_json({"files": sorted(found.files), "notes": found.notes, "problems": found.problems})
        return
    out.print(
        f"Copied {escape(origin)} to {escape(target)}: {pluralize(len(found.files), 'file')}. Nothing is published."
    )
    for note in found.notes:
        out.print(f"  {escape(note)}")
    _print_found(folder, found.problems)
    out.print("Next: change the copy, then `nurture check` and `nurture publish`.")


def _count_leads() -> dict[str, int]:
    """Return how many leads are on each track now; nothing without a database, or without leads on any."""
    with suppress(NurtureError), open_app() as app, app.database.read() as tx:
        counts = leads_by_custody(tx, None)
        return {ref: count for (kind, ref), count in counts.items() if kind == Custodian.TRACK}
    return {}


def _load_content_left() -> list[str]:
    """Return what to say about leads who have had all, or nearly all, of a track; nothing without a database."""
    with suppress(NurtureError), open_app() as app, app.database.read() as tx:
        current = app.ctx.definitions.find_current(tx)
        counted = count_content_left(tx, current.programs) if current is not None else []
        return [str(one) for one in counted if str(one)]
    return []


def _load_stops() -> Stops:
    """Return the active stops; none without a database: the folder can be listed before there is one."""
    with suppress(NurtureError), open_app() as app, app.database.read() as tx:
        return stop_queries.load_stops(tx)
    return {}


def fields(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """List all fields of leads: type, label, the share of leads that have each, and examples."""
    rules = load(read_folder(templates_folder(templates)))
    with open_app(upgrade=True) as app:
        found = list_fields(app.ctx, rules.fields)
    rows = [
        (
            one.name,
            one.type,
            one.label if one.declared else "not declared",
            None if one.coverage is None else f"{one.coverage:.0%}",
            "; ".join(shorten(example, 24, placeholder="…") for example in one.examples),
        )
        for one in found
    ]
    print_table(("field", "type", "label", "leads", "examples"), rows, found, json=json, right=("leads",))


def _parse_email_name(text: str) -> tuple[str, str]:
    track, slash, email = text.rpartition("/")
    if not slash or not email:
        raise NotFound(f"{text!r} is not an email. Write TRACK/EMAIL, such as webinar-attended/01-recording.")
    return track, email.removesuffix(".md")


def preview(
    email: Annotated[str, typer.Argument(help="TRACK/EMAIL, such as webinar-attended/01-recording.")],
    lead: Annotated[
        str | None, typer.Option(help="A lead's id, email address or external id. Default: a sample lead.")
    ] = None,
    templates: TemplatesOption = None,
    output: Annotated[Path, typer.Option(help="The folder for the HTML and text files.")] = Path("build/preview"),
    json: JsonOption = False,
) -> None:
    """Render an email as one lead would get it: subject, headers, and HTML and text files."""
    shown = _compose(email, lead, templates)
    make_folder(output, owned=False)
    stem = email.replace("/", "--")
    html, text = output / f"{stem}.html", output / f"{stem}.txt"
    write_private(html, shown.html)
    write_private(text, shown.text)
    if json:
        print_json({"subject": shown.subject, "headers": dict(shown.headers), "html": str(html), "text": str(text)})
        return
    out.print(f"[bold]Subject:[/] {escape(shown.subject)}")
    out.print(f"[bold]From:[/]    {escape(shown.sender.name)} <{escape(shown.sender.email)}>")
    out.print(f"[bold]To:[/]      {escape(shown.to.name)} <{escape(shown.to.email)}>")
    for name, value in shown.headers:
        out.print(f"[bold]{name}:[/] {escape(value)}", soft_wrap=True)
    out.print()
    out.print(escape(shown.text))
    out.print(f"\n[dim]{html}\n{text}[/]")
    if has_display():
        webbrowser.open(html.resolve().as_uri())


def _compose(email: str, lead: str | None, templates: Path | None) -> ComposedEmail:
    track, name = _parse_email_name(email)
    sources = read_folder(templates_folder(templates))
    return previews.render_preview(sources, track, name, _load_recipient(lead))


def _load_recipient(lead: str | None) -> emails_to_self.Recipient:
    if lead is None:
        return emails_to_self.SAMPLE_RECIPIENT
    with open_app() as app:
        return emails_to_self.load_recipient(app.ctx, find_lead(app.ctx, lead), app.clock.now())


def test(
    email: Annotated[str, typer.Argument(help="TRACK/EMAIL, such as webinar-attended/01-recording; TRACK for all.")],
    to: Annotated[str, typer.Option(help="Your own address.")],
    lead: Annotated[str | None, typer.Option(help="Render the email for this lead.")] = None,
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Send one email, or all of a track, to yourself through the configured provider. No lead is changed.

    The exit code is 0 only if the provider accepted each email.
    """
    if "/" in email:
        composed = [_compose(email, lead, templates)]
    else:
        composed = previews.render_track(read_folder(templates_folder(templates)), email, _load_recipient(lead))
    with open_app(upgrade=True) as app:
        now = RealClock().now()
        shown = [emails_to_self.readdress(one, to, app.ctx.reply_domain, now) for one in composed]
        receipts = app.ctx.provider.send(shown, now)
        name, settings = app.ctx.provider.name, app.settings
    failures = [_receipt_error(receipt, name, to) for receipt in receipts]
    folder = PROVIDERS[name].folder
    where = f", into {folder(settings)}" if folder is not None else ""
    if json:
        reports = [
            {
                "provider": name,
                "receipt": type(receipt).__name__,
                "to": to,
                "reason": None if isinstance(receipt, Accepted) else receipt.reason,
            }
            for receipt in receipts
        ]
        print_json(reports[0] if "/" in email else reports)
    else:
        for one, receipt, failure in zip(shown, receipts, failures, strict=True):
            if failure is None:
                out.print(f"{type(receipt).__name__} by {name}{where}: {escape(one.subject)}")
    for failure in filter(None, failures):
        if json:
            raise typer.Exit(failure.exit_code)
        raise failure


def _receipt_error(receipt: Receipt, provider: str, to: str) -> NurtureError | None:
    """Return the error of a test email, None if the provider accepted it."""
    match receipt:
        case Accepted():
            return None
        case NotSent():
            return Misconfigured(f"Not sent by {provider}: {receipt.reason}")
        case Rejected():
            return InvalidState(f"Rejected by {provider}: {receipt.reason}")
        case Unknown():
            return InvalidState(
                f"Delivery unknown at {provider}: {receipt.reason.rstrip('.')}. The email may have been sent:"
                f" check the mailbox of {to} before you send it again."
            )


def simulate(
    track: Annotated[str, typer.Argument(help="A track's name.")],
    lead: Annotated[str | None, typer.Option(help="Use the fields of this lead.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How many days to simulate.")] = 180,
    start: Annotated[str | None, typer.Option(help="When the lead enrolls (ISO, UTC); default now.")] = None,
    zone: Annotated[str, typer.Option(help="The lead's time zone, such as Europe/Berlin.")] = "",
    country: Annotated[str, typer.Option(help="The lead's country (ISO code), for its holidays.")] = "",
    field: Annotated[
        list[str] | None, typer.Option(help="A field, such as title='Head of Planning'. May be repeated.")
    ] = None,
    clicks: ClicksOption = None,
    replies: RepliesOption = None,
    broadcast: Annotated[
        list[str] | None, typer.Option(help="A broadcast that is released at the start. May be repeated.")
    ] = None,
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Run one lead through a track in memory with the real engine; print the calendar and the reasons."""
    fields: dict[str, object] = dict(_parse_field(each) for each in field or ())
    if lead is not None:
        with open_app() as app:
            recipient = emails_to_self.load_recipient(app.ctx, find_lead(app.ctx, lead), app.clock.now())
        fields, zone, country = ({**recipient.fields, **fields}, zone or recipient.zone, country or recipient.country)
    begins = parse_time(start) if start else RealClock().now().replace(second=0, microsecond=0)
    sources, script = read_folder(templates_folder(templates)), read_script(clicks, replies)
    calendar = run_simulation(sources, track, begins, days, fields, zone, country, script, broadcast or ())
    if json:
        print_json(calendar)
        return
    rows = [(format_local_time(day.at, calendar.zone), day.title, day.reason) for day in calendar.days]
    title = f"{track}, from {format_local_time(begins, calendar.zone)}, {days} days ({calendar.zone})"
    out.print(make_table(("when", "event", "reason"), rows, title=title, whole=("when",)))
    touches = sum(day.is_email for day in calendar.days)
    does = "as scripted" if script else "not at all"
    out.print(f"\n{pluralize(touches, 'email')} in {pluralize(days, 'day')} if the lead reacts {does}.")
    if not country:
        out.print("[dim]No public holidays: the lead's country is not known. Name it with --country.[/]")


def _parse_field(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise NotFound(f"{text!r} is not a field. Write NAME=VALUE, such as title='Head of Planning'.")
    try:
        return name, json_lines.loads(value)
    except ValueError:
        return name, {"yes": True, "no": False}.get(value.lower(), value)
