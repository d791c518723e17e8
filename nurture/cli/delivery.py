"""Send what is due, once or repeatedly: `nurture delivery run`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from types import FrameType
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import App, open_app
from nurture.cli.deliverability import tell_brake
from nurture.cli.output import JsonOption, as_json, cell, out
from nurture.clock import Clock
from nurture.db import clock_row, health
from nurture.errors import Refused
from nurture.journey.delivery import circuit_breakers
from nurture.journey.delivery.run import Delivered, deliver
from nurture.runtime import quarantine

_LOOK_EVERY: Final = timedelta(seconds=3)
_SLICE: Final = timedelta(seconds=0.25)
"""How long a stop may go unnoticed while nothing is being sent."""

_WORDS: Final = {
    "accepted": "sent",
    "planned": "held, and looked at again later",
    "cancelled": "called off",
    "rejected": "refused for good",
    "in_doubt": "in doubt: nobody knows whether they went",
    "taken back": "taken back from a worker that stopped",
    "sent again": "to be sent again after a doubt",
}
"""What became of messages, in plain words, in the order of the screen."""


@dataclass
class _Stoppable:
    """A clock that waits no longer once somebody asks to stop."""

    clock: Clock
    stop: Event = field(default_factory=Event)

    @property
    def runs(self) -> bool:
        """Whether time passes by itself."""
        return self.clock.runs

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return self.clock.now()

    def wait(self, until: datetime, at_most: timedelta) -> bool:
        """Wait until *until*, if that is no longer than *at_most* away; return whether it has come."""
        while not self.stop.is_set():
            now = self.clock.now()
            if until - now > at_most:
                return False
            if until <= now:
                return True
            if not self.clock.wait(min(until, now + _SLICE), _SLICE):
                return False
        return False


@contextmanager
def _asked_to_stop(stop: Event) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into *stop*; a second one ends at once."""

    def asked(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, asked)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_deliver(
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and look again every 3 seconds.")] = False,
    json: JsonOption = False,
) -> None:
    """Send what is due and may go now, then end. Ctrl-C stops after the batch that is on its way."""
    with open_app(live=watch) as app:
        clock = _Stoppable(app.clock)
        with _asked_to_stop(clock.stop):
            if watch and not json:
                out.print(f"Sending by {app.house.provider.name} what falls due. Ctrl-C stops.")
            _round(app, clock, watch=watch, json=json)
            while watch and not clock.stop.is_set():
                if clock.wait(clock.now() + _LOOK_EVERY, _LOOK_EVERY):
                    _round(app, clock, watch=watch, json=json)
        if clock.stop.is_set() and not json:
            out.print("Stopped between two batches: nothing is left half-sent.")


def _round(app: App, clock: _Stoppable, *, watch: bool, json: bool) -> None:
    """Send what is due once, and tell of it; while watching, only of what changed."""
    with app.database.write() as connection:
        clock_row.note(connection, clock.now())
    done = deliver(app.house, clock, stopping=clock.stop.is_set)
    if done.quarantine:
        raise Refused(f"Nothing was sent: {done.quarantine}. {quarantine.ends(done.quarantine)}")
    now = clock.now()
    if watch and not done.states.total():
        return
    kept_back = circuit_breakers.standing(app.house, now).brakes
    if json:
        states = {state: count for state, count in done.states.items() if count}
        as_json({"at": now, "messages": done.messages, "states": states, "paused": kept_back})
        return
    if watch:
        told = ", ".join(f"{count:,} {word.partition(',')[0]}" for word, count in _in_words(done))
        out.print(f"{now:%H:%M:%S} UTC  {told}")
    else:
        _tell_once(app, done)
    for brake in kept_back:
        tell_brake(brake)


def _in_words(done: Delivered) -> list[tuple[str, int]]:
    return [(word, done.states[state]) for state, word in _WORDS.items() if done.states[state]]


def _tell_once(app: App, done: Delivered) -> None:
    words = _in_words(done)
    if not words:
        with app.database.read() as connection:
            due = health.next_due(connection)
        then = f" The next message is due at {cell(due)} UTC." if due else " No message waits."
        out.print(f"Nothing was due.{then}")
        return
    for word, count in words:
        out.print(f"{count:>7,} {word}")
    if done.states["in_doubt"]:
        out.print("[dim]`nurture delivery messages` says what is known of those in doubt.[/]")
    if app.house.provider.name == "mailbox" and done.states["accepted"]:
        out.print(f"[dim]Mail is in {escape(str(app.settings.mailbox))}/; nobody was mailed.[/]")
