"""Check, publish and simulate definitions; preview and test their emails; list tracks."""

from __future__ import annotations

import json as json_lines
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import TemplatesOption, templates_folder
from nurture.cli.output import JsonOption, err, format_local_time, has_display, make_table, out, print_json
from nurture.clock import RealClock, parse_time
from nurture.definitions.folder import read_folder, scan_folder
from nurture.definitions.read_all import load
from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import InvalidDefinitions, InvalidState, Misconfigured, NotFound, NurtureError
from nurture.files import make_folder, write_private
from nurture.journey.leads.find import find_lead
from nurture.mail.providers.registry import PROVIDERS
from nurture.mail.rendering.render import ComposedEmail
from nurture.publishing import approval
from nurture.publishing import preview as previews
from nurture.publishing import publish as publishing
from nurture.publishing.publish import PublishedChange
from nurture.simulation.engine import simulate as run_simulation

_LABELS = {"sending": "the sending limits"}


def check(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """Check tracks, emails and policy; print each problem with its file, line and fix."""
    folder = templates_folder(templates)
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    json: JsonOption = False,
) -> None:
    """Publish changed definitions as new versions. Leads on a track continue on the newest version."""
    sources = read_folder(templates_folder(templates))
    with open_app(upgrade=True) as app:
        changes = publishing.publish(app.ctx, sources, app.clock.now(), dry_run=dry_run)
        unlisted = publishing.find_removed_tracks(app.ctx, sources)
        keeps_sending = publishing.keeps_sending_rules(app.ctx, sources)
    if json:
        print_json(changes)
        return
    for name, count in unlisted.items():
        err.print(
            f"[yellow]track {name} is no longer in the folder. Its published version stays active, with "
            f"{count} leads.[/] To enroll no more leads, put it back with `audience: nobody`."
        )
    if keeps_sending:
        err.print(
            "[yellow]sending.yaml is no longer in the folder. Its published limits stay active.[/] "
            "To remove the limits, put it back with `default: {}`."
        )
    if not changes:
        out.print("Nothing changed.")
        return
    verb = "would be published" if dry_run else "published"
    for change in changes:
        what = f"track {change.name}" if change.kind == "track" else _LABELS.get(change.kind, change.name)
        old = f" (was version {change.old_version})" if change.old_version else ""
        on_it = f"; {change.leads_on_track} leads are on it" if change.leads_on_track else ""
        out.print(f"{what} version {change.version} {verb}{old}{on_it}")
        for step, to in change.moved_steps.items():
            out.print(f"    leads on {step} continue at {to}")
        if change.activation:
            _print_approval(change)


def _print_approval(change: PublishedChange) -> None:
    by = escape(change.approver)
    if change.activation == approval.PENDING:
        named = by.partition(",")[0]
        out.print(
            f"    [yellow]pending approval by {by}[/]; until then the current version stays in force:\n"
            f'    `nurture policy diff` shows what changes, `nurture policy approve --by "{named}"` approves it',
            soft_wrap=True,
        )
    elif change.activation == approval.FIRST_VERSION:
        out.print(f"    the first version: in force, approved by {by} as policy.yaml states")
    else:
        out.print("    same meaning as the approved version, so it is in force")


def tracks(templates: TemplatesOption = None, json: JsonOption = False) -> None:
    """List the tracks in templates/: priority, number of emails, and goal."""
    rules = load(read_folder(templates_folder(templates)))
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
    if lead is None:
        return previews.render_preview(sources, track, name, previews.SAMPLE_RECIPIENT)
    with open_app() as app:
        recipient = previews.load_recipient(app.ctx, find_lead(app.ctx, lead))
    return previews.render_preview(sources, track, name, recipient)


def test(
    email: Annotated[str, typer.Argument(help="TRACK/EMAIL, such as webinar-attended/01-recording.")],
    to: Annotated[str, typer.Option(help="Your own address.")],
    lead: Annotated[str | None, typer.Option(help="Render the email for this lead.")] = None,
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Send one email to yourself through the configured provider. No lead and no track is changed.

    The exit code is 0 only if the provider accepted the email.
    """
    shown = previews.readdress(_compose(email, lead, templates), to, RealClock().now())
    with open_app(upgrade=True) as app:
        (receipt,) = app.ctx.provider.send([shown], RealClock().now())
        name, settings = app.ctx.provider.name, app.settings
    failure = _receipt_error(receipt, name, to)
    if json:
        reason = None if isinstance(receipt, Accepted) else receipt.reason
        print_json({"provider": name, "receipt": type(receipt).__name__, "to": to, "reason": reason})
        if failure is not None:
            raise typer.Exit(failure.exit_code)
        return
    if failure is not None:
        raise failure
    folder = PROVIDERS[name].folder
    where = f", into {folder(settings)}" if folder is not None else ""
    out.print(f"{type(receipt).__name__} by {name}{where}: {escape(shown.subject)}")


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
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Run one lead through a track in memory with the real engine; print the calendar and the reasons."""
    fields: dict[str, object] = dict(_parse_field(each) for each in field or ())
    if lead is not None:
        with open_app() as app:
            recipient = previews.load_recipient(app.ctx, find_lead(app.ctx, lead))
        fields, zone, country = ({**recipient.fields, **fields}, zone or recipient.zone, country or recipient.country)
    begins = parse_time(start) if start else RealClock().now().replace(second=0, microsecond=0)
    calendar = run_simulation(read_folder(templates_folder(templates)), track, begins, days, fields, zone, country)
    if json:
        print_json(calendar)
        return
    rows = [(format_local_time(day.at, calendar.zone), day.title, day.reason) for day in calendar.days]
    title = f"{track}, from {format_local_time(begins, calendar.zone)}, {days} days ({calendar.zone})"
    out.print(make_table(("when", "event", "reason"), rows, title=title))
    touches = sum(day.is_email for day in calendar.days)
    out.print(f"\n{touches} emails in {days} days if the lead does not react.")


def _parse_field(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise NotFound(f"{text!r} is not a field. Write NAME=VALUE, such as title='Head of Planning'.")
    try:
        return name, json_lines.loads(value)
    except ValueError:
        return name, {"yes": True, "no": False}.get(value.lower(), value)
