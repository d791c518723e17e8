"""Scanners follow every link in the mail of a thousand leads: no lead is handed off or opted out."""

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
from nurture.db.tables import consent as consent_tables
from nurture.db.tables.base import table
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext
from nurture.web.app import create_app
from tests.bench.figures import Figure
from tests.doubles.scanners import COMPANY, HONEYPOT, LINKS, ScannerRequest, scanner_requests
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.observe import add_leads, one, rows, write

SENT: Final = START + timedelta(hours=1)
BASE: Final = "https://go.example.com"
_CONSENT: Final = table(consent_tables.OpenTrackingConsent)  # type: ignore[attr-defined]
_PATH_PREFIXES: Final = {"unsubscribe": "u", "preferences": "p", "pixel": "o"}
_LINK: Final = re.compile(r"/([cupo])/([\w-]{22})")


@dataclass(frozen=True)
class ScanRun:
    """Requests of scanners and their effects. *verdicts* counts clicks."""

    leads: int
    requests: int
    clicks: int
    verdicts: Counter[str]
    offers: int
    opt_outs: int
    other_signals: int
    broken: int


def scan(database: Database, folder: Path, count: int, chance: Random) -> ScanRun:
    """Send *count* mails, let scanners follow their links for hours, and let a day pass."""
    ctx = _send_first_emails(database, folder, count)
    clock = VirtualClock(SENT)
    app = create_app(ctx, clock)
    paths = _paths(folder / "maildir", rows(ctx, "SELECT id, lead_id FROM enrollment"))
    requests = sorted(
        (request.after, lead, request)
        for place, lead in enumerate(sorted(paths))
        for request in scanner_requests(place, chance)
    )
    broken = asyncio.run(_request_all(app, clock, ctx, requests, paths))
    app.state.site.click_recorder.close()
    run_at(ctx, *(SENT + timedelta(hours=hours) for hours in (3, 4, 24, 25)))
    verdicts = "SELECT verdict, count(*) FROM signal WHERE kind = 'clicked' GROUP BY verdict"
    return ScanRun(
        leads=len(paths),
        requests=len(requests),
        clicks=one(ctx, "SELECT count(*) FROM signal WHERE kind = 'clicked'"),
        verdicts=Counter(dict(rows(ctx, verdicts))),
        offers=one(ctx, "SELECT count(*) FROM offer"),
        opt_outs=one(ctx, "SELECT count(*) FROM suppression"),
        other_signals=one(ctx, "SELECT count(*) FROM signal WHERE kind <> 'clicked'"),
        broken=broken,
    )


def _send_first_emails(database: Database, folder: Path, count: int) -> AppContext:
    rules = sample_rules()
    more = "".join(f"\n[{name}](https://www.example.com/{name})\n" for name in ("prices", "demo"))
    rules["tracks/welcome/01-hello.md"] += more
    ctx = make_context(database, folder, rules=rules)
    ctx.base_url, ctx.spool = BASE, folder / "spool"
    ctx.provider = MaildirProvider(folder / "maildir", html_copies=True)
    leads = add_leads(ctx, count, title="Head of planning")
    with database.write() as tx:
        consent = {"granted": True, "source": "form", "stated_at": START}
        tx.execute(_CONSENT.insert(), [{"lead_id": lead, **consent} for lead in leads])
    company = f"'p' || id || '@firm' || ((id - 1) / {COMPANY}) || '.example'"
    write(ctx, f"UPDATE address SET email = {company}, normalized = {company}")
    run_at(ctx, START, SENT)
    sent = "SELECT count(*) FROM message WHERE accepted_at >= :sent"
    assert one(ctx, sent, sent=SENT.isoformat()) == count
    return ctx


def _paths(maildir: Path, enrolled: list[tuple[Any, ...]]) -> dict[int, dict[str, str]]:
    """Return each lead's tokens, by the letter of their path."""
    leads = dict(enrolled)
    return {
        leads[int(page.name.split(".")[1])]: dict(_LINK.findall(page.read_text("utf-8")))
        for page in (maildir / "html").iterdir()
    }


async def _request_all(
    app: FastAPI,
    clock: VirtualClock,
    ctx: AppContext,
    requests: list[tuple[float, int, ScannerRequest]],
    paths: dict[int, dict[str, str]],
) -> int:
    """Send all requests in order of time; return the number of server errors."""
    broken = 0
    woken = SENT
    for after, lead, request in requests:
        clock.advance_to(SENT + timedelta(seconds=after))
        broken += await _ask(app, request, paths[lead]) >= 500
        if clock.now() - woken > timedelta(minutes=5):  # the sweeps continue meanwhile
            woken = clock.now()
            await asyncio.to_thread(run_at, ctx, woken)
    return broken


async def _ask(app: FastAPI, request: ScannerRequest, tokens: dict[str, str]) -> int:
    path = _path(request.target, tokens)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "https",
        "query_string": b"",
        "headers": [(b"host", b"go.example.com"), (b"user-agent", request.agent.encode())],
        "client": (request.address, 50_000),
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
    if what in (*LINKS, HONEYPOT):
        return f"/c/{tokens['c']}/{what}"
    letter = _PATH_PREFIXES[what]
    return f"/{letter}/{tokens[letter]}" + (".gif" if letter == "o" else "")


def measure(folder: Path, seed: int, count: int) -> tuple[list[Figure], list[str]]:
    """Scan on SQLite."""
    from nurture.db import schema

    folder.mkdir(exist_ok=True)
    database = Database(f"sqlite:///{folder / 'scanning.db'}")
    schema.upgrade(database)
    found = scan(database, folder, count, Random(f"{seed}:scan"))
    database.close()
    counts = ", ".join(f"{number:,} {verdict}" for verdict, number in sorted(found.verdicts.items()))
    wrong = [f"{found.other_signals} scans counted as something that a lead said"] if found.other_signals else []
    wrong += [f"{found.broken} scans were answered with a server error"] if found.broken else []
    return [
        Figure(
            "scanner_leads", found.leads, "leads", minimum=count, note=f"{found.requests:,} requests; clicks: {counts}"
        ),
        Figure("scanner_hand_offs", found.offers, "leads", maximum=1),
        Figure("scanner_opt_outs", found.opt_outs, "leads", maximum=1),
    ], wrong
