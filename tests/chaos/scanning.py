"""Machines follow every link in the mail of a thousand leads: nobody is handed off, nobody is opted out."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import unquote

from fastapi import FastAPI

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.tables import engagement
from nurture.mail.providers.maildir import Mailbox
from nurture.runtime.context import House
from nurture.web.app import create_app
from tests.bench.figures import Figure
from tests.doubles.scanners import COMPANY, LINKS, UNSEEN, Look, trace
from tests.journey.builders import START, make_house, tick_at, tiny_rules
from tests.journey.observe import crowd, one, rows, write

SENT: Final = START + timedelta(hours=1)
BASE: Final = "https://go.example.com"
_CONSENT: Final = engagement.OpenConsent.__table__  # type: ignore[attr-defined]
_LETTERS: Final = {"unsubscribe": "u", "preferences": "p", "pixel": "o"}
_LINK: Final = re.compile(r"/([cupo])/([\w-]{22})")


@dataclass(frozen=True)
class Scanned:
    """What machines did, and what came of it. *believed* are clicks that nobody can tell from a reader's."""

    leads: int
    requests: int
    clicks: int
    verdicts: Counter[str]
    offers: int
    opt_outs: int
    said: int
    broken: int


def scan(database: Database, folder: Path, count: int, chance: Random) -> Scanned:
    """Send *count* mails, let machines look at them for hours, and let a day pass."""
    house = _mailed(database, folder, count)
    clock = VirtualClock(SENT)
    app = create_app(house, clock)
    paths = _paths(folder / "mailbox", rows(house, "SELECT id, lead_id FROM enrollment"))
    looks = sorted(
        (look.after, lead, look) for place, lead in enumerate(sorted(paths)) for look in trace(place, chance)
    )
    broken = asyncio.run(_look_at_all(app, clock, house, looks, paths))
    app.state.site.guestbook.close()
    tick_at(house, *(SENT + timedelta(hours=hours) for hours in (3, 4, 24, 25)))
    verdicts = "SELECT verdict, count(*) FROM signal WHERE kind = 'clicked' GROUP BY verdict"
    return Scanned(
        leads=len(paths),
        requests=len(looks),
        clicks=one(house, "SELECT count(*) FROM signal WHERE kind = 'clicked'"),
        verdicts=Counter(dict(rows(house, verdicts))),
        offers=one(house, "SELECT count(*) FROM offer"),
        opt_outs=one(house, "SELECT count(*) FROM suppression"),
        said=one(house, "SELECT count(*) FROM signal WHERE kind <> 'clicked'"),
        broken=broken,
    )


def _mailed(database: Database, folder: Path, count: int) -> House:
    rules = tiny_rules()
    more = "".join(f"\n[{name}](https://www.example.com/{name})\n" for name in ("prices", "demo"))
    rules["tracks/welcome/01-hello.md"] += more
    house = make_house(database, folder, rules=rules)
    house.base_url, house.spool = BASE, folder / "spool"
    house.provider = Mailbox(folder / "mailbox", html_copies=True)
    leads = crowd(house, count, title="Head of planning")
    with database.write() as connection:
        consent = {"granted": True, "source": "form", "stated_at": START}
        connection.execute(_CONSENT.insert(), [{"lead_id": lead, **consent} for lead in leads])
    company = f"'p' || id || '@firm' || ((id - 1) / {COMPANY}) || '.example'"
    write(house, f"UPDATE address SET email = {company}, normal = {company}")
    tick_at(house, START, SENT)
    sent = "SELECT count(*) FROM message WHERE accepted_at >= :sent"
    assert one(house, sent, sent=SENT.isoformat()) == count
    return house


def _paths(mailbox: Path, enrolled: list[tuple[Any, ...]]) -> dict[int, dict[str, str]]:
    """Return each lead's tokens, by the letter of their path."""
    leads = dict(enrolled)
    return {
        leads[int(page.name.split(".")[1])]: dict(_LINK.findall(page.read_text("utf-8")))
        for page in (mailbox / "html").iterdir()
    }


async def _look_at_all(
    app: FastAPI,
    clock: VirtualClock,
    house: House,
    looks: list[tuple[float, int, Look]],
    paths: dict[int, dict[str, str]],
) -> int:
    """Ask for everything in the order of time; return how many answers tell of an error of ours."""
    broken = 0
    woken = SENT
    for after, lead, look in looks:
        clock.advance_to(SENT + timedelta(seconds=after))
        broken += await _ask(app, look, paths[lead]) >= 500
        if clock.now() - woken > timedelta(minutes=5):  # the sweeps go on meanwhile
            woken = clock.now()
            await asyncio.to_thread(tick_at, house, woken)
    return broken


async def _ask(app: FastAPI, look: Look, tokens: dict[str, str]) -> int:
    path = _path(look.what, tokens)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": look.method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "https",
        "query_string": b"",
        "headers": [(b"host", b"go.example.com"), (b"user-agent", look.agent.encode())],
        "client": (look.address, 50_000),
        "server": ("go.example.com", 443),
    }
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


def _path(what: str, tokens: dict[str, str]) -> str:
    if what in (*LINKS, UNSEEN):
        return f"/c/{tokens['c']}/{what}"
    letter = _LETTERS[what]
    return f"/{letter}/{tokens[letter]}" + (".gif" if letter == "o" else "")


def measure(folder: Path, seed: int, count: int) -> tuple[list[Figure], list[str]]:
    """Scan on SQLite."""
    from nurture.db import schema

    folder.mkdir(exist_ok=True)
    database = Database(f"sqlite:///{folder / 'scanning.db'}")
    schema.upgrade(database)
    found = scan(database, folder, count, Random(f"{seed}:scan"))
    database.close()
    told = ", ".join(f"{number:,} {verdict}" for verdict, number in sorted(found.verdicts.items()))
    wrong = [f"{found.said} scans counted as something that a lead said"] if found.said else []
    wrong += [f"{found.broken} scans were answered with a server error"] if found.broken else []
    return [
        Figure(
            "scanner_leads",
            found.leads,
            "leads",
            at_least=count,
            note=f"{found.requests:,} requests; clicks: {told}",
        ),
        Figure("scanner_hand_offs", found.offers, "leads", below=1),
        Figure("scanner_opt_outs", found.opt_outs, "leads", below=1),
    ], wrong
