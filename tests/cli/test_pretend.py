"""Virtual time sends no real mail, whatever provider the machine is configured for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flows.environment import build_environment
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.simulation.world import world_settings
from tests.cli.conftest import CliSession
from tests.doubles.sendgrid import KEY, SendGridDouble
from tests.doubles.sendgrid_events import Signer
from tests.simulation.worlds import DESCRIPTION


@pytest.fixture
def sendgrid(cli: CliSession) -> Iterator[SendGridDouble]:
    with SendGridDouble(cli.folder / "sendgrid.log") as double:
        cli.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        cli.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        yield double


def test_the_demo_fills_its_own_maildir_while_a_real_provider_is_exported(
    cli: CliSession, sendgrid: SendGridDouble
) -> None:
    cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    cli.environment.setenv("NURTURE_BASE_URL", "https://nurture.example.com")
    cli.environment.delenv("NURTURE_TEMPLATES")
    printed = cli.ok("demo", "--days", 7, "--no-flows", "--folder", "pretend").out
    assert (sendgrid.accepted(), sendgrid.checked()) == ([], [])
    mails = list((cli.folder / "pretend/mail/new").iterdir())
    assert len(mails) > 100
    assert not any("nurture.example.com" in mail.read_text() for mail in mails[:5])
    assert ".venv/bin/nurture practice do --folder pretend reports tracks" in printed
    assert "webinar-attended" in cli.ok("practice", "do", "--folder", "pretend", "leads", "list", "--json").out
    assert sendgrid.accepted() == []


@pytest.mark.parametrize("command", ["run", "explain 1", "leads list", "mail run", "run --at 2026-01-07T09:00"])
def test_a_database_in_virtual_time_and_a_real_provider_are_refused(
    seeded_cli: CliSession, sendgrid: SendGridDouble, command: str
) -> None:
    before = seeded_cli.counts()
    seeded_cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    result = seeded_cli.fails(*command.split())
    assert result.code == 4
    for words in ("nurture.db", "virtual time", "NURTURE_PROVIDER=maildir", "NURTURE_DATABASE_URL"):
        assert words in result.err
    assert KEY not in result.err
    assert (seeded_cli.counts(), sendgrid.accepted()) == (before, [])


def test_no_secret_of_this_machine_reaches_the_demo(cli: CliSession) -> None:
    exported = {
        "PROVIDER": "smtp",
        "SENDGRID_KEY": KEY,
        "SENDGRID_WEBHOOK_KEY": Signer().public,
        "SMTP_URL": "smtp://user:hunter2@smtp.example.com",
        "IMAP_URL": "imaps://user:hunter2@imap.example.com:993/INBOX",
    }
    for name, value in exported.items():
        cli.environment.setenv(f"NURTURE_{name}", value)
    settings = world_settings(cli.folder / "pretend", DESCRIPTION)
    assert settings.provider == "maildir"
    children = build_environment(settings, cli.folder, 4_300)
    assert children["NURTURE_PROVIDER"] == "maildir"
    assert not any(value in text for text in children.values() for value in [KEY, "hunter2"])
    assert not {"NURTURE_SENDGRID_WEBHOOK_KEY", "NURTURE_IMAP_URL", "NURTURE_SMTP_URL"} & children.keys()


def test_a_new_database_is_not_bound_to_virtual_time_by_the_refusal(cli: CliSession, sendgrid: SendGridDouble) -> None:
    cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    assert "would live in virtual time" in cli.fails("run", "--at", "2026-01-05T07:00").err
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    assert clock_row.read_mode(database) is None
    database.close()
    cli.ok("run")  # in real time
    assert sendgrid.accepted() == []


def test_the_doctor_runs_there_and_reports_the_refusal(seeded_cli: CliSession, sendgrid: SendGridDouble) -> None:
    seeded_cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    result = seeded_cli.run("doctor", "--json")
    (clock,) = [one for one in result.json["findings"] if one["check"] == "clock"]
    assert (result.code, clock["state"], "refuse" in clock["message"]) == (6, "failed", True)
    assert "NURTURE_PROVIDER=maildir" in clock["remedy"]
    assert sendgrid.accepted() == []
