"""Stop a program at the next safe point when a signal asks for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import FrameType


@contextmanager
def stop_on_signal(*more: signal.Signals, second_ends: bool = False) -> Iterator[Event]:
    """Set an event on SIGINT, SIGTERM or one of *more*. Main thread only.

    *second_ends*: the second signal of a kind ends the process at once.
    """
    stop = Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        Thread(target=stop.set).start()  # this thread may be in stop.wait, which holds the lock of the event
        if second_ends:
            signal.signal(number, previous[number])

    previous = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *more)}
    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
