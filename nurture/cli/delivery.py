"""Send what is due, once or repeatedly; stop and start tracks and all mail."""

from datetime import timedelta
from threading import Event
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.text import Text

from nurture.app import App, open_app
from nurture.cli.arguments import current_user
from nurture.cli.deliverability import print_breaker
from nurture.cli.output import JsonOption, format_cell, out, pluralize, print_json
from nurture.clock import Clock, RealClock
from nurture.db import clock_row
from nurture.domain.delivery.stops import ALL_TRACKS, StopAction, name_stopped, start_command
from nurture.errors import InvalidState
from nurture.journey.broadcasts.plan import plan_due
from nurture.journey.delivery import circuit_breakers, stopping
from nurture.journey.delivery.run import DeliverySummary, deliver
from nurture.journey.delivery.stopping import StopResult
from nurture.journey.leads.due_queries import find_next_due
from nurture.mail.providers.registry import PROVIDERS
from nurture.runtime.stop_signals import stop_on_signal

_POLL_INTERVAL: Final = timedelta(seconds=3)

_STATE_LABELS: Final = {
    "accepted": "sent",
    "planned": "held, and tried again later",
    "cancelled": "cancelled",
    "rejected": "rejected for good",
    "unknown": "unknown: may or may not have been sent",
    "released": "released from a stopped worker",
    "resent": "due again after an unknown result",
}
"""The label of each delivery result, in the order in which they are printed."""


def run_deliver(
    watch: Annotated[bool, typer.Option("--watch", help="Keep running, and check every 3 seconds.")] = False,
    json: JsonOption = False,
) -> None:
    """Send the messages that are due now. Ctrl-C stops after the current batch."""
    with open_app(live=watch) as app:
        with stop_on_signal(second_ends=True) as stop:
            clock = RealClock(stop) if app.clock.is_live else app.clock
            if watch and not json:
                out.print(f"Sending messages by {app.ctx.provider.name} as they fall due. Ctrl-C stops.")
            _deliver_once(app, clock, stop, watch=watch, json=json)
            while watch and not stop.is_set():
                if clock.wait(clock.now() + _POLL_INTERVAL, _POLL_INTERVAL):
                    _deliver_once(app, clock, stop, watch=watch, json=json)
        if stop.is_set() and not json:
            out.print("Stopped after a complete batch: no message is half sent.")


def _deliver_once(app: App, clock: Clock, stop: Event, *, watch: bool, json: bool) -> None:
    """Send the messages that are due, and print the counts; in watch mode only if there are any."""
    with app.database.write() as tx:
        clock_row.advance_to(tx, clock.now())
    plan_due(app.ctx, clock.now())
    done = deliver(app.ctx, clock, should_stop=stop.is_set)
    if done.refusal:
        raise InvalidState(done.refusal)
    now = clock.now()
    if watch and not done.states.total():
        return
    paused = circuit_breakers.load_deliverability_status(app.ctx, now).breakers
    if json:
        states = {state: count for state, count in done.states.items() if count}
        print_json({"at": now, "messages": done.messages, "states": states, "breakers": paused})
        return
    if watch:
        summary = ", ".join(f"{count:,} {word.partition(',')[0]}" for word, count in _labeled_counts(done))
        out.print(f"{now:%H:%M:%S} UTC  {summary}")
    else:
        _print_delivery(app, done)
    for breaker in paused:
        print_breaker(breaker)


def _labeled_counts(done: DeliverySummary) -> list[tuple[str, int]]:
    return [(word, done.states[state]) for state, word in _STATE_LABELS.items() if done.states[state]]


def _print_delivery(app: App, done: DeliverySummary) -> None:
    labeled = _labeled_counts(done)
    if not labeled:
        with app.database.read() as tx:
            due = find_next_due(tx, ())
        then = f" The next message is due at {format_cell(due)} UTC." if due else " No message is planned."
        out.print(f"Nothing was due.{then}")
        return
    for word, count in labeled:
        out.print(f"{count:>7,} {word}")
    if done.states["unknown"]:
        out.print("[dim]`nurture mail messages` shows what is known of the unknown ones.[/]")
    folder = PROVIDERS[app.settings.provider].folder
    if folder is not None and done.states["accepted"]:
        out.print(f"[dim]The emails are files in {escape(str(folder(app.settings)))}/; nobody was mailed.[/]")


_Track = Annotated[str, typer.Argument(help="A published track.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever starts it again.")]
_OptionalReason = Annotated[str, typer.Option("--reason", help="Why.")]


def stop_track(name: _Track, reason: _Reason, json: JsonOption = False) -> None:
    """Stop the mail of a track at once. Its leads wait; hand-offs that they ask for go on."""
    with open_app() as app:
        found = stopping.stop(app.ctx, stopping.require_track(name), reason, current_user(), app.clock.now())
    print_stop(found, json=json)


def start_track(name: _Track, reason: _OptionalReason = "", json: JsonOption = False) -> None:
    """Start a stopped or retired track again. At most the next email of each lead is due."""
    with open_app() as app:
        found = stopping.start(app.ctx, stopping.require_track(name), reason, current_user(), app.clock.now())
    print_stop(found, json=json)


def retire_track(
    name: _Track,
    move_to: Annotated[str, typer.Option("--move-to", help="The track that takes its leads.")],
    reason: _OptionalReason = "",
    json: JsonOption = False,
) -> None:
    """Stop a track for good: nobody enters, and its leads continue on another track."""
    with open_app() as app:
        found = stopping.retire(app.ctx, name, move_to, reason, current_user(), app.clock.now())
    print_stop(found, json=json)


def stop_delivery(
    reason: _Reason,
    to_sales: Annotated[bool, typer.Option("--all", help="Stop mail to sales too.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop all mail to leads at once, with --all also briefs, reminders and notices to sales."""
    with open_app() as app:
        found = stopping.stop(app.ctx, ALL_TRACKS, reason, current_user(), app.clock.now(), to_sales=to_sales)
    print_stop(found, json=json)


def start_delivery(reason: _OptionalReason = "", json: JsonOption = False) -> None:
    """Start mail again after `nurture mail stop`; tracks that are stopped by themselves stay stopped."""
    with open_app() as app:
        found = stopping.start(app.ctx, ALL_TRACKS, reason, current_user(), app.clock.now())
    print_stop(found, json=json)


def print_stop(found: StopResult, *, json: bool) -> None:
    """Print a stop or a start, and the messages that it concerns."""
    if json:
        print_json({**found.stop._asdict(), "planned": found.planned, "sending": found.sending})
        return
    stop = found.stop
    if stop.action is StopAction.START:
        what = name_stopped(stop.track).capitalize() or "Mail"
        out.print(
            Text(
                f"{what} is started. {pluralize(found.planned, 'planned email')} may go; send windows, caps and limits "
                "spread them. Each lead gets at most its next email."
            )
        )
        return
    text = str(stop)
    out.print(Text(f"{text[:1].upper()}{text[1:]}."))
    then = "cancelled" if stop.action is StopAction.RETIRE else "held until it starts again"
    out.print(f"{pluralize(found.planned, 'planned email')}: {then}.")
    if found.sending:
        out.print(f"[yellow]{pluralize(found.sending, 'email')} had been given to the provider before.[/]")
    out.print(f"[dim]To undo: {start_command(stop)}[/]")
