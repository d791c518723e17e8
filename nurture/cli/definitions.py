"""Check, publish and simulate definitions; preview and test their emails; list tracks."""

from __future__ import annotations

import json as json_lines
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import parse_time
from nurture.cli.output import JsonOption, err, format_local_time, has_display, make_table, out, print_json
from nurture.clock import RealClock
from nurture.definitions.folder import read_folder, scan_folder
from nurture.definitions.project import load
from nurture.errors import InvalidDefinitions, InvalidState, Misconfigured, NotFound, NurtureError
from nurture.files import make_folder, write_private
from nurture.journey.leads.find import find_lead
from nurture.mail.providers.base import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing import approval
from nurture.publishing import preview as previews
from nurture.publishing import publish as publishing
from nurture.publishing.publish import PublishedChange
from nurture.settings import Settings
from nurture.simulation.engine import simulate as run_simulation

TemplatesOption = Annotated[
    Path | None, typer.Option("--templates", help="The folder of rules; default NURTURE_TEMPLATES.")
]

_LABELS = {"sending": "the sending rules"}


def _templates_folder(given: Path | None) -> Path:
    return given or Settings.read().templates


def check(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """Check tracks, emails and policy; print every problem with file, line and what to write instead."""
    folder = _templates_folder(templates)
    problems = publishing.check_definitions(*scan_folder(folder))
    if json:
        print_json(
            [
                {"file": each.file, "line": each.line, "message": each.message, "suggestion": each.suggestion}
                for each in problems
            ]
        )
    for problem in () if json else problems:
        out.print(f"[bold]{folder / problem.file}:{problem.line}[/] {escape(problem.message)}")
        out.print(f"    [dim]{escape(problem.suggestion)}[/]")
    if problems:
        if not json:
            out.print(f"[bold red]{len(problems)} problem{'s' if len(problems) > 1 else ''}[/]")
        raise typer.Exit(InvalidDefinitions.exit_code)
    if not json:
        rules = load(read_folder(folder))
        emails = sum(len(track.emails) for track in rules.tracks.values())
        out.print(f"[green]No problems[/] in {len(rules.tracks)} tracks, {emails} emails and the policy.")


def publish(
    templates: TemplatesOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    json: JsonOption = False,
) -> None:
    """Publish what changed as new versions; leads on a track follow the newest one from their step on."""
    sources = read_folder(_templates_folder(templates))
    with open_app(upgrade=True) as app:
        changes = publishing.publish(app.ctx, sources, app.clock.now(), dry_run=dry_run)
        unlisted = publishing.find_removed_tracks(app.ctx, sources)
        keeps_sending = publishing.keeps_sending_rules(app.ctx, sources)
    if json:
        print_json(changes)
        return
    for name, count in unlisted.items():
        err.print(
            f"[yellow]track {name} is not in the folder any more, but goes on as it was published, with "
            f"{count} leads.[/] To let no more in, put it back with `audience: nobody`."
        )
    if keeps_sending:
        err.print(
            "[yellow]sending.yaml is not in the folder any more, but goes on as it was published.[/] "
            "To lift its limits, put it back with `default: {}`."
        )
    if not changes:
        out.print("Nothing changed; the published versions stay.")
        return
    verb = "would be published" if dry_run else "published"
    for change in changes:
        what = f"track {change.name}" if change.kind == "track" else _LABELS.get(change.kind, change.name)
        old = f" (was version {change.old_version})" if change.old_version else ""
        on_it = f"; {change.leads_on_track} leads are on it" if change.leads_on_track else ""
        out.print(f"{what} version {change.version} {verb}{old}{on_it}")
        for step, to in change.moved_steps.items():
            out.print(f"    leads on {step} go on at {to}")
        if change.activation:
            _print_approval(change)


def _print_approval(change: PublishedChange) -> None:
    by = escape(change.approver)
    if change.activation == approval.PENDING:
        named = by.partition(",")[0]
        out.print(
            f"    [yellow]it waits for the approval of {by}[/]; until then it is as before:\n"
            f'    `nurture policy diff` shows what changes, `nurture policy approve --by "{named}"` approves',
            soft_wrap=True,
        )
    elif change.activation == approval.FIRST_VERSION:
        out.print(f"    the first one: it counts as approved by {by}, as it says itself")
    else:
        out.print("    it means what was approved before, so it is in force")


def tracks(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """List the tracks in templates/: goal, priority, emails, and where leads go in the end."""
    rules = load(read_folder(_templates_folder(templates)))
    rows = [
        (name, track.program(0).priority, len(track.emails), track.program(0).goal)
        for name, track in sorted(rules.tracks.items())
    ]
    if json:
        print_json([dict(zip(("track", "priority", "emails", "goal"), row, strict=True)) for row in rows])
        return
    out.print(make_table(("track", "priority", "emails", "goal"), rows, right=("priority", "emails")))


def _parse_email_name(text: str) -> tuple[str, str]:
    track, slash, email = text.partition("/")
    if not slash or not email:
        raise NotFound(f"{text!r} names no email. Write TRACK/EMAIL, as webinar-attended/01-recording.")
    return track, email.removesuffix(".md")


def preview(
    email: Annotated[str, typer.Argument(help="TRACK/EMAIL, as webinar-attended/01-recording.")],
    lead: Annotated[str | None, typer.Option(help="A lead's id, address or external id.")] = None,
    templates: TemplatesOption = None,
    output: Annotated[Path, typer.Option(help="Where the files go.")] = Path("build/preview"),
    json: JsonOption = False,
) -> None:
    """Show an email as one lead would get it: html and text files, and the headers."""
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
    sources = read_folder(_templates_folder(templates))
    if lead is None:
        return previews.render_preview(sources, track, name, previews.SAMPLE_RECIPIENT)
    with open_app() as app:
        recipient = previews.load_recipient(app.ctx, find_lead(app.ctx, lead))
    return previews.render_preview(sources, track, name, recipient)


def test(
    email: Annotated[str, typer.Argument(help="TRACK/EMAIL, as webinar-attended/01-recording.")],
    to: Annotated[str, typer.Option(help="Your own address.")],
    lead: Annotated[str | None, typer.Option(help="Write it as for this lead.")] = None,
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Send one email to yourself through the configured provider. No lead and no track is touched.

    It ends with exit code 0 only if the provider has taken the email.
    """
    shown = previews.readdress(_compose(email, lead, templates), to, RealClock().now())
    with open_app(upgrade=True) as app:
        (receipt,) = app.ctx.provider.send([shown], RealClock().now())
        name = app.ctx.provider.name
    failure = _receipt_error(receipt, name, to)
    if json:
        reason = None if isinstance(receipt, Accepted) else receipt.reason
        print_json({"provider": name, "receipt": type(receipt).__name__, "to": to, "reason": reason})
        if failure is not None:
            raise typer.Exit(failure.exit_code)
        return
    if failure is not None:
        raise failure
    where = f", into {Settings.read().maildir}/new" if name == "maildir" else ""
    out.print(f"{type(receipt).__name__} by {name}{where}: {escape(shown.subject)}")


def _receipt_error(receipt: Receipt, provider: str, to: str) -> NurtureError | None:
    """Return as an error what became of a test email, None if the provider has taken it."""
    match receipt:
        case Accepted():
            return None
        case NotSent():
            return Misconfigured(f"Not sent by {provider}: {receipt.reason}")
        case Rejected():
            return InvalidState(f"Rejected by {provider}: {receipt.reason}")
        case Unknown():
            return InvalidState(
                f"Delivery unknown at {provider}: {receipt.reason.rstrip('.')}. Nobody knows whether it went:"
                f" look into the mailbox of {to} before you send it again."
            )


def simulate(
    track: Annotated[str, typer.Argument(help="A track's name.")],
    lead: Annotated[str | None, typer.Option(help="Take the fields of this lead.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How many days.")] = 180,
    start: Annotated[str | None, typer.Option(help="When the lead enters (ISO, UTC); default now.")] = None,
    zone: Annotated[str, typer.Option(help="The lead's time zone, as Europe/Berlin.")] = "",
    country: Annotated[str, typer.Option(help="The lead's country (ISO code), for its holidays.")] = "",
    field: Annotated[list[str] | None, typer.Option(help="A field, as title='Head of Planning'.")] = None,
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Run one lead through a track with the real engine, in memory; print the calendar and the reasons."""
    fields: dict[str, object] = dict(_parse_field(each) for each in field or ())
    if lead is not None:
        with open_app() as app:
            recipient = previews.load_recipient(app.ctx, find_lead(app.ctx, lead))
        fields, zone, country = ({**recipient.fields, **fields}, zone or recipient.zone, country or recipient.country)
    begins = parse_time(start) if start else RealClock().now().replace(second=0, microsecond=0)
    calendar = run_simulation(read_folder(_templates_folder(templates)), track, begins, days, fields, zone, country)
    if json:
        print_json(calendar)
        return
    rows = [(format_local_time(day.at, calendar.zone), day.title, day.reason) for day in calendar.days]
    title = f"{track}, from {format_local_time(begins, calendar.zone)}, {days} days ({calendar.zone})"
    out.print(make_table(("when", "what", "reason"), rows, title=title))
    touches = sum(day.title.startswith("email ") for day in calendar.days)
    out.print(f"\n{touches} emails in {days} days, if the lead does nothing.")


def _parse_field(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise NotFound(f"{text!r} is no field. Write NAME=VALUE, as title='Head of Planning'.")
    try:
        return name, json_lines.loads(value)
    except ValueError:
        return name, {"yes": True, "no": False}.get(value.lower(), value)
