"""Emails per second, from due rows to recorded receipts: one request each to a strict double of SendGrid."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from pydantic import SecretStr
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.domain.planning.program import Program
from nurture.journey.delivery.run import deliver
from nurture.journey.tracks.advance import advance
from nurture.journey.tracks.touch_email import touch_values
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.mail.rendering.compile import CompiledEmail
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Duration, Figure, Skipped, measure_time
from tests.doubles.sendgrid import KEY, SendGridDouble

MESSAGES: Final = 10_000
MANY: Final = 100_000
REPEATS: Final = 3
CONNECTIONS: Final = 32
BATCH: Final = 500
BASE_URL: Final = "https://nurture.example.com"

_SELECT_DUE = """
SELECT m.id, m.send_key, a.email, l.fields FROM message m JOIN lead l ON l.id = m.lead_id
JOIN address a ON a.id = l.address_id WHERE m.state = 'planned' ORDER BY m.send_at, m.id LIMIT ?
"""
_MARK_ACCEPTED = "UPDATE message SET state = 'accepted', provider_message_id = ?, accepted_at = ? WHERE id = ?"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure the worker, the hand-written loop, and the worker's memory."""
    with SendGridDouble(folder / "sendgrid.log") as double:
        engines, loops = [], []
        for turn in range(REPEATS):  # in turns: the machine is not always as quick
            engines.append(_worker(folder / f"engine{turn}.db", double, MESSAGES))
            loops.append(_loop(folder / f"loop{turn}.db", double))
        engine = min(engines, key=lambda run: run.took.wall)
        loop = min(loops, key=lambda run: run.wall)
        few = _worker(folder / "few.db", double, MESSAGES).memory
        many = _worker(folder / "many.db", double, MANY).memory
    note = (
        f"{MESSAGES / engine.took.cpu:,.0f} per s of our CPU; the loop sends {MESSAGES / loop.wall:,.0f}; "
        "django-drip-campaigns does 160-185 on this work, a durable workflow per lead about 100"
    )
    ratio = loop.wall / engine.took.wall
    memory = (
        f"peaks; SQLite's page cache alone grows to 64 MB; {few:,.0f} MB for {MESSAGES:,}, {many:,.0f} MB for {MANY:,}"
    )
    return [
        Figure("deliver_single_per_s", MESSAGES / engine.took.wall, "emails/s", ratio, note=note),
        Figure("deliver_single_ratio", ratio, "of the loop", minimum=0.5),
        Figure("deliver_memory_growth", many - few, "MB", maximum=70, note=memory),
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the worker; *memory* is the peak of this process in MB."""

    took: Duration
    memory: float


def _worker(path: Path, double: SendGridDouble, count: int) -> Run:
    made = _planned(path, count)
    made.base_url = BASE_URL
    made.provider = SendGridProvider(SecretStr(KEY), url=double.url)
    before = double.traffic().requests
    run = measure_time(lambda: deliver(made, VirtualClock(seed_data.START)))
    _require(made, double, before, count)
    made.provider.close()
    made.database.close()
    return Run(run, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _planned(path: Path, count: int) -> AppContext:
    """Return a context in which *count* first emails are due."""
    made = seed_data.make_context(f"sqlite:///{path}")
    seed_data.enroll_leads(made, count)
    advance(made, seed_data.START)
    return made


def _require(made: AppContext, double: SendGridDouble, before: int, count: int) -> None:
    with made.database.read() as tx:
        found = tx.execute(text("SELECT state, count(*) FROM message GROUP BY state"))
        states = {row[0]: row[1] for row in found}
    accepted = double.traffic().requests - before
    if states != {"accepted": count} or accepted != count:
        raise RuntimeError(f"the run did not do what it is measured for: {states}, {accepted} accepted")


def _loop(path: Path, double: SendGridDouble) -> Duration:
    made = _planned(path, MESSAGES)
    with made.database.read() as tx:
        program = made.definitions.current(tx).programs["webinar-attended"]
        compiled = made.definitions.email(tx, "webinar-attended", program.version, "01-recording")
    made.database.close()
    connection_ = sqlite3.connect(path, isolation_level=None)
    connection_.execute("PRAGMA synchronous = FULL")
    run = measure_time(lambda: asyncio.run(_send_all(connection_, double.url, program, compiled)))
    connection_.close()
    return run


async def _send_all(connection: sqlite3.Connection, url: str, program: Program, compiled: CompiledEmail) -> None:
    """Do it by hand: read, render, post, write. No claims, no leases, no checks, no tokens."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        while due := connection.execute(_SELECT_DUE, (BATCH,)).fetchall():
            rows = iter(due)
            done: list[tuple[str, str, int]] = []

            async def run_connection(rows: Any = rows, done: list[tuple[str, str, int]] = done) -> None:
                for id_, key, address, fields in rows:
                    body = _payload(key, address, orjson.loads(fields), program, compiled)
                    async with session.post(f"{url}/v3/mail/send", data=body) as response:
                        if response.status != 202:
                            raise RuntimeError(await response.text())
                        done.append((response.headers["X-Message-Id"], seed_data.START.isoformat(), id_))

            await asyncio.gather(*[run_connection() for _ in range(CONNECTIONS)])
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_MARK_ACCEPTED, done)
            connection.execute("COMMIT")


def _payload(key: str, address: str, fields: Mapping[str, Any], program: Program, compiled: CompiledEmail) -> bytes:
    values = touch_values(fields, program, f"{BASE_URL}/u/0123456789abcdefghijkl", "consent")
    parts: Sequence[dict[str, str]] = [
        {"type": "text/plain", "value": compiled.text.render(values)},
        {"type": "text/html", "value": compiled.html.render(values)},
    ]
    return orjson.dumps(
        {
            "personalizations": [{"to": [{"email": address}]}],
            "from": {"email": program.sender.email},
            "subject": compiled.subject.render(values),
            "content": parts,
            "custom_args": {"nurture_message": f"loop:{key}"},
        }
    )
