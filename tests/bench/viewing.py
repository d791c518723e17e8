"""What fifty viewers of the console cost a sweep beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import httpx

from nurture.console.access.users import Role
from nurture.console.site import COOKIE
from nurture.journey.tracks.advance import advance
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, measure_time
from tests.console.world import ConsoleWorld, serve_console

VIEWERS: Final = 50
SECONDS_BETWEEN_PAGES: Final = 20
LEADS = 20_000
_SWEEPS: Final = 4
_PAGES: Final = ("/", "/tracks", "/tracks/webinar-attended", "/leads", "/leads/17", "/handoffs", "/handoffs/queues")


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure the CPU of sweeps on SQLite alone and beside the viewers; the best of some sweeps counts."""
    made = seed_data.make_context(f"sqlite:///{folder / 'viewed.db'}")
    made.spool, made.templates = folder / "spool", seed_data.TEMPLATES
    world = ConsoleWorld(made, {})
    token = world.new_user("viewer", Role.ADMIN)
    with serve_console(world):
        _sweep(made, 0)  # compiles statements
        alone = min(_sweep(made, turn) for turn in range(1, 1 + _SWEEPS))
        with _viewers(world.url, token) as answered:
            beside = min(_sweep(made, turn) for turn in range(1 + _SWEEPS, 1 + 2 * _SWEEPS))
    made.database.close()
    assert answered, "nobody saw a page during the sweeps"
    answered.sort()
    note = (
        f"{LEADS:,} leads a sweep: {alone / LEADS * 1e6:.0f} us of CPU a lead alone, {beside / LEADS * 1e6:.0f} beside "
        f"{VIEWERS} viewers with a page each {SECONDS_BETWEEN_PAGES} s; {len(answered)} pages, half of them within "
        f"{answered[len(answered) // 2] * 1_000:.0f} ms"
    )
    return [Figure("viewers_sweep_cpu_rise_percent", (beside / alone - 1) * 100, "%", maximum=10, note=note)]


def _sweep(made: AppContext, turn: int) -> float:
    """Return the seconds of CPU of a sweep over new leads."""
    seed_data.enroll_leads(made, LEADS, first=1 + turn * LEADS)
    return measure_time(lambda: advance(made, seed_data.START)).cpu


@contextmanager
def _viewers(url: str, token: str) -> Iterator[list[float]]:
    """Let viewers look at pages, in a process of their own, while the block runs; yield the seconds of each answer."""
    spawned = get_context("spawn")
    stop, answers = spawned.Event(), spawned.SimpleQueue()
    viewers = spawned.Process(target=_view_all, args=(url, token, stop, answers))
    viewers.start()
    found: list[float] = []
    assert answers.get() == "begun"
    try:
        yield found
    finally:
        stop.set()
        found.extend(answers.get())
        viewers.join()


def _view_all(url: str, token: str, stop: Event, answers: SimpleQueue[Any]) -> None:
    answers.put("begun")
    answers.put(asyncio.run(_view(url, token, stop)))


async def _view(url: str, token: str, stop: Event) -> list[float]:
    seconds: list[float] = []

    async def look(client: httpx.AsyncClient, number: int) -> None:
        await asyncio.sleep(number * SECONDS_BETWEEN_PAGES / VIEWERS)
        while True:
            begun = time.perf_counter()
            page = await client.get(_PAGES[number % len(_PAGES)])
            page.raise_for_status()
            seconds.append(time.perf_counter() - begun)
            number += 1
            await asyncio.sleep(SECONDS_BETWEEN_PAGES)

    limits = httpx.Limits(max_connections=VIEWERS)
    async with httpx.AsyncClient(base_url=url, cookies={COOKIE: token}, limits=limits, timeout=60) as client:
        looking = [asyncio.create_task(look(client, number)) for number in range(VIEWERS)]
        await asyncio.to_thread(stop.wait)
        for one in looking:
            one.cancel()
        ended = await asyncio.gather(*looking, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return seconds
