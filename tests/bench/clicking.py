"""Seconds from what a lead does over HTTP to what is decided about it, with `nurture up` running for real."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from sqlalchemy import text

from nurture.app import App, open_app
from nurture.db.engine import Database
from nurture.journey.intake.api import tokens
from nurture.journey.run_once import run_once
from nurture.publishing.publish import publish
from nurture.settings import Settings
from tests.bench.figures import Figure, Skipped
from tests.flows.prefect_api import any_port, until
from tests.journey.builders import add_lead, sample_rules

LEADS: Final = 40
"""So many click, and as many again answer or name a date."""

_BROWSER: Final = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
_START: Final = "from flows.up import up; from nurture.settings import Settings; up(Settings.read())"
_LINK: Final = re.compile(r"/c/([A-Za-z0-9_-]{22})/([1-9][0-9]*)")
_STATE: Final = text("SELECT kind, version, due_at FROM custody WHERE lead_id = :id")


def measure(folder: Path) -> list[Figure | Skipped]:
    """Let leads click, answer and name dates, one after the other, and wait for what follows."""
    try:
        with _running(folder) as up:
            offers = [_until_offered(up, lead, place) for place, (lead, _) in enumerate(up.links[LEADS:])]
            clicks = [_until_decided(up, lead, link) for lead, link in up.links[:LEADS]]
    except TimeoutError as error:
        return [Skipped("click_to_decision_p95_s", str(error))]
    note = f"{LEADS} each; median {_percentile(clicks, 0.5):.2f} s and {_percentile(offers, 0.5):.2f} s"
    return [
        Figure("click_to_decision_p95_s", _percentile(clicks, 0.95), "s", maximum=2, note=note),
        Figure("answer_to_offer_p95_s", _percentile(offers, 0.95), "s", maximum=2),
    ]


@dataclass(frozen=True)
class RunningStack:
    """A running `nurture up`: each lead with the link in its first email, and a token for its API."""

    port: int
    database: Database
    links: list[tuple[int, str]]
    token: str


def _percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)]


@contextmanager
def _running(folder: Path) -> Iterator[RunningStack]:
    port = any_port()
    url = f"sqlite:///{folder / 'nurture.db'}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "NURTURE_DATABASE_URL": url,
        "NURTURE_MAILDIR": str(folder / "maildir"),
        "NURTURE_SPOOL": str(folder / "spool"),
        "NURTURE_WEB_PORT": str(port),
        "NURTURE_PREFECT_PORT": str(any_port()),
        "NURTURE_CONSOLE": "no",
        "NURTURE_BASE_URL": f"http://127.0.0.1:{port}",
    }
    settings = Settings(
        database_url=SecretStr(url), maildir=folder / "maildir", base_url=f"http://127.0.0.1:{port}", provider="maildir"
    )
    with open_app(settings, upgrade=True, live=True) as app:
        links, token = _send_first_emails(app, folder)
    program = subprocess.Popen([sys.executable, "-c", _START], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    database = Database(url)
    try:
        until(lambda: program.poll() is not None or _is_up(port), 120)
        time.sleep(20)  # the flows have started too
        yield RunningStack(port, database, links, token)
    finally:
        program.terminate()
        program.wait(30)
        database.close()


def _send_first_emails(app: App, folder: Path) -> tuple[list[tuple[int, str]], str]:
    """Enroll leads whose first email goes out now, whatever the hour; return its link for each."""
    now = app.clock.now()
    rules = sample_rules()
    rules["defaults.yaml"] = (
        rules["defaults.yaml"]
        .replace("[mon, tue, wed, thu, fri]", "[mon, tue, wed, thu, fri, sat, sun]")
        .replace("09:00-17:00", "00:00-23:59")
    )
    rules["tracks/welcome/track.yaml"] = rules["tracks/welcome/track.yaml"].replace("    after: 1 hour\n", "", 1)
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("capacity: 5", "capacity: 5000")
    publish(app.ctx, rules, now)
    leads = [add_lead(app.ctx, at=now, title="Head") for _ in range(2 * LEADS)]
    for _ in range(4):
        run_once(app.ctx, app.clock.now(), app.clock)
    with app.database.read() as tx:
        enrolled = dict(tx.execute(text("SELECT id, lead_id FROM enrollment")).tuples().all())
    links = {}
    for page in (folder / "maildir" / "html").iterdir():
        found = _LINK.search(page.read_text("utf-8"))
        if found is not None:
            links[enrolled[int(page.name.split(".")[1])]] = found.group()
    if len(links) != len(leads):
        raise RuntimeError(f"{len(links)} of {len(leads)} leads were mailed a link")
    token = tokens.create_token(app.ctx, "bench", ["signals:write"], app.clock.now())
    return sorted(links.items()), token


def _is_up(port: int) -> bool:
    try:
        return _ask(port, "GET", "/health") == 200
    except OSError:
        return False


def _ask(port: int, method: str, path: str, body: str | None = None, token: str = "") -> int:
    tx = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = _BROWSER | ({"Authorization": f"Bearer {token}", "Content-Type": "application/json"} if body else {})
    try:
        tx.request(method, path, body, headers)
        answer = tx.getresponse()
        answer.read()
        return answer.status
    finally:
        tx.close()


def _state(up: RunningStack, lead: int) -> tuple[str, int, datetime | None]:
    with up.database.read() as tx:
        kind, version, due = tx.execute(_STATE, {"id": lead}).one()
    return kind, version, None if due is None else datetime.fromisoformat(due)


def _until_decided(up: RunningStack, lead: int, link: str) -> float:
    """Click; return how long it takes until the lead is looked at, and sleeps again with a new wake-up."""
    before = _state(up, lead)[1]
    begin = time.monotonic()
    if (status := _ask(up.port, "GET", link)) != 302:
        raise RuntimeError(f"the link answered {status}")

    def decided() -> bool:
        kind, version, due = _state(up, lead)
        woken = version > before + 1
        return woken and (kind != "track" or (due is not None and due > datetime.now(UTC)))  # noqa: TID251

    return _wait(decided, begin)


def _until_offered(up: RunningStack, lead: int, place: int) -> float:
    """Answer, or name a date; return how long it takes until a rep is offered the lead."""
    now = datetime.now(UTC)  # noqa: TID251 - as the program that posts it
    kind = {"kind": "replied"} if place % 2 else {"kind": "deciding", "value": f"{now + timedelta(days=40):%Y-%m-%d}"}
    signal = {"lead": {"id": lead}, "occurred_at": now.isoformat()} | kind
    begin = time.monotonic()
    if (status := _ask(up.port, "POST", "/api/signals", json.dumps({"signals": [signal]}), up.token)) != 202:
        raise RuntimeError(f"the API answered {status}")
    return _wait(lambda: _state(up, lead)[0] == "offer", begin)


def _wait(holds: object, begin: float) -> float:
    assert callable(holds)
    while not holds():
        if time.monotonic() - begin > 30:
            raise TimeoutError("nothing was decided within 30 s")
        time.sleep(0.02)
    return time.monotonic() - begin
