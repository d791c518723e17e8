"""A real server that is killed while it is posted to: what it thanked for is in the database."""

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
from nurture.runtime.context import House
from tests.bench.figures import Figure
from tests.chaos.grounds import empty
from tests.chaos.posting import Answer, Request, post_all, serving, signed
from tests.chaos.sending import sent_house
from tests.doubles.events import Signer, body_of, event

BATCH: Final = 100
_KINDS: Final = ("processed", "delivered", "open", "click", "deferred")


@dataclass
class Ended:
    """What came of it: events thanked for, how often the server died, and which of the events are lost."""

    thanked: int = 0
    posted: int = 0
    kills: int = 0
    lost: int = 0
    unprocessed: int = 0


def end(database: Database, folder: Path, count: int, kills: int, chance: Random) -> Ended:
    """Post *count* events to a server that is killed *kills* times on the way, until all is thanked for."""
    house = sent_house(database, folder, max(count // 20, 10))
    signer = Signer()
    requests = _requests(house, signer, count)
    url = database.url.render_as_string(hide_password=False)
    found, left = Ended(posted=count), requests
    thanked: list[Request] = []
    stops = sorted(chance.sample(range(1, max(len(requests) * 3 // 4, kills + 1)), kills))
    while left:
        with serving(url, folder, [signer.public]) as server:
            after = stops.pop(0) - len(thanked) if stops else None
            killer = _killed_after(server.process, house, after, len(thanked), chance)
            answers = post_all(server.url, left)
            killer.join()
            found.kills += after is not None
        thanked += _thanked(answers)
        done = {request.name for request in thanked}
        left = [request for request in requests if request.name not in done]
    found.thanked = sum(len(orjson.loads(request.body)) for request in thanked)
    provider_events.sweep(house, RealClock().now())
    found.lost = _lost(house, thanked)
    with database.read() as connection:
        waiting = text("SELECT count(*) FROM raw_batch WHERE processed_at IS NULL")
        found.unprocessed = connection.execute(waiting).scalar_one()
    return found


def _killed_after(
    process: Any, house: House, batches: int | None, before: int, chance: Random
) -> threading.Thread:
    """Kill the server as soon as so many more batches are stored, and a moment of chance has passed."""
    moment, wait = chance.uniform(0, 0.08), threading.Event()

    def kill() -> None:
        if batches is None:
            return
        while process.poll() is None:
            with house.database.read() as connection:
                stored = connection.execute(text("SELECT count(*) FROM raw_batch")).scalar_one()
            if stored - before >= batches:
                wait.wait(moment)
                process.kill()
                return
            wait.wait(0.005)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def _thanked(answers: list[Answer]) -> list[Request]:
    wrong = {answer.status for answer in answers} - {0, 202}
    if wrong:
        raise RuntimeError(f"the server answered {sorted(wrong)}")
    return [answer.request for answer in answers if answer.status == 202]


def _requests(house: House, signer: Signer, count: int) -> list[Request]:
    with house.database.read() as connection:
        keys = connection.execute(text("SELECT send_key FROM message ORDER BY id")).scalars().all()
    now = int(RealClock().now().timestamp()) - 3_600
    told = [
        event(
            _KINDS[number % len(_KINDS)],
            f"{house.origin}:{keys[number % len(keys)]}",
            RealClock().now(),
            f"event-{number}",
            timestamp=now + number // len(keys) % 3_000,
            email=None,
            ip=f"192.0.2.{number % 250}",
            attempt=str(number),
        )
        for number in range(count)
    ]
    batches = [body_of(told[first : first + BATCH]) for first in range(0, count, BATCH)]
    return [signed(str(number), body, signer.headers(body)) for number, body in enumerate(batches)]


def _lost(house: House, thanked: list[Request]) -> int:
    """Count events that were thanked for and are not in the database, each known by its own id."""
    from nurture.mail.providers.sendgrid.events import read

    with house.database.read() as connection:
        kept = set(connection.execute(text("SELECT natural_key FROM mail_event")).scalars())
    return sum(one.natural_key not in kept for request in thanked for one in read(request.body))


def measure(
    server: Callable[[str], str], folder: Path, seed: int, count: int, kills: int
) -> tuple[list[Figure], list[str]]:
    """Kill the server on SQLite, whose file survives it, and on PostgreSQL, which does not die with it."""
    lost = 0
    wrong: list[str] = []
    notes: list[str] = []
    with empty(server, folder) as databases:
        for name, database in databases.items():
            found = end(database, folder, count, kills, Random(f"{seed}:end"))
            lost += found.lost
            wrong += [f"{name}: {found.lost} events were thanked for and are lost"] if found.lost else []
            wrong += [f"{name}: {found.unprocessed} batches wait for ever"] if found.unprocessed else []
            notes.append(f"{name}: {found.thanked:,} events thanked for, killed {found.kills} times")
    return [Figure("webhook_lost_after_2xx", lost, "events", below=1, note="; ".join(notes))], wrong
