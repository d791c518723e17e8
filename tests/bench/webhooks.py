"""Events per second from SendGrid's signed batches: from the first request to the last event applied."""

from __future__ import annotations

import multiprocessing
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.runtime.context import AppContext
from tests.bench.figures import Figure, Skipped
from tests.chaos.sent_messages import context_with_sent_messages
from tests.chaos.web_client import Request, post_all, run_server, signed
from tests.doubles.sendgrid_events import Signer, encode_events, event

EVENTS: Final = 40_000
BATCH: Final = 200
CONNECTIONS: Final = 4


def measure(folder: Path) -> list[Figure | Skipped]:
    """Let a client in a separate process post to a real server."""
    signer = Signer()
    database = Database(f"sqlite:///{folder / 'webhooks.db'}")
    ctx = context_with_sent_messages(database, folder, EVENTS // 4)
    requests = _requests(ctx, signer)
    with run_server(f"sqlite:///{folder / 'webhooks.db'}", folder, [signer.public]) as server:
        post_all(server.url, [_warm_up(signer)])
        spawn = multiprocessing.get_context("spawn")
        times, cpu = spawn.Array("d", 2), server.cpu
        client = spawn.Process(target=_client, args=(server.url, requests, times))
        client.start()
        client.join()
        while _count_pending(database):
            time.sleep(0.02)
        applied = time.monotonic() - times[0]
        answered = times[1] - times[0]
        memory, cpu = server.memory, server.cpu - cpu
    kept = _count_stored(database)
    database.close()
    if client.exitcode != 0 or kept < EVENTS:
        raise RuntimeError(f"the run did not do what it is measured for: {kept} of {EVENTS} events are kept")
    note = (
        f"{EVENTS:,} events in batches of {BATCH}; answered at {EVENTS / answered:,.0f} per s, "
        f"{EVENTS / cpu:,.0f} per s of the server's CPU, whose peak is {memory:,.0f} MB"
    )
    return [Figure("webhook_events_per_s", EVENTS / applied, "events/s", minimum=3_000, note=note)]


def _requests(ctx: AppContext, signer: Signer) -> list[Request]:
    with ctx.database.read() as tx:
        keys = tx.execute(text("SELECT send_key FROM message ORDER BY id")).scalars().all()
    begin = RealClock().now() - timedelta(minutes=10)
    sent_events = [
        event(
            _kind(*divmod(number, len(keys))),
            f"{ctx.installation_id}:{keys[number % len(keys)]}",
            begin + timedelta(minutes=number // len(keys)),
            str(number),
            email=f"one{number % len(keys)}@crowd.example",
        )
        for number in range(EVENTS)
    ]
    batches = [encode_events(sent_events[first : first + BATCH]) for first in range(0, EVENTS, BATCH)]
    return [signed(str(number), body, signer.headers(body)) for number, body in enumerate(batches)]


def _kind(turn: int, mail: int) -> str:
    """Choose four events of each mail: all arrive but one of 100, a third is opened, one of 20 clicked."""
    if turn < 2:
        return ("processed", "bounce" if mail % 100 == 1 else "delivered")[turn]
    if turn == 2:
        return "open" if mail % 3 == 0 else "deferred"
    return "click" if mail % 20 == 0 else "delivered"


def _warm_up(signer: Signer) -> Request:
    body = encode_events([event("processed", None, RealClock().now())])
    return signed("warm", body, signer.headers(body))


def _client(url: str, requests: list[Request], times: Any) -> None:
    times[0] = time.monotonic()  # one clock for all processes of a machine
    answers = post_all(url, requests, CONNECTIONS)
    times[1] = time.monotonic()
    if {answer.status for answer in answers} != {200}:
        raise RuntimeError("not every batch was taken")


def _count_pending(database: Database) -> int:
    with database.read() as tx:
        wanted = text("SELECT count(*) FROM raw_batch WHERE processed_at IS NULL")
        return int(tx.execute(wanted).scalar_one())


def _count_stored(database: Database) -> int:
    with database.read() as tx:
        return int(tx.execute(text("SELECT count(*) FROM provider_event")).scalar_one())
