"""Run all stages of `nurture up` in one process, and show in Prefect what they do."""

import logging
from threading import Thread
from typing import Final

from flows.records import RoundRecorder
from nurture.app import open_app
from nurture.journey.stage_loop import StageLoop
from nurture.runtime.stop_signals import stop_on_signal

STOP_SECONDS: Final = 2.0
"""Seconds that running rounds may take to end. What they leave is taken up after their leases."""


def run_loop() -> None:
    """Run until SIGINT or SIGTERM. Main thread only."""
    logging.getLogger().handlers.clear()  # those of Prefect
    with stop_on_signal() as stop, open_app(live=True) as app:
        stages = StageLoop(app.ctx, app.clock, app.settings.sweep_seconds)
        recorder = RoundRecorder(stages.workers)
        Thread(target=recorder.run, name="nurture-prefect", daemon=True).start()
        with stages.running(recorder.note_start, STOP_SECONDS):
            stop.wait()
