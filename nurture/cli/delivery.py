"""Send what is due, once or repeatedly: `nurture delivery run`."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.deliverability import print_breaker
from nurture.cli.output import JsonOption, format_cell, out, print_json
from nurture.clock import Clock, RealClock
from nurture.db import clock_row, health
from nurture.errors import InvalidState
from nurture.journey.delivery import circuit_breakers
from nurture.journey.delivery.run import DeliverySummary, deliver
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
            due = health.read_next_send_at(tx)
        then = f" The next message is due at {format_cell(due)} UTC." if due else " No message is planned."
        out.print(f"Nothing was due.{then}")
        return
    for word, count in labeled:
        out.print(f"{count:>7,} {word}")
    if done.states["unknown"]:
        out.print("[dim]`nurture delivery messages` shows what is known of the unknown ones.[/]")
    folder = PROVIDERS[app.settings.provider].folder
    if folder is not None and done.states["accepted"]:
        out.print(f"[dim]The emails are files in {escape(str(folder(app.settings)))}/; nobody was mailed.[/]")
