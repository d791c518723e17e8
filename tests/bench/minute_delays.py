"""How late an email is sent whose delay is a minute, under a real `nurture up`, in real time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr
from sqlalchemy import select

from nurture.app import open_app
from nurture.db.engine import Database
from nurture.db.tables.base import table
from nurture.db.tables.delivery import Message
from nurture.publishing.publish import publish
from nurture.settings import Settings
from tests.bench.figures import Figure, Skipped
from tests.flows.prefect_api import any_port
from tests.journey.builders import add_lead, sample_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

LEADS: Final = 20
DELAY: Final = timedelta(minutes=1)
MAX_ERROR_SECONDS: Final = 30
_START_WITHIN, _SENT_WITHIN = 240, 300
_START_UP: Final = "from flows.up import up; from nurture.settings import Settings; up(Settings.read())"
_TRACK: Final = """
name: welcome
goal: Measure a delay in minutes
audience: {field: title, contains: [head]}
priority: 10
send: {days: [mon, tue, wed, thu, fri, sat, sun], between: 00:00-00:00}
steps:
  - email: 01-hello
  - email: 02-more
    after: 1 minute
finally: {close: unreachable}
"""
_message = table(Message)


def measure(folder: Path) -> list[Figure | Skipped]:
    """Let leads in, one a second, and measure how long after its minute each second email was accepted."""
    settings = Settings(database_url=SecretStr(f"sqlite:///{folder / 'nurture.db'}"), maildir=folder / "maildir")
    rules = sample_rules() | {"tracks/welcome/track.yaml": _TRACK}
    with open_app(settings, upgrade=True, live=True) as app:
        publish(app.ctx, rules, app.clock.now())
        with _running(folder):
            came = {}
            for _ in range(LEADS):
                now = app.clock.now()
                came[add_lead(app.ctx, at=now, title="Head")] = now
                time.sleep(1)
            first, second = _wait_until_sent(app.database)
    errors = sorted((at - (first[lead] + DELAY)).total_seconds() for lead, at in second.items())
    at_once = sorted((at - came[lead]).total_seconds() for lead, at in first.items())
    p95 = ceil(0.95 * LEADS) - 1
    note = f"{LEADS} leads, at most {errors[-1]:.1f} s; first email {at_once[p95]:.1f} s after the lead came in"
    return [Figure("minute_delay_error_p95_s", errors[p95], "s", maximum=MAX_ERROR_SECONDS, note=note)]


@contextmanager
def _running(folder: Path) -> Iterator[None]:
    """Run `nurture up` until the end of the block, from when its pages answer."""
    web = str(any_port())
    ports = {"NURTURE_WEB_PORT": web, "NURTURE_PREFECT_PORT": str(any_port()), "NURTURE_CONSOLE": "no"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NURTURE_"))}
    program = subprocess.Popen(
        [sys.executable, "-c", _START_UP], cwd=folder, env=environment | ports, stderr=subprocess.DEVNULL
    )
    try:
        ends = time.monotonic() + _START_WITHIN
        while not _answers(f"http://127.0.0.1:{web}/health"):
            if program.poll() is not None or time.monotonic() > ends:
                raise TimeoutError(f"`nurture up` does not answer after {_START_WITHIN} s")
            time.sleep(0.5)
        yield
    finally:
        program.send_signal(signal.SIGINT)
        program.wait(30)


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _wait_until_sent(database: Database) -> tuple[dict[int, datetime], dict[int, datetime]]:
    """Return when the first and the second email of each lead were accepted, once all were."""
    ends = time.monotonic() + _SENT_WITHIN
    query = select(_message.c.step, _message.c.lead_id, _message.c.accepted_at).where(_message.c.state == "accepted")
    while time.monotonic() < ends:
        found: dict[str, dict[int, datetime]] = {"01-hello": {}, "02-more": {}}
        with database.read() as tx:
            for step, lead, at in tx.execute(query):
                found[step][lead] = at
        if len(found["02-more"]) == LEADS:
            return found["01-hello"], found["02-more"]
        time.sleep(1)
    raise TimeoutError(f"not all emails were sent within {_SENT_WITHIN} s")
