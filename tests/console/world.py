"""A console as a process of its own, on a world with leads, and users of every role."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from sqlalchemy import text

from nurture.clock import RealClock
from nurture.console.access import users
from nurture.console.access.users import Role
from nurture.console.site import COOKIE
from nurture.definitions.folder import write_texts
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.sqlite import create_migrated, without_fsync

PASSWORD: Final = "a long enough password"
LEADS: Final = """Email,First Name,Last Name,Company,Country,Sperrkz,Team,Consent basis
ana1@firm.example,Ana,One,Firm,DE,X,red,consent
bob2@firm.example,Bob,<b>Two</b>,=1+1,DE,,blue,consent
carl3@firm.example,Carl,Three,Firm,FR,,,
not an address,Dana,Four,=cmd|x,FR,,red,consent
"""
"""A list of four: one has an X in a column that nobody knows, one no basis, one no address."""

TLS: Final = ssl.create_default_context()
"""For all requests: reading the certificates of the world anew would take longer than most answers."""

_SERVE: Final = (str(Path(sys.executable).with_name("nurture")), "console", "--port", "0", "--json")


@dataclass
class ConsoleWorld:
    """Leads *dana* on offer to ana, *erik* on offer to ben, *mia* on a track, *queued* in a queue; the console's *url*.

    The user of each role has its name as login; *rep* is ana, and *maya* is the sales manager of ana alone.
    """

    ctx: AppContext
    ids: Mapping[str, int]
    url: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    uploaded: str = ""

    def token(self, login: str) -> str:
        """Return the token of a session of the user."""
        if login not in self.tokens:
            token = users.sign_in(self.ctx.database, login, PASSWORD, RealClock().now())
            assert token is not None
            self.tokens[login] = token
        return self.tokens[login]

    def new_user(self, login: str, role: Role, rep: str = "") -> str:
        """Add a user with the common password; return the token of a session."""
        now = RealClock().now()
        invitation = users.add_user(self.ctx.database, login, role, rep, now)
        users.accept_invitation(self.ctx.database, invitation.token, PASSWORD, now)
        return self.token(login)

    def rows(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with self.ctx.database.read() as tx:
            return [tuple(row) for row in tx.execute(text(sql), values)]

    def state(self) -> list[tuple[Any, ...]]:
        """Return what actions change: custody, pauses, stops and consent."""
        tables = ("custody", "mail_stop", "consent_statement", "offer")
        paused = self.rows("SELECT id, paused_until FROM lead ORDER BY id")
        return [*paused, *(row for name in tables for row in self.rows(f"SELECT * FROM {name}"))]

    def sign_in(self, login: str, password: str, **headers: str) -> httpx.Response:
        form, origin = {"login": login, "password": password}, {"Origin": self.url, **headers}
        return httpx.post(f"{self.url}/sign-in", data=form, headers=origin, timeout=20, verify=TLS)

    def send_file(
        self, content: bytes | Iterator[bytes], name: str = "fair.csv", login: str = "marketer"
    ) -> httpx.Response:
        """Upload a file as the page does."""
        cookies, headers = {COOKIE: self.token(login)}, {"Origin": self.url}
        to = f"{self.url}/import/files"
        named = {"name": name}
        return httpx.post(to, content=content, params=named, cookies=cookies, headers=headers, timeout=60, verify=TLS)

    def wait_for(self, path: str, text: str, login: str = "marketer") -> str:
        """Open a page until it contains *text*; return it."""
        while text not in (found := self.get(path, login).text):
            pass
        return found

    @property
    def upload_with_question(self) -> str:
        """Return the id of an uploaded file of which a column may be an opt-out."""
        if not self.uploaded:
            path = self.send_file(LEADS.encode()).text
            self.wait_for(path, "who wants no mail")
            self.uploaded = path.rpartition("/")[2]
        return self.uploaded

    def get(self, path: str, login: str) -> httpx.Response:
        return httpx.get(self.url + path, cookies={COOKIE: self.token(login)}, timeout=20, verify=TLS)


def make_world(folder: Path) -> ConsoleWorld:
    """Return the world in a new SQLite file in *folder*, without a console yet."""
    database = without_fsync(create_migrated(folder / "console.db"))
    sources = sample_rules()
    policy = sources["sales/policy.yaml"].replace("{id: ana,", "{id: ana, manager: maya,")
    sources["sales/policy.yaml"] = policy + "managers: [{id: maya, name: Maya, email: maya@house.example}]\n"
    ctx = make_context(database, folder, rules=sources)
    ctx.spool = folder / "spool"
    ctx.templates = folder / "templates"
    write_texts(ctx.templates, sources)
    ids = {
        "dana": add_lead(ctx, email="dana@people.example", full_name="Dana Miller", demo_requested=True),
        "erik": add_lead(ctx, email="erik@people.example", full_name="Erik Holm", demo_requested=True),
        "mia": add_lead(ctx, email="mia@people.example", full_name="Mia <b>Wong</b>", title="Head of planning"),
        "queued": add_lead(ctx, email="queued@people.example", full_name="Kim Poe", consent_basis=None),
    }
    run_at(ctx, START, START + timedelta(hours=2))
    with database.write() as tx:
        columns = "source, external_id, name, domains, owner, kind, created_at, updated_at"
        values = "'crm', 'a1', 'Quay', '[]', 'ana', 'prospect', created_at, created_at FROM lead WHERE id = 1"
        tx.exec_driver_sql(f"INSERT INTO account (id, {columns}) SELECT 1, {values}")
        ids["quay"] = 1
        ids["hello"] = tx.execute(text("SELECT id FROM message WHERE kind = 'touch'")).scalar_one()
    world = ConsoleWorld(ctx, ids)
    for role in Role:
        world.new_user(role.value.replace("_", "-"), role, "ana" if role == Role.REP else "")
    world.new_user("maya", Role.SALES_MANAGER, "maya")
    return world


@contextmanager
def serve_console(world: ConsoleWorld, command: tuple[str, ...] = _SERVE, **environment: str) -> Iterator[ConsoleWorld]:
    """Run the console on the world's database while the block runs."""
    url = str(world.ctx.database.url.render_as_string(hide_password=False))
    own = {"NURTURE_DATABASE_URL": url, "NURTURE_SPOOL": str(world.ctx.spool)}
    variables = {**os.environ, **own, "NURTURE_TEMPLATES": str(world.ctx.templates), **environment}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            lines = list(iter(server.stdout.readline, b"}\n"))
            said: dict[str, Any] = orjson.loads(b"".join(lines) + b"}")
            world.url = f"http://127.0.0.1:{said['port']}"
            yield world
        finally:
            server.terminate()
            server.wait(20)
