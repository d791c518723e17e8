"""Kill a server while events are posted: every acknowledged event is in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
from sqlalchemy import text

from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.journey.engagement import provider_events
from nurture.runtime.context import AppContext
from tests.bench.figures import Figure
from tests.chaos.databases import empty_databases
from tests.chaos.sent_messages import context_with_sent_messages
from tests.chaos.web_client import Answer, Request, post_all, run_server, signed
from tests.doubles.sendgrid_events import Signer, encode_events, event

BATCH: Final = 100
_KINDS: Final = ("processed", "delivered", "open", "click", "deferred")


@dataclass
class ServerKills:
    """Acknowledged events, kills of the server, and lost events."""

    acknowledged: int = 0
    posted: int = 0
    kills: int = 0
    lost: int = 0
    unprocessed: int = 0


def run_server_kills(database: Database, folder: Path, count: int, kills: int, chance: Random) -> ServerKills:
    """Post *count* events to a server that is killed *kills* times meanwhile, until all are acknowledged."""
    ctx = context_with_sent_messages(database, folder, max(count // 20, 10))
    signer = Signer()
    requests = event_requests(ctx, signer, count)
    url = database.url.render_as_string(hide_password=False)
    found, left = ServerKills(posted=count), requests
    acknowledged: list[Request] = []
    stops = sorted(chance.sample(range(1, max(len(requests) * 3 // 4, kills + 1)), kills))
    while left:
        with run_server(url, folder, [signer.public]) as server:
            after = stops.pop(0) - len(acknowledged) if stops else None
            killer = _kill_after(server.process, ctx, after, len(acknowledged), chance)
            answers = post_all(server.url, left)
            killer.join()
            found.kills += after is not None
        acknowledged += _acknowledged(answers)
        done = {request.name for request in acknowledged}
        left = [request for request in requests if request.name not in done]
    found.acknowledged = sum(len(orjson.loads(request.body)) for request in acknowledged)
    provider_events.process_pending(ctx, RealClock().now())
    found.lost = lost_events(ctx, acknowledged)
    with database.read() as tx:
        waiting = text("SELECT count(*) FROM raw_batch WHERE processed_at IS NULL")
        found.unprocessed = tx.execute(waiting).scalar_one()
    return found


def _kill_after(process: Any, ctx: AppContext, batches: int | None, before: int, chance: Random) -> threading.Thread:
    """Kill the server at a random time after so many more batches are stored."""
    delay, wait = chance.uniform(0, 0.08), threading.Event()

    def kill() -> None:
        if batches is None:
            return
        while process.poll() is None:
            with ctx.database.read() as tx:
                stored = tx.execute(text("SELECT count(*) FROM raw_batch")).scalar_one()
            if stored - before >= batches:
                wait.wait(delay)
                process.kill()
                return
            wait.wait(0.005)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def _acknowledged(answers: list[Answer]) -> list[Request]:
    wrong = {answer.status for answer in answers} - {0, 200}
    if wrong:
        raise RuntimeError(f"the server answered {sorted(wrong)}")
    return [answer.request for answer in answers if answer.status == 200]


def event_requests(ctx: AppContext, signer: Signer, count: int) -> list[Request]:
    with ctx.database.read() as tx:
        keys = tx.execute(text("SELECT send_key FROM message ORDER BY id")).scalars().all()
    now = int(RealClock().now().timestamp()) - 3_600
    sent_events = [
        event(
            _KINDS[number % len(_KINDS)],
            f"{ctx.installation_id}:{keys[number % len(keys)]}",
            RealClock().now(),
            f"event-{number}",
            timestamp=now + number // len(keys) % 3_000,
            email=None,
            ip=f"192.0.2.{number % 250}",
            attempt=str(number),
        )
        for number in range(count)
    ]
    batches = [encode_events(sent_events[first : first + BATCH]) for first in range(0, count, BATCH)]
    return [signed(str(number), body, signer.headers(body)) for number, body in enumerate(batches)]


def lost_events(ctx: AppContext, acknowledged: list[Request]) -> int:
    """Count acknowledged events that are not in the database, by their ids."""
    from nurture.mail.providers.sendgrid.events import read_events

    with ctx.database.read() as tx:
        kept = set(tx.execute(text("SELECT natural_key FROM provider_event")).scalars())
    return sum(one.natural_key not in kept for request in acknowledged for one in read_events(request.body))


def measure(
    server: Callable[[str], str], folder: Path, seed: int, count: int, kills: int
) -> tuple[list[Figure], list[str]]:
    """Kill the server on SQLite, whose file survives, and on PostgreSQL, which keeps running."""
    lost = 0
    wrong: list[str] = []
    notes: list[str] = []
    with empty_databases(server, folder) as databases:
        for name, database in databases.items():
            found = run_server_kills(database, folder, count, kills, Random(f"{seed}:end"))
            lost += found.lost
            wrong += [f"{name}: {found.lost} events were acknowledged and are lost"] if found.lost else []
            wrong += [f"{name}: {found.unprocessed} batches wait for ever"] if found.unprocessed else []
            notes.append(f"{name}: {found.acknowledged:,} events acknowledged, killed {found.kills} times")
    return [Figure("webhook_lost_after_2xx", lost, "events", maximum=1, note="; ".join(notes))], wrong
