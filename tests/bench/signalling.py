"""Requests per second to the API for signals, each with a single one, from many callers at a time."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any, Final

import orjson

from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.journey.intake.api import tokens
from nurture.runtime.context import AppContext
from nurture.web.routes import SIGNALS
from tests.bench.figures import Figure, Skipped
from tests.chaos.sent_messages import context_with_sent_messages
from tests.chaos.web_client import Request, post_all, run_server, signed
from tests.journey.observe import one, rows

REQUESTS: Final = 3_000
CONNECTIONS: Final = 32


def measure(folder: Path) -> list[Figure | Skipped]:
    """Let a client in a separate process post to a real server."""
    url = f"sqlite:///{folder / 'signalling.db'}"
    database = Database(url)
    ctx = context_with_sent_messages(database, folder, 500)
    requests = _requests(ctx)
    with run_server(url, folder, []) as server:
        post_all(server.url, requests[:1], path=SIGNALS)
        spawn = multiprocessing.get_context("spawn")
        times, cpu = spawn.Array("d", 2), server.cpu
        client = spawn.Process(target=_client, args=(server.url, requests[1:], times))
        client.start()
        client.join()
        cpu = server.cpu - cpu
    kept = one(ctx, "SELECT count(*) FROM signal WHERE applied_at IS NOT NULL")
    database.close()
    if client.exitcode != 0 or kept != REQUESTS:
        raise RuntimeError(f"the run did not do what it is measured for: {kept} signals were applied")
    note = f"{CONNECTIONS} callers, a signal each; {(REQUESTS - 1) / cpu:,.0f} per s of the server's CPU"
    speed = (REQUESTS - 1) / (times[1] - times[0])
    return [Figure("api_single_signals_per_s", speed, "requests/s", minimum=200, note=note)]


def _requests(ctx: AppContext) -> list[Request]:
    now = RealClock().now()
    token = tokens.create_token(ctx, "bench", ["signals:write"], now)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    leads = [lead for (lead,) in rows(ctx, "SELECT id FROM lead ORDER BY id")]
    return [
        signed(str(number), orjson.dumps({"signals": [signal]}), headers)
        for number in range(REQUESTS)
        for signal in (
            {
                "lead": {"id": leads[number % len(leads)]},
                "kind": "visited",
                "occurred_at": now.isoformat(),
                "id": str(number),
            },
        )
    ]


def _client(url: str, requests: list[Request], times: Any) -> None:
    times[0] = time.monotonic()
    answers = post_all(url, requests, CONNECTIONS, path=SIGNALS)
    times[1] = time.monotonic()
    if {answer.status for answer in answers} != {202}:
        raise RuntimeError("not every signal was taken")
