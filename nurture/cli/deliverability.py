"""Sender status, sending pauses, and messages with an unknown result."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from typing import Annotated, Final

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, cell, many, out
from nurture.domain.planning.lead_view import DOUBT_COUNTS_AS_SENT_AFTER
from nurture.journey.delivery import circuit_breakers, unknown
from nurture.journey.delivery.circuit_breakers import DomainStanding, Standing
from nurture.journey.delivery.send_checks import LOOK_AGAIN_AFTER
from nurture.journey.delivery.unknown import Doubtful
from nurture.journey.delivery.unknown_queries import Doubt
from nurture.outbox.circuit_breakers import Brake
from nurture.runtime import quarantine

_WIDEST: Final = 110


def list_doubts(json: JsonOption = False) -> None:
    """List messages of which nobody knows whether they went, and what becomes of each by itself."""
    with open_app() as app:
        found, now = unknown.outlook(app.house), app.clock.now()
    if json:
        as_json([{**one.message._asdict(), "then": one.then, "at": one.at} for one in found])
        return
    if not found:
        out.print("No message is in doubt.")
        return
    out.print(f"[bold]{many(len(found), 'message')} in doubt[/], which may have arrived or not.")
    for one in found:
        _tell_doubt(one, now)
    out.print("\nAsk the provider or the people whether it came, and settle it by its number:")
    out.print("  nurture delivery resolve ID --sent       [dim]it came: its track goes on[/]")
    out.print("  nurture delivery resolve ID --not-sent   [dim]it did not: it goes out again[/]")


def _tell_doubt(one: Doubtful, now: datetime) -> None:
    known = one.message
    if known.kind == "touch":
        what = f"{known.track}/{known.step} to lead {known.lead_id}, {known.email or 'whose address is gone'}"
    else:
        what = f"{known.kind} about lead {known.lead_id} to rep {known.rep}"
    tried = "the first call" if known.attempts <= 1 else f"call number {known.attempts}"
    out.print()
    out.print(Text(f"{known.id}  {what}", style="bold"))
    _facts(
        ("called", f"{cell(known.called_at)} UTC, {tried}"),
        ("why", known.reason or "not known"),
        ("then", _by_itself(one, now)),
    )


def _by_itself(one: Doubtful, now: datetime) -> str:
    """Say what becomes of it if nobody settles it."""
    if one.at is None:
        return "stays as it is: nobody is written to twice, and the offer runs out in its own time"
    hours = (one.at - one.message.called_at).total_seconds() / 3600
    passed = one.at <= now
    if one.then == "sent again":
        when = "with the next delivery" if passed else f"after {cell(one.at)} UTC"
        return f"goes out again {when}, as templates/sending.yaml says: it may deliver twice"
    if passed:
        return f"is held; since {cell(one.at)} UTC it counts as sent, so its track goes on"
    return f"is held; from {cell(one.at)} UTC on ({hours:.0f} hours) it counts as sent, so its track goes on"


def settle(
    ids: Annotated[
        list[int], typer.Argument(metavar="ID", help="Numbers that `nurture delivery messages` lists.")
    ],
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether they went.")],
    json: JsonOption = False,
) -> None:
    """Say what you found out: the messages were sent, or they were not and are to go out again."""
    with open_app() as app:
        now = app.clock.now()
        found = unknown.settle(app.house, ids, now, sent=sent)
    if json:
        as_json({"settled": [one.id for one in found], "sent": sent})
        return
    for one in found:
        out.print(f"{one.id} {_what_follows(one, now, sent=sent)}", markup=False)
    out.print("[dim]`nurture explain LEAD` tells of it.[/]")


def _what_follows(one: Doubt, now: datetime, *, sent: bool) -> str:
    name = f"({one.track}/{one.step}, lead {one.lead_id})" if one.kind == "touch" else f"({one.send_key})"
    if sent:
        then = ": its track goes on from there" if one.kind == "touch" else ""
        return f"{name} counts as sent at {cell(one.called_at)} UTC{then}."
    if one.kind != "touch":
        return f"{name} goes out again with the next delivery, if the offer still stands."
    if now >= one.called_at + DOUBT_COUNTS_AS_SENT_AFTER:
        return f"{name} counts as not sent. If its track has gone on meanwhile, it is called off."
    return f"{name} goes out again with the next delivery, if its lead may still be mailed then."


def show_sending(json: JsonOption = False) -> None:
    """Show who carries mail away, what each sender domain has sent of what it may, and what is paused."""
    with open_app() as app:
        now = app.clock.now()
        found = circuit_breakers.standing(app.house, now)
    if json:
        as_json({"at": now, **{name: getattr(found, name) for name in ("provider", "brakes", "domains")}})
        return
    _tell_provider(found)
    for domain in found.domains:
        _tell_domain(domain)
    if not found.domains:
        out.print("\nNo track is published, so no domain sends. `nurture publish` publishes tracks.")
        return
    out.print("\n[dim]Hours and days are in UTC. `nurture doctor` says whether bounces are heard.[/]")


def _tell_provider(found: Standing) -> None:
    brake = found.provider_brake
    out.print(_headed(found.provider, brake, "sends" if found.provider != "mailbox" else "writes files"))
    if brake is not None:
        _facts(*_brake_facts(brake))
    named = {one.domain for one in found.domains}
    for other in found.brakes:
        if other is not brake and not (other.kind == "domain" and other.name in named):
            out.print()
            in_use = "" if other.kind == quarantine.KIND else " (not in use now)"
            out.print(_headed(f"{other.name}{in_use}", other))
            _facts(*_brake_facts(other))


def _tell_domain(one: DomainStanding) -> None:
    out.print()
    out.print(_headed(one.domain, one.brake))
    if one.brake is not None:
        _facts(*_brake_facts(one.brake))
    limits, received = one.limits, one.received
    _facts(
        ("tracks", ", ".join(one.tracks)),
        ("this hour", _of(one.used.this_hour, limits.per_hour)),
        ("today", _of(one.used.today, one.allowed_today) + _ramp(one)),
        ("bounced", _share(received.bounced, received.sent, limits.bounces)),
        ("complained", _share(received.complained, received.sent, limits.complaints)),
    )


def _headed(name: str, brake: Brake | None, does: str = "sends") -> Text:
    state = ("paused", "bold yellow") if brake is not None else (does, "green")
    return Text.assemble((name, "bold"), "  ", state)


def _of(used: int, most: int | None) -> str:
    return f"{used:,} sent, no limit" if most is None else f"{used:,} of {most:,}"


def _ramp(one: DomainStanding) -> str:
    day, ramp = one.warm_up_day, one.limits.warm_up
    if day is None or ramp is None:
        return ""
    if day < 1:
        return f"; the warm-up begins on {ramp.starts.isoformat()}"
    if one.allowed_today == one.limits.per_day:
        return "; the warm-up is over"
    return f"; day {day} of the warm-up, {one.tomorrow:,} tomorrow" if one.tomorrow is not None else ""


def _share(count: int, sent: int, most: float) -> str:
    if not sent:
        return f"none sent yet; pauses over {_percent(most)}"
    return f"{count:,} of the last {sent:,}: {_percent(count / sent)}; pauses over {_percent(most)}"


def _percent(share: float) -> str:
    shown = f"{share * 100:.2f}"
    return f"{shown.rstrip('0').rstrip('.')} %"


def _brake_facts(brake: Brake) -> list[tuple[str, str]]:
    until = f"tried again at {cell(brake.until)} UTC" if brake.until else "until a person resumes it"
    wait = ", and it goes on by itself" if brake.until else ""
    then = f"mend the cause{wait}; to start it at once: nurture delivery resume {brake.name}"
    return [
        ("since", f"{cell(brake.since)} UTC, {until}"),
        ("because", brake.reason),
        ("then", quarantine.ends(brake.reason) if brake.kind == quarantine.KIND else then),
    ]


def resume(
    name: Annotated[
        str,
        typer.Argument(help="A provider or a sender domain, as `nurture reports deliverability` names it."),
    ],
    json: JsonOption = False,
) -> None:
    """Start a paused provider or sender domain again. Who did it is kept."""
    by = f"by hand: {_who()}"
    with open_app() as app:
        taken = circuit_breakers.resume(app.house, name, by, app.clock.now())
    if json:
        as_json({"resumed": taken, "by": by})
        return
    for one in taken:
        out.print(Text(f"{one.name} is not paused any more. {_resumed(one)}"))


def _resumed(one: Brake) -> str:
    if one.kind == "domain":
        minutes = LOOK_AGAIN_AFTER.total_seconds() / 60
        return (
            f"Its mail goes out within {minutes:.0f} minutes, as its limits and send windows allow. Bounces "
            "and complaints are counted anew from now on."
        )
    held = f" What was held for it follows by {cell(one.until)} UTC." if one.until else ""
    return f"The next delivery uses it again, and pauses it anew if it still fails.{held}"


def _who() -> str:
    try:
        return getuser()
    except (KeyError, OSError, ImportError):  # a container may know no name for its user
        return "somebody"


def tell_brake(brake: Brake) -> None:
    """Print what is paused, why and until when."""
    out.print(_headed(f"mail from {brake.name}" if brake.kind == "domain" else brake.name, brake))
    _facts(*_brake_facts(brake))


def _facts(*rows: tuple[str, str]) -> None:
    """Print names and what is said of each, the further lines under the first."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=10, style="dim")
    grid.add_column(overflow="fold")
    for name, said in rows:
        grid.add_row(name, Text(said))
    out.print(Padding(grid, (0, 0, 0, 2)), width=min(out.width, _WIDEST))
