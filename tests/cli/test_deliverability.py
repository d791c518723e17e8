"""The operators' commands: deliver, doubt, doubt settle, sending, sending resume."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from nurture.app import open_app
from nurture.journey.handoff import sweep
from nurture.journey.tracks import enroll
from tests.cli.conftest import Place, Said
from tests.doubles.sendgrid import KEY, Fault, SendGridDouble


def _sql(statement: str) -> list[Any]:
    with sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def _put_brake(kind: str, name: str, until: str | None = None) -> None:
    ends = f"'{until}'" if until else "NULL"
    _sql(
        "INSERT INTO brake (kind, name, reason, since, until) VALUES "
        f"('{kind}', '{name}', '25 of the last 812 emails bounced', '2026-01-05T09:00:00+00:00', {ends})"
    )


@pytest.fixture
def due(running: Place) -> Place:
    """A place in which one touch is due again, and not sent yet."""
    _sql("UPDATE message SET state = 'planned', accepted_at = NULL, claimed_at = NULL WHERE kind = 'touch'")
    return running


@pytest.fixture
def doubtful(running: Place) -> Place:
    """A place in which one touch is in doubt."""
    _sql("UPDATE message SET state = 'in_doubt', reason = 'the line broke' WHERE kind = 'touch'")
    return running


@pytest.fixture
def sendgrid(place: Place) -> Iterator[SendGridDouble]:
    with SendGridDouble(place.folder / "sendgrid.log") as double:
        place.environment.setenv("NURTURE_PROVIDER", "sendgrid")
        place.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        place.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        yield double


def _flat(said: Said) -> str:
    return " ".join(said.out.split())


def test_deliver_sends_what_is_due_once_and_says_so(place: Place, sendgrid: SendGridDouble) -> None:
    _brief_due_now(place)
    assert "1 sent" in _flat(place.ok("delivery", "run"))
    assert "Nothing was due." in place.ok("delivery", "run").out
    assert len(sendgrid.accepted()) == 1


def test_deliver_tells_programs_what_became_of_everything(due: Place) -> None:
    told = due.ok("delivery", "run", "--json").json
    assert (told["messages"], told["states"], told["paused"]) == (1, {"accepted": 1}, [])


def test_deliver_says_what_it_holds_back_and_why(due: Place) -> None:
    _put_brake("domain", "house.example")
    shown = _flat(due.ok("delivery", "run"))
    for words in (
        "1 held",
        "house.example paused",
        "25 of the last 812",
        "nurture delivery resume house.example",
    ):
        assert words in shown
    assert "1 sent" not in shown


def test_deliver_says_until_when_a_provider_is_paused(place: Place, sendgrid: SendGridDouble) -> None:
    _brief_due_now(place)
    _put_brake("provider", "sendgrid", "2199-01-05T10:30:00+00:00")
    shown = _flat(place.ok("delivery", "run"))
    assert "sendgrid paused" in shown
    assert "2199-01-05 10:30 UTC" in shown
    assert sendgrid.accepted() == []


def test_a_provider_that_breaks_off_leaves_doubts_and_deliver_says_so(
    place: Place, sendgrid: SendGridDouble
) -> None:
    _brief_due_now(place)
    sendgrid.tell(Fault(what="reset", after=True))
    shown = _flat(place.ok("delivery", "run"))
    assert "1 in doubt: nobody knows whether they went" in shown
    assert "`nurture delivery messages`" in shown
    assert len(sendgrid.accepted()) == 1


def test_watching_is_for_real_time(running: Place) -> None:
    said = running.fails("delivery", "run", "--watch")
    assert (said.code, "virtual time" in said.err) == (4, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_sends_what_falls_due_and_ends_cleanly_when_asked(place: Place, number: int) -> None:
    _brief_due_now(place)
    nurture = [sys.executable, "-c", "from nurture.cli import main; main()", "delivery", "run", "--watch"]
    with subprocess.Popen(
        nurture, cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        told = [watching.stdout.readline(), watching.stdout.readline()]
        watching.send_signal(number)
        rest, complaints = watching.communicate(timeout=30)
    assert watching.returncode == 0, complaints
    assert "Ctrl-C stops" in told[0]
    assert "1 sent" in told[1]
    assert "nothing is left half-sent" in rest
    assert complaints == ""
    assert _sql("SELECT state FROM message") == [("accepted",)]


def _brief_due_now(place: Place) -> None:
    """Offer a lead to a rep in real time: its brief waits for no send window."""
    place.ok("publish")
    file = place.write("ready.csv", "Email,Demo,Consent\nrea@people.example,yes,consent\n")
    mapping = place.write(
        "mapping.yaml",
        "columns: {Email: email, Demo: demo_requested}\n"
        "constants: {consent_basis: consent, consent_source: the form}\n",
    )
    place.ok("import", file, "--mapping", mapping, "--source", "crm")
    with open_app() as app:
        enroll.classify(app.house, app.clock.now())
        sweep.hand_off(app.house, app.clock.now())
    assert _sql("SELECT kind, state FROM message") == [("brief", "planned")]


def test_a_doubt_is_shown_with_all_that_is_known(doubtful: Place) -> None:
    shown = _flat(doubtful.ok("delivery", "messages"))
    for words in (
        "1 message in doubt", "welcome/01-hello", "head@people.example", "2026-01-05 09:00 UTC",
        "the line broke", "is held; from 2026-01-08 09:00 UTC on", "delivery resolve",
    ):  # fmt: skip
        assert words in shown
    (told,) = doubtful.ok("delivery", "messages", "--json").json
    assert (told["track"], told["then"], told["email"]) == (
        "welcome",
        "counts as sent",
        "head@people.example",
    )


def test_no_doubt_is_said_in_a_line(running: Place) -> None:
    assert running.ok("delivery", "messages").out == "No message is in doubt.\n"
    assert running.ok("delivery", "messages", "--json").json == []


def test_rules_that_resend_warn_that_it_may_deliver_twice(doubtful: Place) -> None:
    doubtful.write("rules/sending.yaml", "on_doubt: {resend_after: 24 hours}\n")
    doubtful.ok("publish")
    shown = _flat(doubtful.ok("delivery", "messages"))
    assert "goes out again after 2026-01-06 09:00 UTC" in shown
    assert "may deliver twice" in shown


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [("--sent", "accepted", "counts as sent"), ("--not-sent", "planned", "goes out again")],
)
def test_settling_says_what_follows_and_why_tells_of_it(
    doubtful: Place, answer: str, state: str, words: str
) -> None:
    ((number,),) = _sql("SELECT id FROM message WHERE kind = 'touch'")
    assert words in doubtful.ok("delivery", "resolve", number, answer).out
    assert _sql("SELECT state FROM message WHERE kind = 'touch'") == [(state,)]
    assert "settled" in [line["event"] for line in doubtful.ok("explain", "c1", "--json").json["history"]]
    assert doubtful.fails("delivery", "resolve", number, answer).code == 3


def test_settling_wants_an_answer_and_real_ids(doubtful: Place) -> None:
    before = doubtful.counts()
    assert doubtful.fails("delivery", "resolve", 1).code == 2
    said = doubtful.fails("delivery", "resolve", 1, 99, "--sent", "--json")
    assert (said.code, "99" in said.err) == (3, True)
    assert doubtful.counts() == before


def test_sending_shows_each_domain_against_its_limits(running: Place) -> None:
    running.write(
        "rules/sending.yaml",
        "default:\n  per_hour: 40\n  per_day: 400\n  warm_up: {from: 2026-01-04, first_day: 50, growth: 2}\n",
    )
    running.ok("publish")
    shown = _flat(running.ok("reports", "deliverability"))
    for words in (
        "mailbox writes files", "house.example sends", "this hour 1 of 40",
        "today 1 of 100; day 2 of the warm-up, 200 tomorrow", "bounced 0 of the last 1: 0 %; pauses over 2 %",
        "pauses over 0.1 %",
    ):  # fmt: skip
        assert words in shown


def test_sending_shows_what_is_paused_and_resume_starts_it(running: Place) -> None:
    _put_brake("domain", "house.example")
    _put_brake("provider", "sendgrid", "2026-01-05T10:30:00+00:00")
    shown = _flat(running.ok("reports", "deliverability"))
    for words in ("house.example paused", "until a person resumes it", "sendgrid (not in use now) paused"):
        assert words in shown
    told = running.ok("reports", "deliverability", "--json").json
    assert [one["name"] for one in told["brakes"]] == ["house.example", "sendgrid"]
    assert told["domains"][0]["brake"]["reason"].startswith("25 of the last 812")
    assert "within 15 minutes" in _flat(running.ok("delivery", "resume", "HOUSE.example"))
    assert running.ok("delivery", "resume", "sendgrid", "--json").json["resumed"][0]["kind"] == "provider"
    assert all(row[0].startswith("by hand: ") for row in _sql("SELECT released_by FROM brake"))
    assert running.ok("reports", "deliverability", "--json").json["brakes"] == []


def test_nothing_is_resumed_that_is_not_paused(running: Place) -> None:
    said = running.fails("delivery", "resume", "house.example")
    assert (said.code, "Nothing is paused now" in said.err) == (4, True)


@pytest.mark.parametrize("command", ["delivery messages", "reports deliverability", "delivery run"])
@pytest.mark.parametrize("width", [80, 120])
def test_the_screens_fit(doubtful: Place, command: str, width: int) -> None:
    doubtful.environment.setenv("COLUMNS", str(width))
    _put_brake("domain", "house.example")
    assert max(map(len, doubtful.ok(*command.split()).out.splitlines())) <= width
