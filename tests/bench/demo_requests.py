"""Measure how long a demo request takes to become a brief, with everything running as `nurture up` runs it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from sqlalchemy import select

from nurture.app import open_app
from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.db.tables.delivery import message
from nurture.definitions.folder import read_folder
from nurture.journey.intake.api.tokens import create_token
from nurture.publishing.publish import publish
from nurture.settings import Settings
from tests.bench.figures import Figure, Skipped
from tests.flows.prefect_api import any_port
from tests.flows.test_up import START_UP
from tests.journey.builders import add_lead

REQUESTS: Final = 24
MAX_SECONDS: Final = 60
_STARTS_WITHIN, _ENDS_WITHIN = 240, 180
_TEMPLATES: Final = Path(__file__).parents[2] / "templates"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Post demo requests of known leads to the API at random times, and wait for the briefs of all of them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NURTURE_"))}
    environment |= {
        "NURTURE_WEB_PORT": str(any_port()),
        "NURTURE_PREFECT_PORT": str(any_port()),
        "NURTURE_CONSOLE": "no",
    }
    settings = Settings(database_url=SecretStr(f"sqlite:///{folder / 'nurture.db'}"), maildir=folder / "maildir")
    sources = dict(read_folder(_TEMPLATES))
    sources["sales/policy.yaml"] = sources["sales/policy.yaml"].replace("capacity: 8", "capacity: 200")
    with open_app(settings, upgrade=True, live=True) as app:
        now = app.clock.now()
        publish(app.ctx, sources, now)
        leads = [
            add_lead(app.ctx, at=now, email=f"p{number}@firm{number}.example", title="Head", company=f"Firm {number}")
            for number in range(REQUESTS + 1)
        ]
        token = create_token(app.ctx, "website", ["signals:write"], now)
    program = subprocess.Popen([sys.executable, "-c", START_UP], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    database = Database(settings.database_url.get_secret_value())
    url = f"http://127.0.0.1:{environment['NURTURE_WEB_PORT']}/api/signals"
    try:
        _post_when_ready(url, token, leads[0])
        _await_briefs(database, 1, _STARTS_WITHIN)
        posted = {}
        for lead in leads[1:]:
            posted[lead] = _post(url, token, lead)
            time.sleep(random.Random(lead).uniform(0.5, 8))
        briefs = _await_briefs(database, REQUESTS + 1, _ENDS_WITHIN)
    finally:
        program.terminate()
        program.wait()
        database.close()
    seconds = sorted((briefs[lead] - at) / timedelta(seconds=1) for lead, at in posted.items() if lead in briefs)
    if len(seconds) < REQUESTS:
        return [Skipped("demo_to_brief_p95_s", f"only {len(seconds)} of {REQUESTS} briefs were sent")]
    p95 = seconds[int(0.95 * (len(seconds) - 1))]
    note = f"{REQUESTS} requests, median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s"
    return [Figure("demo_to_brief_p95_s", p95, "s", maximum=MAX_SECONDS, note=note)]


def _post_when_ready(url: str, token: str, lead: int) -> None:
    """Post a first request once the pages answer."""
    end = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            _post(url, token, lead)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(1)
        else:
            return


def _post(url: str, token: str, lead: int) -> datetime:
    """Post a demo request; return when that began."""
    at = RealClock().now()
    item = {"lead": {"id": lead}, "kind": "requested_demo", "occurred_at": at.isoformat()}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"signals": [item]}).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
    return at


def _await_briefs(database: Database, wanted: int, seconds: float) -> dict[int, datetime]:
    """Wait until *wanted* briefs were accepted, or for so many *seconds*; return when, by lead."""
    end = time.monotonic() + seconds
    sent = select(message.c.lead_id, message.c.accepted_at).where(
        message.c.kind == "brief", message.c.accepted_at.is_not(None)
    )
    while True:
        with database.read() as tx:
            found = dict(tx.execute(sent).tuples().all())
        if len(found) >= wanted or time.monotonic() > end:
            return found
        time.sleep(0.2)
