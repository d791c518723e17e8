"""`nurture up` under load for minutes, its children killed at random: nothing is lost, sent twice or reported twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

import aiohttp
from sqlalchemy import text

from nurture.clock import RealClock
from nurture.db import last_rounds
from nurture.db.engine import Database
from nurture.journey.tracks import advance, enroll
from nurture.operations.problems import MAX_BACKUP_AGE
from nurture.runtime.context import AppContext
from tests.bench.figures import Figure
from tests.bench.running import process_tree
from tests.chaos.flooding import unsubscribe_paths
from tests.chaos.sent_messages import context_with_sent_messages
from tests.chaos.server_kills import event_requests, lost_events
from tests.chaos.verdicts import Oracle, Verdict, in_flight, judge, states_in
from tests.chaos.web_client import PATH, Request
from tests.doubles.chat_server import ChatServer
from tests.doubles.sendgrid import KEY, SendGridDouble
from tests.doubles.sendgrid_events import Signer
from tests.flows.prefect_api import any_port, is_served, until
from tests.journey.observe import add_leads

MINUTES: Final = 15.0
EVENTS, TOUCHES, SENT, OPT_OUTS = 50_000, 5_000, 1_000, 1_000
CONNECTIONS: Final = 4
CHILDREN: Final = ("web", "loop", "prefect")
START_SECONDS, SETTLE_SECONDS = 300.0, 600.0

_PLAN = "UPDATE message SET send_at = :at, expires_at = :until WHERE id = :id"
_WAITING = "SELECT count(*) FROM message WHERE state IN ('planned', 'claimed', 'sending') AND send_at <= :now"
_OPTED_OUT = "SELECT count(DISTINCT address_id) FROM suppression WHERE scope = 'global'"
_PENDING = "SELECT count(*) FROM raw_batch WHERE processed_at IS NULL"


@dataclass
class SoakRun:
    """What was found. *refused* counts requests that had to be repeated, as while the web server was dead."""

    verdict: Verdict = field(default_factory=Verdict)
    kills: Counter[str] = field(default_factory=Counter)
    opt_outs_lost: int = 0
    events_lost: int = 0
    refused: int = 0
    reported: Counter[str] = field(default_factory=Counter)


@dataclass
class Load:
    """Requests that are posted evenly over *seconds*, each until it is acknowledged."""

    url: str
    seconds: float
    refused: int = 0

    def post(self, requests: Sequence[Request], opt_outs: Sequence[str]) -> None:
        """Post everything. Call it in a thread."""
        asyncio.run(self._post_all(requests, opt_outs))

    async def _post_all(self, requests: Sequence[Request], opt_outs: Sequence[str]) -> None:
        form = {"List-Unsubscribe": "One-Click"}
        timeout = aiohttp.ClientTimeout(total=30)
        connector = aiohttp.TCPConnector(limit=2 * CONNECTIONS, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(
                self._spread([(PATH, {"data": one.body, "headers": dict(one.headers)}) for one in requests], session),
                self._spread([(path, {"data": form}) for path in opt_outs], session),
            )

    async def _spread(self, posts: Sequence[tuple[str, dict[str, object]]], session: aiohttp.ClientSession) -> None:
        began, waiting = time.monotonic(), iter(enumerate(posts))

        async def run_connection() -> None:
            for number, (path, given) in waiting:
                await asyncio.sleep(max(began + self.seconds * number / len(posts) - time.monotonic(), 0))
                while not await self._is_taken(session, path, given):
                    self.refused += 1
                    await asyncio.sleep(0.5)

        await asyncio.gather(*(run_connection() for _ in range(CONNECTIONS)))

    async def _is_taken(self, session: aiohttp.ClientSession, path: str, given: dict[str, object]) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(self.url + path, **given) as answer:  # type: ignore[arg-type]
                return answer.status < 300
        return False


def soak(double: SendGridDouble, folder: Path, chance: Random, minutes: float) -> SoakRun:
    """Run `nurture up` for *minutes* with EVENTS events, TOUCHES due touches and OPT_OUTS opt-outs."""
    folder.mkdir(parents=True)
    database = Database(f"sqlite:///{folder / 'nurture.db'}")
    ctx = context_with_sent_messages(database, folder, SENT)
    touches = _plan_touches(ctx, minutes, chance)
    signer, found = Signer(), SoakRun()
    requests, opt_outs = event_requests(ctx, signer, EVENTS), chance.sample(unsubscribe_paths(ctx), OPT_OUTS)
    oracle = Oracle(double, ctx.installation_id)
    may_be_unknown: set[str] = set()
    with ChatServer() as chat:
        settings = {
            "NURTURE_WEB_PORT": str(any_port()),
            "NURTURE_PREFECT_PORT": str(any_port()),
            "NURTURE_CONSOLE_PORT": str(any_port()),
            "NURTURE_JOURNAL_DIR": str(folder / "journal"),
            "NURTURE_PROVIDER": "sendgrid",
            "NURTURE_SENDGRID_KEY": KEY,
            "NURTURE_SENDGRID_URL": double.url,
            "NURTURE_SENDGRID_WEBHOOK_KEY": signer.public,
            "NURTURE_ALERT": f"json://127.0.0.1:{chat.port}/",
        }
        program = _start(folder, settings)
        try:
            load = Load(f"http://127.0.0.1:{settings['NURTURE_WEB_PORT']}", minutes * 60)
            until(lambda: is_served(f"{load.url}/healthz"), START_SECONDS)
            posting = threading.Thread(target=load.post, args=(requests, opt_outs), daemon=True)
            posting.start()
            began = time.monotonic()
            for minute in range(int(minutes)):
                time.sleep(max(began + minute * 60 + chance.uniform(5, 55) - time.monotonic(), 0))
                name = chance.choice(CHILDREN)
                if _kill(program.pid, name):
                    found.kills[name] += 1
                    may_be_unknown |= in_flight(states_in(str(database.url)))
            posting.join()
            until(lambda: not _count(ctx, _WAITING, now=RealClock().now().isoformat()), SETTLE_SECONDS)
            until(lambda: not _count(ctx, _PENDING), SETTLE_SECONDS)
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(60)
        found.reported = Counter(one["title"] for one in chat.received)
    states = {key: state for key, state in states_in(str(database.url)).items() if key in touches}
    arrived = [key for key in oracle.accepted() if key in touches]
    found.verdict = judge(states, arrived, len(touches), may_be_unknown)
    found.refused = load.refused
    found.opt_outs_lost = OPT_OUTS - _count(ctx, _OPTED_OUT)
    found.events_lost = lost_events(ctx, requests)
    database.close()
    return found


def _plan_touches(ctx: AppContext, minutes: float, chance: Random) -> set[str]:
    """Plan TOUCHES first emails that fall due at random times of the run; return their send keys."""
    now = RealClock().now()
    with ctx.database.read() as tx:
        before = set(tx.execute(text("SELECT id FROM message")).scalars())
    add_leads(ctx, TOUCHES, now - timedelta(hours=2), title="Head of planning")
    enroll.classify(ctx, now - timedelta(hours=2))
    advance.advance(ctx, now - timedelta(hours=2))
    advance.advance(ctx, now)
    with ctx.database.write() as tx:
        planned = tx.execute(text("SELECT id, send_key FROM message WHERE state = 'planned'")).all()
        keys = {key for id_, key in planned if id_ not in before}
        for id_, key in planned:
            at = now + timedelta(seconds=chance.uniform(0, minutes * 60))
            if key in keys:
                until_ = at + timedelta(days=1)
                tx.execute(text(_PLAN), {"id": id_, "at": at.isoformat(), "until": until_.isoformat()})
        last_rounds.note_success(tx, last_rounds.BACKUP, now - 2 * MAX_BACKUP_AGE)  # a problem that lasts
    if len(keys) != TOUCHES:
        raise RuntimeError(f"{len(keys)} of {TOUCHES} touches were planned")
    return keys


def _start(folder: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NURTURE_"))}
    with (folder / "up.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from flows.up import up; from nurture.settings import Settings; up(Settings.read())",
            ],
            cwd=folder,
            env=kept | settings,
            stdout=log,
            stderr=log,
        )


def _kill(parent: int, name: str) -> bool:
    """Kill a child of `nurture up`; return False if it does not run just now."""
    end = b"\0" + name.encode() + b"\0"
    for pid in process_tree(parent)[1:]:
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(end):
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def _count(ctx: AppContext, query: str, **values: object) -> int:
    with ctx.database.read() as tx:
        return int(tx.execute(text(query), values).scalar_one())


def measure(double: SendGridDouble, folder: Path, seed: int) -> tuple[list[Figure], list[str]]:
    """Soak for MINUTES minutes (default 15)."""
    minutes = float(os.environ.get("MINUTES") or MINUTES)
    found = soak(double, folder, Random(f"{seed}:soak"), minutes)
    repeated = sum(count - 1 for count in found.reported.values())
    wrong = [f"soak: {one}" for one in found.verdict.wrong]
    wrong += [f"soak: {found.opt_outs_lost} opt-outs were acknowledged and are lost"] if found.opt_outs_lost else []
    wrong += [f"soak: {found.events_lost} events were acknowledged and are lost"] if found.events_lost else []
    wrong += [f"soak: reported {count} times: {title}" for title, count in found.reported.items() if count > 1]
    wrong += [] if found.reported else ["soak: the operator was reported of nothing"]
    note = (
        f"{minutes:g} minutes, {EVENTS:,} events, {OPT_OUTS:,} opt-outs; killed: {dict(found.kills)}; "
        f"{found.refused} requests were repeated; {dict(found.verdict.states)}; reported: {dict(found.reported)}"
    )
    return [
        Figure("soak_opt_outs_lost", found.opt_outs_lost, "opt-outs", maximum=1, note=note),
        Figure("soak_events_lost", found.events_lost, "events", maximum=1),
        Figure("soak_duplicates", found.verdict.twice, "messages", maximum=1),
        Figure("soak_lost", found.verdict.lost, "messages", maximum=1),
        Figure("soak_alerts_repeated", repeated, "alerts", maximum=1),
        Figure("soak_kills", found.kills.total(), "kills"),
    ], wrong
