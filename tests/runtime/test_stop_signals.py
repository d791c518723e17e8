"""Signals stop a program at its next safe point."""

from __future__ import annotations

import os
import signal

import pytest

from nurture.runtime.stop_signals import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sets_the_event_and_a_second_one_too(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signal(signal.SIGHUP) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert stop.wait(30)
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_the_process_where_that_is_wanted() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in background
    try:
        with stop_on_signal(second_ends=True) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.wait(30)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
