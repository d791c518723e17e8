"""An installation that has just sent its email, and an HTTP client for its pages."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select, text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.journey.erasures import ERASURES
from nurture.journey.handoff import workspace_links
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.runtime.context import AppContext
from nurture.web.app import create_app
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns about httpx, whose successor is not released
    from fastapi.testclient import TestClient as TestClient  # noqa: PLC0414 - tests import it from here

BASE: Final = "https://go.example.com"
NOW: Final = START + timedelta(hours=4)
TOPICS: Final = {"welcome": "Hellos & more", "keep": "News"}
ONE_CLICK: Final = {"List-Unsubscribe": "One-Click"}


@dataclass
class World:
    """Two leads on offer, *dana* and *erik*, and two on a track, *mia* and *noor*, each with their mail."""

    ctx: AppContext
    clock: VirtualClock
    client: TestClient
    ids: Mapping[str, int]
    paths: Mapping[str, Mapping[str, str]]

    def path(self, who: str, purpose: str) -> str:
        """Return the path of the link in the mail to *who*."""
        return self.paths[who][purpose]

    def token(self, who: str, purpose: str) -> str:
        return self.path(who, purpose).rpartition("/")[2]

    def value(self, sql: str, **values: Any) -> Any:
        with self.ctx.database.read() as tx:
            return tx.execute(text(sql), values).scalar()

    def custodian(self, who: str) -> tuple[str, str]:
        with self.ctx.database.read() as tx:
            row = tx.execute(text("SELECT kind, ref FROM custody WHERE lead_id = :id"), {"id": self.ids[who]}).one()
        return row[0], row[1]

    def close(self) -> None:
        """Close the database, so that the next world may use the same path."""
        self.client.app.state.site.click_recorder.close()  # type: ignore[attr-defined]

    def all_rows(self) -> dict[str, list[Any]]:
        """Return every row of every table."""
        with self.ctx.database.read() as tx:
            return {name: sorted(map(repr, tx.execute(select(table)))) for name, table in metadata.tables.items()}


def open_world(db: Database, tmp_path: Path) -> World:
    rules = sample_rules()
    for track, topic in TOPICS.items():
        rules[f"tracks/{track}/track.yaml"] += f"topic: {topic}\n"
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.base_url = BASE
    ctx.spool = tmp_path / "spool"
    ids = {
        "dana": add_lead(
            ctx, email="dana@people.example", full_name="Dana Miller", demo_requested=True, company="Acme & Sons <Ltd>"
        ),
        "erik": add_lead(ctx, email="erik@people.example", full_name="Erik Holm", demo_requested=True),
        "mia": add_lead(ctx, email="mia@people.example", title="Head of planning"),
        "noor": add_lead(ctx, email="noor@people.example", title="Head of stock"),
    }
    run_at(ctx, START, START + timedelta(hours=2), START + timedelta(hours=3))
    paths = _paths(tmp_path / "maildir", ids)
    for who, rep in (("dana", "ana"), ("erik", "ben")):
        paths[who]["workspace"] = f"/{workspace_links.PATH}/{workspace_links.create(ctx, rep, START).token}"
    return _open_client(ctx, ids, paths)


def copy_world(world: World, db: Database) -> World:
    """Return the same world in *db*, a copy of its database."""
    ctx = AppContext(
        db,
        world.ctx.provider,
        base_url=BASE,
        definitions=world.ctx.definitions,
        spool=world.ctx.spool,
        message_kinds=MESSAGE_KINDS,
        erasures=ERASURES,
    )
    return _open_client(ctx, world.ids, world.paths)


def _open_client(ctx: AppContext, ids: Mapping[str, int], paths: Mapping[str, Mapping[str, str]]) -> World:
    clock = VirtualClock(NOW)
    client = TestClient(create_app(ctx, clock), base_url=BASE, raise_server_exceptions=False)
    return World(ctx, clock, client, ids, paths)


def _paths(maildir: Path, ids: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return the links in the sent mails."""
    names = {"a": "accept", "r": "reject", "g": "reassign", "l": "call_back_later"} | {
        "u": "unsubscribe",
        "c": "click",
        "p": "preferences",
    }
    found: dict[str, dict[str, str]] = {who: {} for who in ids}
    for file in (maildir / "new").iterdir():
        mail = message_from_bytes(file.read_bytes(), policy=policy.default)
        body = mail.get_body(("plain",))
        assert body is not None
        content = f"{mail['List-Unsubscribe']} {body.get_content()}"
        who = next(
            who
            for who, name in (("dana", "Dana"), ("erik", "Erik"), ("mia", "mia@"), ("noor", "noor@"))
            if name in f"{mail['To']} {content}"
        )
        for letter, token in re.findall(rf"{BASE}/([arglucp])/([\w-]+)", content):
            found[who][names[letter]] = f"/{letter}/{token}"
    return found


def advance_clock(world: World, **span: float) -> datetime:
    """Advance the clock of the pages."""
    world.clock.advance_to(world.clock.now() + timedelta(**span))
    return world.clock.now()
