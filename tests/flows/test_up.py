"""`nurture up` with real processes: start, checks and stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from flows.records import ASK_SECONDS
from flows.up import up
from nurture.app import open_app
from nurture.db import last_rounds
from nurture.db.engine import Database
from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.errors import InvalidState
from nurture.files import find_exposed
from nurture.operations import problem_queries
from nurture.operations.problems import MAX_BACKUP_AGE
from nurture.publishing.publish import publish
from nurture.settings import Settings
from tests.doubles.chat_server import ChatServer
from tests.flows.prefect_api import Api, any_port, ask, is_served, until
from tests.journey.builders import START, add_lead, sample_rules

START_UP = "from flows.up import up; from nurture.settings import Settings; up(Settings.read())"
UNLOCKING = """[server.api]
auth_string = "open"
cors_allowed_origins = "*"
csrf_protection_enabled = false
"""
TOKEN = "a-secret-of-the-pages"
ANY_ID = "3f2c6f4e-9f0b-4a55-8a52-0d7f0c1f7f11"
custody = table(lead_tables.Custody)


@dataclass
class Started:
    """A running `nurture up` and its folder."""

    folder: Path
    program: subprocess.Popen[bytes]
    environment: dict[str, str]
    database: Database
    lead: int
    chat: ChatServer

    @property
    def pages(self) -> str:
        return f"http://127.0.0.1:{self.environment['NURTURE_WEB_PORT']}"

    @property
    def console(self) -> str:
        return f"http://127.0.0.1:{self.environment['NURTURE_CONSOLE_PORT']}"

    @property
    def port(self) -> str:
        return self.environment["NURTURE_PREFECT_PORT"]

    @property
    def api(self) -> Api:
        secret = (self.folder / ".nurture" / "sign-in").read_text().strip()
        return Api(f"http://127.0.0.1:{self.port}/api", secret)

    def said(self) -> str:
        """Return what it printed on standard error."""
        return (self.folder / "up.log").read_text("utf-8")

    def child(self, name: str) -> int:
        """Return the process id of a child, 0 if it does not run."""
        end = b"\0" + name.encode() + b"\0"
        found = [pid for pid in self.tree() if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(end)]
        return found[0] if found else 0

    def kill(self, name: str) -> None:
        """Kill a child, and wait until another one runs in its place."""
        killed = self.child(name)
        os.kill(killed, signal.SIGKILL)
        until(lambda: self.child(name) not in (0, killed), 30)
        assert f"The process {name!r} was ended by SIGKILL. It starts again in" in self.said()

    def add_lead(self) -> int:
        """Add a lead that intake puts on a track; return its id."""
        settings = Settings(database_url=SecretStr(str(self.database.url)), maildir=self.folder / "maildir")
        with open_app(settings, live=True) as app:
            return add_lead(app.ctx, at=app.clock.now(), title="head of sales")

    def custodian(self, lead: int) -> str:
        """Return who has a lead."""
        with self.database.read() as tx:
            return str(tx.execute(select(custody.c.kind).where(custody.c.lead_id == lead)).scalar_one())

    def tree(self) -> list[int]:
        """Return its child processes, found by the variables in their environment."""
        mark = f"NURTURE_CONSOLE_PORT={self.environment['NURTURE_CONSOLE_PORT']}".encode()
        return [int(one.name) for one in Path("/proc").glob("[0-9]*") if mark in _environ(one)]


def _environ(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("up")
    (folder / "prefect.toml").write_text(UNLOCKING)  # Prefect reads both in its working folder
    (folder / ".env").write_text("PREFECT_SERVER_CORS_ALLOWED_ORIGINS=*\nPREFECT_SERVER_API_AUTH_STRING=open\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "NURTURE_WEB_PORT": str(any_port()),
        "NURTURE_PREFECT_PORT": str(any_port()),
        "NURTURE_CONSOLE_PORT": str(any_port()),
        "NURTURE_METRICS_TOKEN": TOKEN,
    }
    settings = Settings(database_url=SecretStr(f"sqlite:///{folder / 'nurture.db'}"), maildir=folder / "maildir")
    with open_app(settings, upgrade=True, live=True) as app:
        now = app.clock.now()
        publish(app.ctx, sample_rules(), now)
        lead = add_lead(app.ctx, at=now, title="head of sales")
        with app.database.write() as tx:
            last_rounds.note_success(tx, last_rounds.BACKUP, now - 2 * MAX_BACKUP_AGE)
    database = Database(settings.database_url.get_secret_value())
    with ChatServer() as chat, (folder / "up.log").open("wb") as log:
        environment["NURTURE_ALERT"] = f"json://127.0.0.1:{chat.port}/"
        program = subprocess.Popen([sys.executable, "-c", START_UP], cwd=folder, env=environment, stderr=log)
        try:
            yield Started(folder, program, environment, database, lead, chat)
        finally:
            program.kill()
            program.wait()
            database.close()


def test_a_lead_moves_and_prefect_shows_the_round(started: Started) -> None:
    until(lambda: started.custodian(started.lead) == "track", 60)

    def shown() -> bool:
        with suppress(OSError):  # the lead is classified before Prefect's server answers
            runs = ask(started.api, "/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}})
            return any(run["deployment_id"] for run in runs)
        return False

    started.add_lead()  # the first one may have moved before the server answered
    until(shown, 240)


def test_what_is_waited_for_is_said_without_a_terminal(started: Started) -> None:
    said = until(lambda: "Ctrl-C" in started.said() and started.said(), 60)
    assert "Starting the pages, the loop and Prefect's server" in said
    assert said.index("Pages:   http") < said.index("Ctrl-C")
    assert f"Prefect: http://127.0.0.1:{started.port}" in said


def test_a_stage_runs_on_request_and_rests_while_its_deployment_is_paused(started: Started) -> None:
    def deployment(flow: str) -> dict[str, Any]:
        [found] = ask(started.api, "/deployments/filter", flows={"name": {"any_": [flow]}})
        return dict(found)

    intake = until(lambda: ask(started.api, "/deployments/count") == 9 and deployment("intake"), 60)

    def pause(*, paused: bool) -> None:
        path = f"/deployments/{intake['id']}"
        # A busy server answers 503: SQLite has one writer.
        until(lambda: started.api.call("PATCH", path, {"paused": paused}, **started.api.csrf())[0] == 204, 60)

    pause(paused=True)
    until(lambda: deployment("intake")["paused"], 10)
    time.sleep(ASK_SECONDS + 2)  # until the loop has looked
    waiting = started.add_lead()
    run = ask(started.api, f"/deployments/{deployment('hand-off')['id']}/create_flow_run", name="asked for")

    def state() -> str:
        [found] = ask(started.api, "/flow_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return str(found["state_name"])

    until(lambda: state() == "Completed", 60)
    assert started.custodian(waiting) == "intake"
    pause(paused=False)
    until(lambda: started.custodian(waiting) == "track", 90)


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/version"),
        ("GET", "/admin/settings"),
        ("GET", "/csrf-token?client=tests"),
        ("POST", "/deployments/filter"),
        ("PATCH", f"/deployments/{ANY_ID}"),
        ("POST", f"/deployments/{ANY_ID}/create_flow_run"),
        ("DELETE", f"/flow_runs/{ANY_ID}"),
        ("POST", "/logs/filter"),
        ("POST", "/events/filter"),
        ("POST", "/variables/"),
    ],
)
def test_without_the_secret_nothing_can_be_read_or_changed(
    started: Started, method: str, path: str, origin: dict[str, str]
) -> None:
    body = None if method in ("GET", "DELETE") else {}
    forged = {"Prefect_Csrf_Client": "me", "Prefect_Csrf_Token": "guessed"}
    wrong = {"Authorization": "Basic " + b64encode(b"nurture:guessed").decode()}
    for headers in ({}, forged, wrong):
        status, response_headers, _ = started.api.call(method, path, body, secret=False, **origin, **headers)
        assert (status, "access-control-allow-origin" in response_headers) == (401, False), headers


def test_without_the_secret_prefect_shows_nothing_of_this_installation(started: Started) -> None:
    server = Api(started.api.url.removesuffix("/api"), started.api.secret)
    private = (server.secret, server.secret.partition(":")[2], str(started.folder), "NURTURE_", "audit_ledger")
    shown = {}
    for path in ("/docs", "/redoc", "/openapi.json", "/", "/ui-settings", "/api/health", "/api/ready"):
        status, _, content = server.call("GET", path, secret=False)
        shown[path] = status
        assert [one for one in private if one.encode() in content] == [], path
    assert shown["/openapi.json"] == shown["/docs"] == shown["/api/health"] == 200


def test_no_other_origin_is_allowed_even_with_the_secret(started: Started) -> None:
    def allowed(origin: str, method: str = "GET", path: str = "/admin/version", **headers: str) -> str | None:
        _, response_headers, _ = started.api.call(method, path, Origin=origin, **headers)
        return response_headers.get("access-control-allow-origin")

    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    for origin in ("https://evil.example", "null", f"http://localhost.evil.example:{started.port}"):
        assert allowed(origin) is None
        assert allowed(origin, path="/health") is None
        assert allowed(origin, "OPTIONS", "/deployments/filter", **asks) is None
    ours = f"http://127.0.0.1:{started.port}"
    assert allowed(ours) == allowed(ours, "OPTIONS", "/deployments/filter", **asks) == ours


def test_changes_need_a_csrf_token(started: Started) -> None:
    path, body = "/variables/", {"name": "tests", "value": "1"}
    assert started.api.call("POST", path, body)[0] == 403
    forged = {"Prefect_Csrf_Client": "me", "Prefect_Csrf_Token": "guessed"}
    assert started.api.call("POST", path, body, **forged)[0] == 403
    assert started.api.call("POST", path, body, **started.api.csrf())[0] == 201


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled"])
def test_no_web_socket_opens_without_the_secret(started: Started, path: str) -> None:
    url = started.api.url.replace("http", "ws", 1) + path
    subprotocol = [Subprotocol("prefect")]
    with connect(url, subprotocols=subprotocol) as socket:
        socket.send(json.dumps({"type": "auth", "token": "guessed"}))
        with suppress(ConnectionClosed):
            assert json.loads(socket.recv(timeout=10))["type"] != "auth_success"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url) as socket:
        socket.recv(timeout=10)
    with connect(url, subprotocols=subprotocol) as socket:
        socket.send(json.dumps({"type": "auth", "token": started.api.secret}))
        assert json.loads(socket.recv(timeout=10))["type"] == "auth_success"


def test_the_secret_is_in_no_command_line_and_no_file_but_one(started: Started) -> None:
    secret = started.api.secret.encode()
    programs = {pid: Path(f"/proc/{pid}") for pid in started.tree()}
    assert len(programs) >= 4
    assert not any(secret in (folder / "cmdline").read_bytes() for folder in programs.values())
    knowing = {pid for pid, folder in programs.items() if secret in b"".join(_environ(folder))}
    web = next(pid for pid, one in programs.items() if (one / "cmdline").read_bytes().endswith(b"\0web\0"))
    assert knowing
    assert not {web, started.program.pid} & knowing, "the pages and the parent hold no secret of Prefect's"
    files = [path for path in started.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if secret in path.read_bytes()] == ["sign-in"]


def test_all_files_of_a_start_are_private(started: Started) -> None:
    home = started.folder / ".nurture"
    names = {path.name for path in home.rglob("*")}
    assert {"prefect.db", "prefect.log", "sign-in", "up.lock"} <= names
    assert list(find_exposed([home, started.folder / "nurture.db"])) == []


def test_the_pages_are_served(started: Started) -> None:
    assert is_served(f"{started.pages}/healthz")


def test_prefect_keeps_its_own_database_and_listens_on_this_machine_only(started: Started) -> None:
    home = started.folder / ".nurture" / "prefect"
    assert (home / "prefect.db").exists()
    assert not (home / "profiles.toml").exists() or "API_URL" not in (home / "profiles.toml").read_text()


def test_a_second_start_names_the_address_of_the_first_and_fails(started: Started) -> None:
    second = subprocess.run(
        [sys.executable, "-c", START_UP],
        cwd=started.folder,
        env=started.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode != 0
    assert f"already running here, as process {started.program.pid}" in second.stderr
    assert started.pages in second.stderr


def test_a_problem_is_reported_to_the_operator_once(started: Started) -> None:
    until(lambda: started.chat.received, 90)
    [reported] = started.chat.received
    assert reported["title"].startswith("nurture: The last backup is of ")
    with started.database.read() as tx:
        [known] = problem_queries.list_alerts(tx)
    assert known.reported_at is not None


def test_the_pages_live_on_while_prefect_is_dead_and_each_dead_child_comes_back(started: Started) -> None:
    started.kill("prefect")
    assert is_served(f"{started.pages}/healthz")
    lead = started.add_lead()
    until(lambda: started.custodian(lead) == "track", 30)  # the loop goes on without Prefect
    started.kill("web")
    until(lambda: is_served(f"{started.pages}/healthz"), 60)
    started.kill("loop")
    lead = started.add_lead()
    until(lambda: started.custodian(lead) == "track", 90)
    until(lambda: is_served(f"{started.api.url}/health"), 120)
    assert started.program.poll() is None


def test_the_console_answers_without_the_secrets_of_the_others_and_comes_back(started: Started) -> None:
    until(lambda: is_served(f"{started.console}/health"), 60)
    of_web, of_console = (_environ(Path(f"/proc/{started.child(name)}")) for name in ("web", "console"))
    assert any(TOKEN.encode() in one for one in of_web)
    assert not any(TOKEN.encode() in one for one in of_console)
    assert [one for one in of_console if one.startswith((b"PREFECT_", b"NURTURE_PROVIDER"))] == []
    link = until(lambda: re.search(r"Admin: +(http://127\.0\.0\.1:\d+/invitation/\S+)", started.said()), 120)
    assert "Choose a password" in urllib.request.urlopen(link[1], timeout=10).read().decode()
    started.kill("console")
    until(lambda: is_served(f"{started.console}/health"), 60)


def test_an_interrupt_stops_everything_within_ten_seconds(started: Started) -> None:
    assert len(started.tree()) >= 4
    started.program.send_signal(signal.SIGINT)
    started.program.wait(timeout=10)
    assert started.program.returncode == 0, started.said()
    assert "Stopped." in started.said()
    assert started.tree() == []
    assert not (started.folder / ".nurture" / "sign-in").exists()


ORPHANS = """
import os, signal, sys, time
from pathlib import Path
from flows.child_processes import ChildProcesses, wait_until_ready
children = ChildProcesses(Path(sys.argv[1]), os.environ)
children.start("web")
assert wait_until_ready(sys.argv[2], children, lambda seconds: time.sleep(seconds), lambda waited: None)
children.start("prefect")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_end_when_their_parent_is_killed(started: Started, tmp_path: Path) -> None:
    parent = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(tmp_path), f"{started.pages}/healthz"],
        cwd=started.folder,
        env=started.environment,
        timeout=60,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL
    until(lambda: not started.tree(), 15)


def test_a_database_in_virtual_time_is_refused(tmp_path: Path) -> None:
    settings = Settings(database_url=SecretStr(f"sqlite:///{tmp_path / 'demo.db'}"), maildir=tmp_path / "maildir")
    with open_app(settings, at=START, upgrade=True):
        pass
    with pytest.raises(InvalidState, match="virtual time"):
        up(settings)
