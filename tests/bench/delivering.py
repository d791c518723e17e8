"""Emails per second, from due rows to recorded receipts at a strict double of SendGrid: one a request, and 1,000."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final

import aiohttp
import orjson
from markupsafe import escape
from pydantic import SecretStr
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.definitions.folder import read_folder
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
PER_REQUEST: Final = 1_000
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


def measure_batches(folder: Path) -> list[Figure | Skipped]:
    """Measure the worker with 1,000 emails a request, beside a hand-written loop that does so, and one a request."""
    singles, engines, loops = [], [], []
    with SendGridDouble(folder / "sendgrid.log") as double:
        for turn in range(REPEATS):
            singles.append(_worker(folder / f"single{turn}.db", double, MESSAGES).took)
            engines.append(_worker(folder / f"engine{turn}.db", double, MESSAGES, batch=True).took)
            loops.append(_loop(folder / f"loop{turn}.db", double, batch=True))
    single, engine, loop = (min(runs, key=lambda run: run.wall) for runs in (singles, engines, loops))
    note = (
        f"{MESSAGES / engine.wall:,.0f} emails per s, the loop {MESSAGES / loop.wall:,.0f}, {PER_REQUEST:,} a request"
    )
    return [
        Figure("touch_batch_ratio", loop.wall / engine.wall, "of the loop", minimum=0.4, note=note),
        Figure("touch_batch_speedup", single.wall / engine.wall, "times one a request", minimum=3),
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the worker; *memory* is the peak of this process in MB."""

    took: Duration
    memory: float


def _worker(path: Path, double: SendGridDouble, count: int, *, batch: bool = False) -> Run:
    made = _planned(path, count, batch=batch)
    made.base_url = BASE_URL
    made.provider = SendGridProvider(SecretStr(KEY), url=double.url)
    before = double.traffic().requests
    run = measure_time(lambda: deliver(made, VirtualClock(seed_data.START)))
    _require(made, double.traffic().requests - before, count, count // PER_REQUEST if batch else count)
    made.provider.close()
    made.database.close()
    return Run(run, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _planned(path: Path, count: int, *, batch: bool = False) -> AppContext:
    """Return a context in which *count* first emails are due, with *batch* those of a track with `batch: yes`."""
    sources = dict(read_folder(seed_data.TEMPLATES))
    if batch:
        sources["tracks/webinar-attended/track.yaml"] += "\nbatch: yes\n"
    made = seed_data.make_context(f"sqlite:///{path}", sources)
    seed_data.enroll_leads(made, count)
    advance(made, seed_data.START)
    return made


def _require(made: AppContext, requests: int, count: int, wanted: int) -> None:
    with made.database.read() as tx:
        found = tx.execute(text("SELECT state, count(*) FROM message GROUP BY state"))
        states = {row[0]: row[1] for row in found}
    if states != {"accepted": count} or requests != wanted:
        raise RuntimeError(f"the run did not do what it is measured for: {states}, {requests} requests")


def _loop(path: Path, double: SendGridDouble, *, batch: bool = False) -> Duration:
    made = _planned(path, MESSAGES)
    with made.database.read() as tx:
        program = made.definitions.current(tx).programs["webinar-attended"]
        compiled = made.definitions.email(tx, "webinar-attended", program.version, "01-recording")
    made.database.close()
    connection_ = sqlite3.connect(path, isolation_level=None)
    connection_.execute("PRAGMA synchronous = FULL")
    send = _send_batches if batch else _send_all
    run = measure_time(lambda: asyncio.run(send(connection_, double.url, program, compiled)))
    connection_.close()
    return run


async def _send_all(connection: sqlite3.Connection, url: str, program: Program, compiled: CompiledEmail) -> None:
    """Do it by hand: read, render, post, write. No claims, no leases, no checks, no tokens."""
    async with _session() as session:
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


def _session() -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=headers)


async def _send_batches(connection: sqlite3.Connection, url: str, program: Program, compiled: CompiledEmail) -> None:
    """Do it by hand with 1,000 emails a request: the email once, with a tag for each field of a lead."""
    names = [name.removeprefix("lead.") for name in sorted(compiled.variables) if name.startswith("lead.")]
    tags = {kind: {name: f"-{kind}-{name}-" for name in names} for kind in ("html", "text")}
    values = {kind: touch_values(tags[kind], program, f"{BASE_URL}/u/-token-", "consent") for kind in tags}
    message = {
        "from": {"email": program.sender.email},
        "content": [
            {"type": "text/plain", "value": compiled.text.render(values["text"])},
            {"type": "text/html", "value": compiled.html.render(values["html"])},
        ],
    }
    subject = compiled.subject.render(values["text"])

    def personalize(key: str, address: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        shown = {name: str(fields.get(name) or "") for name in names}
        replaced = {tags["html"][name]: str(escape(value)) for name, value in shown.items()}
        replaced |= {tags["text"][name]: value for name, value in shown.items()}
        replaced["-token-"] = token = token_urlsafe(16)
        headers = {"List-Unsubscribe": f"<{BASE_URL}/u/{token}>"}
        return {
            "to": [{"email": address}],
            "subject": subject,
            "headers": headers,
            "custom_args": {"nurture_message": f"loop:{key}"},
            "substitutions": replaced,
        }

    async with _session() as session:
        while due := connection.execute(_SELECT_DUE, (PER_REQUEST,)).fetchall():
            people = [personalize(key, address, orjson.loads(fields)) for _, key, address, fields in due]
            body = orjson.dumps({**message, "personalizations": people})
            async with session.post(f"{url}/v3/mail/send", data=body) as response:
                if response.status != 202:
                    raise RuntimeError(await response.text())
                message_id = response.headers["X-Message-Id"]
            connection.execute("BEGIN IMMEDIATE")
            done = [(message_id, seed_data.START.isoformat(), id_) for id_, *_ in due]
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
