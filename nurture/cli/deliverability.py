"""Show sender status, resume paused senders, and resolve messages with an unknown result."""

from datetime import datetime
from typing import Annotated, Final

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nurture.app import open_app
from nurture.cli.arguments import current_user
from nurture.cli.output import JsonOption, format_cell, out, pluralize, print_json
from nurture.domain.delivery.stops import start_command
from nurture.domain.planning.lead_view import UNKNOWN_COUNTS_AS_SENT_AFTER
from nurture.journey.delivery import circuit_breakers, unknown
from nurture.journey.delivery.circuit_breakers import DeliverabilityStatus, DomainStatus
from nurture.journey.delivery.queries import UnknownMessage
from nurture.journey.delivery.send_checks import RECHECK_AFTER
from nurture.journey.delivery.unknown import PendingResolution
from nurture.mail.providers.registry import PROVIDERS
from nurture.outbox.circuit_breakers import Breaker
from nurture.outbox.messages import MARKETING
from nurture.reporting.domain_wording import describe_rate, describe_usage, describe_warm_up
from nurture.runtime import quarantine
from nurture.settings_model import is_local

_MAX_WIDTH: Final = 110


def list_unknown_messages(json: JsonOption = False) -> None:
    """List messages with an unknown delivery result, and what happens to each if nobody resolves it."""
    with open_app() as app:
        found, now = unknown.list_pending_resolutions(app.ctx), app.clock.now()
    if json:
        print_json([{**one.message._asdict(), "resolution": one.resolution, "at": one.at} for one in found])
        return
    if not found:
        out.print("No message has an unknown result.")
        return
    out.print(f"[bold]{pluralize(len(found), 'message')} with an unknown result[/]: each may or may not have arrived.")
    for one in found:
        _print_unknown_message(one, now)
    out.print("\nAsk the provider or the recipient whether it arrived, then resolve it by its id:")
    out.print("  nurture mail resolve ID --sent       [dim]it arrived: its track continues[/]")
    out.print("  nurture mail resolve ID --not-sent   [dim]it did not arrive: it is sent again[/]")


def _print_unknown_message(one: PendingResolution, now: datetime) -> None:
    message = one.message
    if message.kind in MARKETING:
        what = (
            f"{message.track}/{message.step} to lead {message.lead_id}, {message.email or 'whose address was erased'}"
        )
    else:
        what = f"{message.kind} about lead {message.lead_id} to rep {message.rep}"
    tried = f"attempt {max(message.attempts, 1)}"
    out.print()
    out.print(Text(f"{message.id}  {what}", style="bold"))
    _print_details(
        ("tried", f"{format_cell(message.called_at)} UTC, {tried}"),
        ("reason", message.reason or "not known"),
        ("next", _default_resolution(one, now)),
    )


def _default_resolution(one: PendingResolution, now: datetime) -> str:
    """Return what happens to the message if nobody resolves it."""
    if one.at is None:
        return "stays unknown and is not sent again; the offer expires as usual"
    hours = (one.at - one.message.called_at).total_seconds() / 3600
    is_past = one.at <= now
    if one.resolution == "resend":
        when = "with the next delivery" if is_past else f"after {format_cell(one.at)} UTC"
        return f"sent again {when}, as templates/sending.yaml says; the lead may get it twice"
    if is_past:
        return f"counts as sent since {format_cell(one.at)} UTC, so its track continues"
    return f"held; counts as sent from {format_cell(one.at)} UTC ({hours:.0f} hours), then its track continues"


def resolve(
    ids: Annotated[list[int], typer.Argument(metavar="ID", help="Ids that `nurture mail messages` lists.")],
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether they were sent.")],
    json: JsonOption = False,
) -> None:
    """Resolve messages with an unknown result: they were sent, or they were not and are sent again."""
    with open_app() as app:
        now = app.clock.now()
        found = unknown.resolve_unknown(app.ctx, ids, now, sent=sent)
    if json:
        print_json({"resolved": [one.id for one in found], "sent": sent})
        return
    for one in found:
        out.print(f"{one.id} {_describe_resolution(one, now, sent=sent)}", markup=False)
    out.print("[dim]`nurture explain LEAD` shows it.[/]")


def _describe_resolution(one: UnknownMessage, now: datetime, *, sent: bool) -> str:
    name = f"({one.track}/{one.step}, lead {one.lead_id})" if one.kind in MARKETING else f"({one.send_key})"
    if sent:
        then = ": its track continues from there" if one.kind == "touch" else ""
        return f"{name} counts as sent at {format_cell(one.called_at)} UTC{then}."
    if one.kind not in MARKETING:
        return f"{name} is sent again with the next delivery, if the offer is still open."
    if now >= one.called_at + UNKNOWN_COUNTS_AS_SENT_AFTER:
        return f"{name} counts as not sent. If its track has moved on, it is cancelled."
    return f"{name} is sent again with the next delivery, if the lead may still be mailed."


def show_deliverability(json: JsonOption = False) -> None:
    """Show the provider, each sender domain's sent mail and limits, and what is paused."""
    with open_app() as app:
        now = app.clock.now()
        found = circuit_breakers.load_deliverability_status(app.ctx, now)
    if json:
        print_json({"at": now, **{name: getattr(found, name) for name in ("provider", "breakers", "domains", "stops")}})
        return
    _print_provider(found)
    for stop in found.stops:
        out.print()
        out.print(Text(f"{stop}", style="yellow"))
        _print_details(("next", f"to start again: {start_command(stop)}"))
    for domain in found.domains:
        _print_domain(domain)
    if not found.domains:
        out.print("\nNo track is published, so no domain sends. Run `nurture publish`.")
        return
    out.print("\n[dim]Hours and days are in UTC. `nurture doctor` checks whether bounces are received.[/]")


def _print_provider(found: DeliverabilityStatus) -> None:
    breaker = found.provider_breaker
    out.print(_status_line(found.provider, breaker, "writes files" if is_local(PROVIDERS, found.provider) else "sends"))
    if breaker is not None:
        _print_details(*_breaker_details(breaker))
    named = {one.domain for one in found.domains}
    for other in found.breakers:
        if other is not breaker and not (other.kind == "domain" and other.name in named):
            out.print()
            in_use = "" if other.kind == quarantine.KIND else " (not in use)"
            out.print(_status_line(f"{other.name}{in_use}", other))
            _print_details(*_breaker_details(other))


def _print_domain(one: DomainStatus) -> None:
    out.print()
    out.print(_status_line(one.domain, one.pause))
    if one.pause is not None:
        _print_details(*_breaker_details(one.pause))
    limits, received, warm_up = one.limits, one.stats, describe_warm_up(one)
    _print_details(
        ("tracks", ", ".join(one.tracks)),
        ("this hour", describe_usage(one.sent.this_hour, limits.per_hour)),
        ("today", describe_usage(one.sent.today, one.allowed_today) + (f"; warm-up {warm_up}" if warm_up else "")),
        ("bounced", describe_rate(received.bounced, received.sent, limits.max_bounce_rate)),
        ("complained", describe_rate(received.complained, received.sent, limits.max_complaint_rate)),
    )


def _status_line(name: str, breaker: Breaker | None, active_label: str = "sends") -> Text:
    state = ("paused", "bold yellow") if breaker is not None else (active_label, "green")
    return Text.assemble((name, "bold"), "  ", state)


def _breaker_details(breaker: Breaker) -> list[tuple[str, str]]:
    until = f"retried at {format_cell(breaker.until)} UTC" if breaker.until else "until a person resumes it"
    wait = ", and it resumes by itself" if breaker.until else ""
    then = f"fix the cause{wait}; to resume now: nurture mail resume {breaker.name}"
    return [
        ("since", f"{format_cell(breaker.since)} UTC, {until}"),
        ("reason", breaker.reason),
        ("next", quarantine.remedy_for(breaker) if breaker.kind == quarantine.KIND else then),
    ]


def resume(
    name: Annotated[
        str, typer.Argument(help="A provider or sender domain that `nurture reports deliverability` lists.")
    ],
    json: JsonOption = False,
) -> None:
    """Resume a paused provider or sender domain. Your user name is recorded."""
    by = f"manually by {current_user()}"
    with open_app() as app:
        resumed = circuit_breakers.resume(app.ctx, name, by, app.clock.now())
    if json:
        print_json({"resumed": resumed, "by": by})
        return
    for one in resumed:
        out.print(Text(f"{one.name} is no longer paused. {_describe_resumed(one)}"))


def _describe_resumed(one: Breaker) -> str:
    if one.kind == "domain":
        minutes = RECHECK_AFTER.total_seconds() / 60
        return (
            f"Its mail is sent within {minutes:.0f} minutes, as limits and send windows allow. Bounces "
            "and complaints are counted from zero again."
        )
    retry_note = f" Held messages are sent by {format_cell(one.until)} UTC." if one.until else ""
    return f"The next delivery uses it again, and pauses it again if it still fails.{retry_note}"


def print_breaker(breaker: Breaker) -> None:
    """Print what is paused, since when, why and until when."""
    out.print(_status_line(f"mail from {breaker.name}" if breaker.kind == "domain" else breaker.name, breaker))
    _print_details(*_breaker_details(breaker))


def _print_details(*rows: tuple[str, str]) -> None:
    """Print names and values as a two-column grid."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=10, style="dim")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(value))
    out.print(Padding(grid, (0, 0, 0, 2)), width=min(out.width, _MAX_WIDTH))
