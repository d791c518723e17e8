"""What only pretends that time passes mails nobody, whatever carries real mail on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flows.environment import environment
from nurture.cli import demo
from nurture.db import clock_row
from nurture.db.engine import Database
from tests.cli.conftest import Place
from tests.doubles.events import Signer
from tests.doubles.sendgrid import KEY, SendGridDouble


@pytest.fixture
def sendgrid(place: Place) -> Iterator[SendGridDouble]:
    with SendGridDouble(place.folder / "sendgrid.log") as double:
        place.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        place.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        yield double


def test_the_demo_fills_its_own_mailbox_while_a_real_provider_is_exported(
    place: Place, sendgrid: SendGridDouble
) -> None:
    place.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    place.environment.setenv("NURTURE_BASE_URL", "https://nurture.example.com")
    place.environment.delenv("NURTURE_TEMPLATES")
    told = place.ok("demo", "--days", 7, "--no-flows", "--folder", "pretend").out
    assert (sendgrid.accepted(), sendgrid.checked()) == ([], [])
    mails = list((place.folder / "pretend/mail/new").iterdir())
    assert len(mails) > 100
    assert not any("nurture.example.com" in mail.read_text() for mail in mails[:5])
    assert "NURTURE_PROVIDER=mailbox NURTURE_DATABASE_URL=sqlite:///pretend/nurture.db" in told


@pytest.mark.parametrize(
    "command", ["run", "explain 1", "leads list", "delivery run", "run --at 2026-01-07T09:00"]
)
def test_a_database_in_virtual_time_and_a_real_provider_are_refused(
    running: Place, sendgrid: SendGridDouble, command: str
) -> None:
    before = running.counts()
    running.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    said = running.fails(*command.split())
    assert said.code == 4
    for words in ("nurture.db", "virtual time", "NURTURE_PROVIDER=mailbox", "NURTURE_DATABASE_URL"):
        assert words in said.err
    assert KEY not in said.err
    assert (running.counts(), sendgrid.accepted()) == (before, [])


def test_nothing_secret_of_this_machine_comes_into_the_demo(place: Place) -> None:
    exported = {
        "PROVIDER": "smtp",
        "SENDGRID_KEY": KEY,
        "SENDGRID_WEBHOOK_KEY": Signer().public,
        "SMTP_URL": "smtp://user:hunter2@smtp.example.com",
        "IMAP_URL": "imaps://user:hunter2@imap.example.com:993/INBOX",
    }
    for name, value in exported.items():
        place.environment.setenv(f"NURTURE_{name}", value)
    settings = demo._settings(place.folder / "pretend")
    assert settings.provider == "mailbox"
    assert settings.templates == place.templates
    children = environment(settings, place.folder, 4_300)
    assert children["NURTURE_PROVIDER"] == "mailbox"
    assert not any(value in text for text in children.values() for value in [KEY, "hunter2"])
    assert not {"NURTURE_SENDGRID_WEBHOOK_KEY", "NURTURE_IMAP_URL", "NURTURE_SMTP_URL"} & children.keys()


def test_a_new_database_is_not_bound_to_virtual_time_by_the_refusal(
    place: Place, sendgrid: SendGridDouble
) -> None:
    place.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    assert "would live in virtual time" in place.fails("run", "--at", "2026-01-05T07:00").err
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    assert clock_row.open_mode(database) is None
    database.close()
    place.ok("run")  # in real time
    assert sendgrid.accepted() == []


def test_the_doctor_still_runs_there_and_says_that_it_is_refused(
    running: Place, sendgrid: SendGridDouble
) -> None:
    running.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    said = running.run("doctor", "--json")
    (clock,) = [one for one in said.json["findings"] if one["check"] == "clock"]
    assert (said.code, clock["state"], "refuse" in clock["found"]) == (6, "fails", True)
    assert "NURTURE_PROVIDER=mailbox" in clock["remedy"]
    assert sendgrid.accepted() == []
