"""`nurture doctor`: one screen, an exit code, no secrets, nothing sent and nothing changed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.mail.providers.base import Provider
from nurture.operations.check_machine import versions
from nurture.operations.doctor import SetUp
from nurture.runtime.context import House
from nurture.settings import Settings
from nurture.web.app import create_app
from nurture.web.server import serving
from tests.cli.conftest import Place
from tests.doubles.events import Signer
from tests.doubles.sendgrid import KEY, Account, SendGridDouble
from tests.doubles.smtp import smtp_server
from tests.journey.observe import Post


@pytest.fixture
def live(place: Place) -> Place:
    """A place in real time with published rules, where nobody answers for Prefect."""
    place.ok("publish")
    place.environment.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    return place


@pytest.fixture
def sendgrid(live: Place) -> Iterator[SendGridDouble]:
    with SendGridDouble(live.folder / "sendgrid.log") as double:
        live.environment.setenv("NURTURE_PROVIDER", "sendgrid")
        live.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        live.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        yield double


def _told(place: Place, code: int = 0) -> dict[str, dict[str, Any]]:
    """Run the doctor; return what it found by check, the worst of each."""
    said = place.run("doctor", "--json")
    assert (said.code, said.json["can_send"]) == (code, code == 0), said
    order = ("ok", "warning", "fails")
    found = sorted(said.json["findings"], key=lambda one: order.index(one["state"]))
    return {one["check"]: one for one in found}


def test_a_fresh_place_says_what_to_do_and_makes_no_file(place: Place) -> None:
    place.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{place.folder / 'none.db'}")
    before = sorted(place.folder.rglob("*"))
    told = _told(place, 6)
    assert told["database"]["state"] == "fails"
    assert "nurture admin init" in told["database"]["found"]
    assert sorted(place.folder.rglob("*")) == before


def test_the_default_mailbox_works_and_says_that_nobody_is_mailed(live: Place) -> None:
    assert _told(live)["provider"]["state"] == "warning"
    shown = live.ok("doctor").out
    assert "nobody is mailed" in shown
    assert "1 Harbour Lane, Exampleton" in shown


def test_a_good_key_is_proven_in_the_sandbox_and_no_mail_is_sent(
    live: Place, sendgrid: SendGridDouble
) -> None:
    told = _told(live)
    assert told["provider"]["state"] == "ok"
    assert "nothing was sent" in told["provider"]["found"]
    assert (len(sendgrid.checked()), sendgrid.accepted()) == (1, [])
    assert told["bounces"]["state"] == "warning"


def test_a_wrong_key_fails_and_is_never_shown(live: Place, sendgrid: SendGridDouble) -> None:
    sendgrid.configure(Account(key="SG.another"))
    told = _told(live, 6)
    assert told["provider"]["state"] == "fails"
    assert "NURTURE_SENDGRID_KEY" in told["provider"]["found"]
    said = live.fails("doctor")
    assert said.code == 6
    assert KEY not in said.out + said.err + repr(told)


def test_a_sender_that_sendgrid_does_not_know_fails(live: Place, sendgrid: SendGridDouble) -> None:
    sendgrid.configure(Account(senders=("other.example",)))
    assert _told(live, 6)["provider"]["state"] == "fails"


def test_sendgrid_without_a_key_is_named(live: Place) -> None:
    live.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    assert "NURTURE_SENDGRID_KEY is not set" in _told(live, 6)["provider"]["found"]


def test_a_mail_server_that_lets_us_in_is_good(live: Place) -> None:
    with smtp_server() as double:
        live.environment.setenv("NURTURE_PROVIDER", "smtp")
        live.environment.setenv("NURTURE_SMTP_URL", double.url)
        told = _told(live)
        assert told["provider"]["state"] == "ok"
        assert double.accepted == []


def test_a_mail_server_that_is_not_there_fails_without_its_password(live: Place) -> None:
    live.environment.setenv("NURTURE_PROVIDER", "smtp")
    live.environment.setenv("NURTURE_SMTP_URL", "smtp://nora:opensesame@127.0.0.1:9")
    told = _told(live, 6)
    assert told["provider"]["state"] == "fails"
    assert "opensesame" not in repr(told)


def test_our_own_pages_are_opened_by_their_public_address(live: Place) -> None:
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    app = create_app(House(database, Post()), RealClock())
    with serving(app, "127.0.0.1", 0) as port:
        live.environment.setenv("NURTURE_BASE_URL", f"http://127.0.0.1:{port}")
        told = _told(live)
        assert "only this machine can open it" in told["pages"]["found"]
    database.close()


class _Page(BaseHTTPRequestHandler):
    """Pages of somebody else, and a Prefect that is well."""

    def do_GET(self) -> None:
        health = self.path == "/api/health"
        self.send_response(200 if health else 301)
        self.send_header("Location", "https://elsewhere.example/login?secret=1")
        self.end_headers()
        self.wfile.write(b"true" if health else b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_pages_of_somebody_else_are_not_followed(
    live: Place, sendgrid: SendGridDouble, stranger: str
) -> None:
    live.environment.setenv("NURTURE_BASE_URL", stranger)
    assert sendgrid.url
    found = _told(live, 6)["pages"]
    assert (found["state"], "elsewhere.example" in found["found"]) == ("fails", True)
    assert "secret" not in found["found"]


def test_pages_that_do_not_answer_stop_real_mail_only(live: Place) -> None:
    live.environment.setenv("NURTURE_BASE_URL", "http://127.0.0.1:9")
    assert _told(live)["pages"]["state"] == "warning"


def test_prefect_is_asked_whether_it_is_well(live: Place, stranger: str) -> None:
    assert _told(live)["Prefect"]["state"] == "warning"
    live.environment.setenv("PREFECT_API_URL", f"{stranger}/api")
    assert _told(live)["Prefect"]["state"] == "ok"


def test_a_virtual_clock_fails_with_a_real_provider(running: Place) -> None:
    assert _told(running)["clock"]["state"] == "warning"
    running.environment.setenv("NURTURE_PROVIDER", "smtp")
    running.environment.setenv("NURTURE_SMTP_URL", "smtp://127.0.0.1:9")
    assert _told(running, 6)["clock"]["state"] == "fails"


def test_bounces_are_well_once_sendgrid_tells_of_them(live: Place, sendgrid: SendGridDouble) -> None:
    missing = _told(live)["bounces"]
    assert (missing["state"], "NURTURE_SENDGRID_WEBHOOK_KEY" in missing["remedy"]) == ("warning", True)
    live.environment.setenv("NURTURE_SENDGRID_WEBHOOK_KEY", Signer().public)
    assert _told(live)["bounces"]["state"] == "ok"
    assert sendgrid.accepted() == []


def test_a_clock_that_was_set_back_fails(live: Place) -> None:
    _sql("UPDATE clock SET seen_at = '2101-01-01T00:00:00+00:00'")
    assert _told(live, 6)["clock"]["remedy"] == "Set the system's clock right."


def _sql(statement: str) -> None:
    with sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        connection.execute(statement)
    connection.close()


def test_brakes_and_doubts_are_named_with_what_to_type(running: Place) -> None:
    _sql("UPDATE message SET state = 'in_doubt' WHERE kind = 'touch'")
    _sql(
        "INSERT INTO brake (kind, name, reason, since) "
        "VALUES ('domain', 'house.example', '25 of the last 812 emails bounced', '2026-01-05T09:00:00+00:00')"
    )
    told = _told(running, 6)
    assert "nurture delivery resume house.example" in told["brakes"]["remedy"]
    assert "1 message is in doubt" in told["doubts"]["found"]


def test_a_wrong_setting_is_a_finding_too(place: Place) -> None:
    place.environment.setenv("NURTURE_PROVIDER", "pigeon")
    told = _told(place, 6)
    assert "NURTURE_PROVIDER" in told["settings"]["found"]
    assert place.fails("doctor").code == 6


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_fits(live: Place, sendgrid: SendGridDouble, width: int) -> None:
    live.environment.setenv("COLUMNS", str(width))
    lines = live.ok("doctor").out.splitlines()
    assert sendgrid.url
    assert max(map(len, lines)) <= width
    assert len(lines) <= 40


def test_the_doctor_changes_nothing(running: Place) -> None:
    before = running.counts(), _rows("clock"), sorted(_files(running.folder))
    running.ok("doctor")
    assert (running.counts(), _rows("clock"), sorted(_files(running.folder))) == before


def _rows(table: str) -> list[Any]:
    connection = sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///"))
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return rows


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_other_accounts_can_open_is_named_with_the_remedy(live: Place) -> None:
    live.environment.setenv("NURTURE_DATABASE_URL", "sqlite:///with space.db")
    live.ok("admin", "init")
    live.ok("publish")
    assert _told(live)["files"]["state"] == "ok"
    for path in ("with space.db", "mailbox"):
        (live.folder / path).chmod(0o644 if path.endswith("db") else 0o755)
    report = live.write("old.bad-rows.csv", "line,reason")
    report.chmod(0o640)
    found = _told(live)["files"]
    assert found["state"] == "warning"
    assert "3 of our files" in found["found"]
    assert _told(live)["files"] == found, "the doctor only looks"
    remedy = found["remedy"].strip("`").split(" ", 1)
    assert remedy[0] == "chmod"
    subprocess.run(["sh", "-c", " ".join(remedy)], cwd=live.folder, check=True)
    assert _told(live)["files"]["state"] == "ok"


def test_an_account_that_may_do_everything_is_named() -> None:
    setup = SetUp(Settings(), RealClock(), _no_provider, "/health", "")
    (found,) = versions(setup, root=True)
    assert (found.state, "root" in found.remedy) == ("warning", True)
    (found,) = versions(setup, root=False)
    assert found.state == "ok"


def _no_provider() -> Provider:
    raise AssertionError("nobody is asked")
