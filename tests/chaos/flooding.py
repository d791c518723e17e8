"""Attackers hold bodies and connections open while readers opt out by one click: no opt-out is lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import psycopg

from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import Link, LinkSpec
from nurture.web.routes import LEADS
from tests.bench.figures import Figure
from tests.chaos.sent_messages import context_with_sent_messages
from tests.chaos.web_client import run_server
from tests.doubles.sendgrid_events import INBOUND_PATH as INBOUND
from tests.doubles.sendgrid_events import PATH as EVENTS
from tests.doubles.sendgrid_events import Signer
from tests.journey.observe import one, rows

READERS: Final = 500
CONNECTIONS: Final = 16
STRANGERS: Final = 300
FILLERS: Final = 32
_TOO_LONG: Final = 60.0
"""Seconds after which a mail program gives up."""

MAX_EVENT_BYTES: Final = 2_097_152
TARGETS: Final = ((EVENTS, MAX_EVENT_BYTES), (EVENTS, 40), (INBOUND, 9_999_999), (LEADS, 99_999), ("/u/x", 60))
"""Paths that attackers request, with announced sizes; unsubscribe links are added to these."""

SIGNER: Final = Signer()


@dataclass
class FloodRun:
    """Opt-outs that were refused or lost, and the requests of attackers."""

    lost: int
    held: int
    refusals: int


def measure(server: Callable[[str], str], folder: Path, seed: int) -> tuple[list[Figure], list[str]]:
    """Flood a real server on both databases."""
    wrong: list[str] = []
    lost = held = 0
    for name in ("sqlite", "postgres"):
        place = folder / name
        place.mkdir(parents=True)
        url = f"sqlite:///{place / 'flood.db'}" if name == "sqlite" else _make_database(server)
        found = flood(url, place, Random(f"{seed} {name}"))
        lost, held = lost + found.lost, held + found.held
        if found.lost:
            wrong.append(f"{name}: {found.lost} of {READERS} opt-outs were lost ({found.refusals} refused)")
    note = f"{2 * READERS} one-click opt-outs while {STRANGERS} strangers kept requests open, {held:,} in all"
    return [
        Figure("flood_optouts_lost", lost, "opt-outs", maximum=1, note=note),
        Figure("flood_held_requests", held, "requests"),
    ], wrong


def _make_database(server: Callable[[str], str]) -> str:
    with psycopg.connect(server("postgres"), autocommit=True) as tx:
        tx.execute("CREATE DATABASE flood")
    return server("flood")


def flood(url: str, folder: Path, chance: Random) -> FloodRun:
    """Run attackers and readers against the server at the same time."""
    database = Database(url)
    ctx = context_with_sent_messages(database, folder, READERS)
    stops, others = unsubscribe_paths(ctx), unsubscribe_paths(ctx)
    with run_server(url, folder, [SIGNER.public]) as server:
        statuses, held = asyncio.run(_ask(server.url, stops, others, chance))
    kept = one(ctx, "SELECT count(DISTINCT address_id) FROM suppression WHERE scope = 'global'")
    database.close()
    refusals = sum(status != 200 for status in statuses)
    return FloodRun(max(refusals, READERS - kept), held, refusals)


def unsubscribe_paths(ctx: AppContext) -> list[str]:
    """Create an unsubscribe link for each lead; return the paths."""
    made: list[Link] = [
        public_links.make_link(LinkSpec(public_links.UNSUBSCRIBE, lead)) for (lead,) in rows(ctx, "SELECT id FROM lead")
    ]
    with ctx.database.write() as tx:
        public_links.store_links(tx, made, RealClock().now())
    return [urlsplit(link.url("https://go.example.com")).path for link in made]


async def _ask(url: str, stops: list[str], others: list[str], chance: Random) -> tuple[list[int], int]:
    held = [0]
    there = [asyncio.Event() for _ in range(STRANGERS)]
    strangers: list[asyncio.Task[None]] = []
    for some in (range(FILLERS + 1), range(FILLERS + 1, STRANGERS)):
        for number in some:
            hold = _hold_connection(number, url, others, Random(chance.random()), held, there[number])
            strangers.append(asyncio.create_task(hold))
        await asyncio.gather(*(there[number].wait() for number in some))
    try:
        statuses = await _opt_out(url, stops)
    finally:
        for stranger in strangers:
            stranger.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)
    return statuses, held[0]


async def _opt_out(url: str, paths: list[str]) -> list[int]:
    left = iter(paths)
    statuses: list[int] = []
    body = {"List-Unsubscribe": "One-Click"}

    async def run_connection() -> None:
        # Each mail program opens its own connection.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=_TOO_LONG)
        ) as session:
            for path in left:
                try:
                    async with session.post(url + path, data=body) as answer:
                        statuses.append(answer.status)
                except (aiohttp.ClientError, TimeoutError):
                    statuses.append(0)

    await asyncio.gather(*(run_connection() for _ in range(CONNECTIONS)))
    return statuses


async def _hold_connection(
    number: int, url: str, others: list[str], chance: Random, held: list[int], there: asyncio.Event
) -> None:
    """Open a request that never ends, and another one whenever the server closes it."""
    where = urlsplit(url)
    while True:
        async with AsyncExitStack() as stack:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(where.hostname, where.port)
                stack.callback(writer.close)
                held[0] += 1
                for sent, piece in enumerate(_body_chunks(number, others, chance)):
                    writer.write(piece)
                    await writer.drain()
                    if sent:
                        there.set()
                    with suppress(TimeoutError):
                        received = await asyncio.wait_for(reader.read(65_536), chance.uniform(0, 1))
                        if not received or re.match(rb"HTTP/1.1 (?!100)", received):
                            break
        there.set()
        await asyncio.sleep(chance.uniform(0.5, 2))  # otherwise this process is too busy to send its opt-outs


def _body_chunks(number: int, others: list[str], chance: Random) -> Iterator[bytes]:
    """Yield a request in pieces, without the last one."""
    if number <= FILLERS:  # these fill a budget of all routes but for a few bytes
        path, size, sent = ("/u/x", 60, 20) if number == FILLERS else (EVENTS, MAX_EVENT_BYTES, MAX_EVENT_BYTES - 1)
        yield f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * sent
        yield from [b""] * 1_000
    path, size = chance.choice((*TARGETS, *[(chance.choice(others), size) for size in (60, 20)]))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n"
    if chance.random() < 0.6:
        head += "".join(f"{name}: {value}\r\n" for name, value in SIGNER.headers(b"other").items())
    if chance.random() < 0.2:
        head += "Expect: 100-continue\r\n"
    if chance.random() < 0.1:
        yield head.encode()  # the head never ends
        head = ""
    elif chance.random() < 0.4:
        yield f"{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode()
    else:
        yield f"{head}Content-Length: {size}\r\n\r\n".encode()
    if head and chance.random() < 0.9:
        yield b"x" * (size - 1)
    for _ in range(1_000):
        yield b"X-Y: z\r\n" if not head else b""
