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

from flows.lock import hold_lock, write_owner
from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.mail.providers.base import Provider
from nurture.operations.check_internal import check_versions
from nurture.operations.doctor import DoctorContext
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from nurture.web.app import create_app
from tests.cli.conftest import CliSession
from tests.doubles.sendgrid import KEY, Account, SendGridDouble
from tests.doubles.sendgrid_events import Signer
from tests.doubles.smtp import smtp_server
from tests.journey.observe import RecordingProvider
from tests.web.serving import serve_in_thread


@pytest.fixture
def live(cli: CliSession) -> CliSession:
    """A set-up in real time with published definitions and no Prefect server."""
    cli.ok("publish")
    cli.environment.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    return cli


@pytest.fixture
def sendgrid(live: CliSession) -> Iterator[SendGridDouble]:
    with SendGridDouble(live.folder / "sendgrid.log") as double:
        live.environment.setenv("NURTURE_PROVIDER", "sendgrid")
        live.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        live.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        yield double


def _run_doctor(cli: CliSession, code: int = 0) -> dict[str, dict[str, Any]]:
    """Run the doctor; return the worst finding of each check."""
    result = cli.run("doctor", "--json")
    assert (result.code, result.json["can_send"]) == (code, code == 0), result
    order = ("ok", "warning", "failed")
    found = sorted(result.json["findings"], key=lambda one: order.index(one["state"]))
    return {one["check"]: one for one in found}


def test_a_new_folder_gets_instructions_and_no_file(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{cli.folder / 'none.db'}")
    before = sorted(cli.folder.rglob("*"))
    findings = _run_doctor(cli, 6)
    assert findings["database"]["state"] == "failed"
    assert "nurture init" in findings["database"]["message"]
    assert sorted(cli.folder.rglob("*")) == before


def test_the_default_maildir_works_and_reports_that_nobody_is_mailed(live: CliSession) -> None:
    assert _run_doctor(live)["provider"]["state"] == "warning"
    shown = live.ok("doctor").out
    assert "nobody is mailed" in shown
    assert "1 Harbour Lane, Exampleton" in shown


def test_a_good_key_is_proven_in_the_sandbox_and_no_mail_is_sent(live: CliSession, sendgrid: SendGridDouble) -> None:
    findings = _run_doctor(live)
    assert findings["provider"]["state"] == "ok"
    assert "nothing was sent" in findings["provider"]["message"]
    assert (len(sendgrid.checked()), sendgrid.accepted()) == (1, [])
    assert findings["bounces"]["state"] == "warning"


def test_a_wrong_key_fails_and_is_never_shown(live: CliSession, sendgrid: SendGridDouble) -> None:
    sendgrid.configure(Account(key="SG.another"))
    findings = _run_doctor(live, 6)
    assert findings["provider"]["state"] == "failed"
    assert "NURTURE_SENDGRID_KEY" in findings["provider"]["message"]
    result = live.fails("doctor")
    assert result.code == 6
    assert KEY not in result.out + result.err + repr(findings)


def test_a_sender_that_sendgrid_does_not_know_fails(live: CliSession, sendgrid: SendGridDouble) -> None:
    sendgrid.configure(Account(senders=("other.example",)))
    assert _run_doctor(live, 6)["provider"]["state"] == "failed"


def test_sendgrid_without_a_key_is_named(live: CliSession) -> None:
    live.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    assert "NURTURE_SENDGRID_KEY is not set" in _run_doctor(live, 6)["provider"]["message"]


def test_a_mail_server_that_accepts_the_login_passes(live: CliSession) -> None:
    with smtp_server() as double:
        live.environment.setenv("NURTURE_PROVIDER", "smtp")
        live.environment.setenv("NURTURE_SMTP_URL", double.url)
        findings = _run_doctor(live)
        assert findings["provider"]["state"] == "ok"
        assert double.accepted == []


def test_an_unreachable_mail_server_fails_without_showing_the_password(live: CliSession) -> None:
    live.environment.setenv("NURTURE_PROVIDER", "smtp")
    live.environment.setenv("NURTURE_SMTP_URL", "smtp://nora:opensesame@127.0.0.1:9")
    findings = _run_doctor(live, 6)
    assert findings["provider"]["state"] == "failed"
    assert "opensesame" not in repr(findings)


def test_our_own_pages_are_opened_by_their_public_address(live: CliSession) -> None:
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    app = create_app(AppContext(database, RecordingProvider()), RealClock())
    with serve_in_thread(app, "127.0.0.1", 0) as port:
        live.environment.setenv("NURTURE_BASE_URL", f"http://127.0.0.1:{port}")
        findings = _run_doctor(live)
        assert "only this machine can open it" in findings["pages"]["message"]
    database.close()


class _Page(BaseHTTPRequestHandler):
    """A server with pages of another program and the health endpoint of Prefect."""

    def do_GET(self) -> None:
        health = self.path == "/api/health"
        self.send_response(200 if health else 301)
        self.send_header("Location", "https://elsewhere.example/login?secret=1")
        self.end_headers()
        self.wfile.write(b"true" if health else b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_pages_of_somebody_else_are_not_followed(live: CliSession, sendgrid: SendGridDouble, other_server: str) -> None:
    live.environment.setenv("NURTURE_BASE_URL", other_server)
    assert sendgrid.url
    found = _run_doctor(live, 6)["pages"]
    assert (found["state"], "elsewhere.example" in found["message"]) == ("failed", True)
    assert "secret" not in found["message"]


def test_pages_that_do_not_answer_stop_real_mail_only(live: CliSession) -> None:
    live.environment.setenv("NURTURE_BASE_URL", "http://127.0.0.1:9")
    assert _run_doctor(live)["pages"]["state"] == "warning"


def test_the_health_of_prefect_is_checked(live: CliSession, other_server: str) -> None:
    assert _run_doctor(live)["Prefect"]["state"] == "warning"
    live.environment.setenv("PREFECT_API_URL", f"{other_server}/api")
    assert _run_doctor(live)["Prefect"]["state"] == "ok"


def test_prefect_is_asked_where_nurture_up_runs_it(live: CliSession, other_server: str) -> None:
    live.environment.delenv("PREFECT_API_URL")
    with hold_lock(Settings.read().state_dir) as lock:
        write_owner(lock, {"Prefect": other_server})
        found = _run_doctor(live)["Prefect"]
    assert (found["state"], other_server in found["message"]) == ("ok", True)


def test_a_virtual_clock_fails_with_a_real_provider(seeded_cli: CliSession) -> None:
    assert _run_doctor(seeded_cli)["clock"]["state"] == "warning"
    seeded_cli.environment.setenv("NURTURE_PROVIDER", "smtp")
    seeded_cli.environment.setenv("NURTURE_SMTP_URL", "smtp://127.0.0.1:9")
    assert _run_doctor(seeded_cli, 6)["clock"]["state"] == "failed"


def test_the_bounce_check_passes_once_sendgrid_reports_bounces(live: CliSession, sendgrid: SendGridDouble) -> None:
    missing = _run_doctor(live)["bounces"]
    assert (missing["state"], "NURTURE_SENDGRID_WEBHOOK_KEY" in missing["remedy"]) == ("warning", True)
    live.environment.setenv("NURTURE_SENDGRID_WEBHOOK_KEY", Signer().public)
    assert _run_doctor(live)["bounces"]["state"] == "ok"
    assert sendgrid.accepted() == []


def test_a_clock_that_was_set_back_fails(live: CliSession) -> None:
    _sql("UPDATE clock SET seen_at = '2101-01-01T00:00:00+00:00'")
    assert _run_doctor(live, 6)["clock"]["remedy"] == "Correct the system clock."


def _sql(statement: str) -> None:
    with sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        connection.execute(statement)
    connection.close()


def test_sending_pauses_and_unknown_messages_are_named_with_what_to_type(seeded_cli: CliSession) -> None:
    _sql("UPDATE message SET state = 'unknown' WHERE kind = 'touch'")
    _sql(
        "INSERT INTO circuit_breaker (kind, name, reason, since, is_outdated) "
        "VALUES ('domain', 'house.example', '25 of the last 812 emails bounced', '2026-01-05T09:00:00+00:00', 0)"
    )
    findings = _run_doctor(seeded_cli, 6)
    assert "nurture mail resume house.example" in findings["pauses"]["remedy"]
    assert "1 message has an unknown delivery status" in findings["unknown"]["message"]


def test_a_wrong_setting_is_a_finding_too(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_PROVIDER", "pigeon")
    findings = _run_doctor(cli, 6)
    assert "NURTURE_PROVIDER" in findings["settings"]["message"]
    assert cli.fails("doctor").code == 6


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_fits(live: CliSession, sendgrid: SendGridDouble, width: int) -> None:
    live.environment.setenv("COLUMNS", str(width))
    lines = live.ok("doctor").out.splitlines()
    assert sendgrid.url
    assert max(map(len, lines)) <= width
    assert len(lines) <= 40


def test_the_doctor_changes_nothing(seeded_cli: CliSession) -> None:
    before = seeded_cli.counts(), _rows("clock"), sorted(_files(seeded_cli.folder))
    seeded_cli.ok("doctor")
    assert (seeded_cli.counts(), _rows("clock"), sorted(_files(seeded_cli.folder))) == before


def _rows(table: str) -> list[Any]:
    connection = sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///"))
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return rows


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_files_that_other_accounts_can_open_are_named_with_a_remedy(live: CliSession) -> None:
    live.environment.setenv("NURTURE_DATABASE_URL", "sqlite:///with space.db")
    live.ok("init")
    live.ok("publish")
    assert _run_doctor(live)["files"]["state"] == "ok"
    for path in ("with space.db", "maildir"):
        (live.folder / path).chmod(0o644 if path.endswith("db") else 0o755)
    report = live.write("old.bad-rows.csv", "line,reason")
    report.chmod(0o640)
    found = _run_doctor(live)["files"]
    assert found["state"] == "warning"
    assert "3 of our files" in found["message"]
    assert _run_doctor(live)["files"] == found, "the doctor only looks"
    remedy = found["remedy"].strip("`").split(" ", 1)
    assert remedy[0] == "chmod"
    subprocess.run(["sh", "-c", " ".join(remedy)], cwd=live.folder, check=True)
    assert _run_doctor(live)["files"]["state"] == "ok"


def test_running_as_root_is_a_warning() -> None:
    setup = DoctorContext(Settings(), RealClock(), _no_provider, "/health", "")
    (found,) = check_versions(setup, root=True)
    assert (found.state, "root" in found.remedy) == ("warning", True)
    (found,) = check_versions(setup, root=False)
    assert found.state == "ok"


def _no_provider() -> Provider:
    raise AssertionError("nobody is asked")
