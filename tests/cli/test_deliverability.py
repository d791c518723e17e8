"""The operators' commands: mail run, messages, resolve and resume, and the deliverability report."""

from __future__ import annotations

import os
import shutil
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
from tests.cli.conftest import CliSession, CommandResult
from tests.doubles.sendgrid import KEY, Fault, SendGridDouble


def _sql(statement: str) -> list[Any]:
    with sqlite3.connect(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


def _insert_breaker(kind: str, name: str, until: str | None = None) -> None:
    ends = f"'{until}'" if until else "NULL"
    _sql(
        "INSERT INTO circuit_breaker (kind, name, reason, since, until, is_outdated) VALUES "
        f"('{kind}', '{name}', '25 of the last 812 emails bounced', '2026-01-05T09:00:00+00:00', {ends}, 0)"
    )


@pytest.fixture
def due(seeded_cli: CliSession) -> CliSession:
    """A set-up in which one touch is due again, and not sent yet."""
    _sql("UPDATE message SET state = 'planned', accepted_at = NULL, claimed_at = NULL WHERE kind = 'touch'")
    return seeded_cli


@pytest.fixture
def with_unknown(seeded_cli: CliSession) -> CliSession:
    """A set-up in which the result of one touch is unknown."""
    _sql("UPDATE message SET state = 'unknown', reason = 'the line broke' WHERE kind = 'touch'")
    return seeded_cli


@pytest.fixture
def sendgrid(cli: CliSession) -> Iterator[SendGridDouble]:
    with SendGridDouble(cli.folder / "sendgrid.log") as double:
        cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
        cli.environment.setenv("NURTURE_SENDGRID_URL", double.url)
        cli.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
        yield double


def _flat(result: CommandResult) -> str:
    return " ".join(result.out.split())


def test_deliver_sends_due_messages_once_and_reports_them(cli: CliSession, sendgrid: SendGridDouble) -> None:
    _brief_due_now(cli)
    assert "1 sent" in _flat(cli.ok("mail", "run"))
    assert "Nothing was due." in cli.ok("mail", "run").out
    assert len(sendgrid.accepted()) == 1


def test_deliver_prints_every_result_as_json(due: CliSession) -> None:
    payload = due.ok("mail", "run", "--json").json
    assert (payload["messages"], payload["states"], payload["breakers"]) == (1, {"accepted": 1}, [])


def test_deliver_reports_held_messages_with_the_reason(due: CliSession) -> None:
    _insert_breaker("domain", "house.example")
    shown = _flat(due.ok("mail", "run"))
    for words in ("1 held", "house.example paused", "25 of the last 812", "nurture mail resume house.example"):
        assert words in shown
    assert "1 sent" not in shown


def test_deliver_reports_until_when_a_provider_is_paused(cli: CliSession, sendgrid: SendGridDouble) -> None:
    _brief_due_now(cli)
    _insert_breaker("provider", "sendgrid", "2199-01-05T10:30:00+00:00")
    shown = _flat(cli.ok("mail", "run"))
    assert "sendgrid paused" in shown
    assert "2199-01-05 10:30 UTC" in shown
    assert sendgrid.accepted() == []


def test_a_provider_that_disconnects_leaves_unknown_messages_and_deliver_reports_them(
    cli: CliSession, sendgrid: SendGridDouble
) -> None:
    _brief_due_now(cli)
    sendgrid.add_faults(Fault(what="reset", after=True))
    shown = _flat(cli.ok("mail", "run"))
    assert "1 unknown: may or may not have been sent" in shown
    assert "`nurture mail messages`" in shown
    assert len(sendgrid.accepted()) == 1


def test_watching_is_for_real_time(seeded_cli: CliSession) -> None:
    result = seeded_cli.fails("mail", "run", "--watch")
    assert (result.code, "virtual time" in result.err) == (4, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_sends_due_messages_and_stops_cleanly(cli: CliSession, number: int) -> None:
    _brief_due_now(cli)
    nurture = [sys.executable, "-c", "from nurture.cli import main; main()", "mail", "run", "--watch"]
    with subprocess.Popen(
        nurture, cwd=cli.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        payload = [watching.stdout.readline(), watching.stdout.readline()]
        watching.send_signal(number)
        rest, complaints = watching.communicate(timeout=30)
    assert watching.returncode == 0, complaints
    assert "Ctrl-C stops" in payload[0]
    assert "1 sent" in payload[1]
    assert "no message is half sent" in rest
    assert complaints == ""
    assert _sql("SELECT state FROM message") == [("accepted",)]


def _brief_due_now(cli: CliSession) -> None:
    """Offer a lead to a rep in real time; a brief waits for no send window."""
    cli.ok("publish")
    file = cli.write("ready.csv", "Email,Demo,Consent\nrea@people.example,yes,consent\n")
    mapping = cli.write(
        "mapping.yaml",
        "columns: {Email: email, Demo: demo_requested}\n"
        "constants: {consent_basis: consent, consent_source: the form}\n",
    )
    cli.ok("import", file, "--mapping", mapping, "--source", "crm")
    with open_app() as app:
        enroll.classify(app.ctx, app.clock.now())
        sweep.hand_off(app.ctx, app.clock.now())
    assert _sql("SELECT kind, state FROM message") == [("brief", "planned")]


def test_an_unknown_message_is_shown_with_all_that_is_known(with_unknown: CliSession) -> None:
    shown = _flat(with_unknown.ok("mail", "messages"))
    for words in (
        "1 message with an unknown result", "welcome/01-hello", "head@people.example", "2026-01-05 09:00 UTC",
        "the line broke", "held; counts as sent from 2026-01-08 09:00 UTC", "mail resolve",
    ):  # fmt: skip
        assert words in shown
    (payload,) = with_unknown.ok("mail", "messages", "--json").json
    assert (payload["track"], payload["resolution"], payload["email"]) == (
        "welcome",
        "count_as_sent",
        "head@people.example",
    )


def test_no_unknown_message_is_reported_in_one_line(seeded_cli: CliSession) -> None:
    assert seeded_cli.ok("mail", "messages").out == "No message has an unknown result.\n"
    assert seeded_cli.ok("mail", "messages", "--json").json == []


def test_rules_that_resend_warn_that_it_may_deliver_twice(with_unknown: CliSession) -> None:
    with_unknown.write("rules/sending.yaml", "on_unknown: {resend_after: 24 hours}\n")
    with_unknown.ok("publish")
    shown = _flat(with_unknown.ok("mail", "messages"))
    assert "sent again after 2026-01-06 09:00 UTC" in shown
    assert "the lead may get it twice" in shown


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [("--sent", "accepted", "counts as sent"), ("--not-sent", "planned", "is sent again")],
)
def test_resolving_prints_its_effect_and_explain_shows_it(
    with_unknown: CliSession, answer: str, state: str, words: str
) -> None:
    ((number,),) = _sql("SELECT id FROM message WHERE kind = 'touch'")
    assert words in with_unknown.ok("mail", "resolve", number, answer).out
    assert _sql("SELECT state FROM message WHERE kind = 'touch'") == [(state,)]
    assert "resolved" in [line["event"] for line in with_unknown.ok("explain", "c1", "--json").json["history"]]
    assert with_unknown.fails("mail", "resolve", number, answer).code == 3


def test_resolving_needs_an_answer_and_real_ids(with_unknown: CliSession) -> None:
    before = with_unknown.counts()
    assert with_unknown.fails("mail", "resolve", 1).code == 2
    result = with_unknown.fails("mail", "resolve", 1, 99, "--sent", "--json")
    assert (result.code, "99" in result.err) == (3, True)
    assert with_unknown.counts() == before


def test_the_report_shows_each_domain_against_its_limits(seeded_cli: CliSession) -> None:
    seeded_cli.write(
        "rules/sending.yaml",
        "default:\n  per_hour: 40\n  per_day: 400\n  warm_up: {from: 2026-01-04, first_day: 50, growth: 2}\n",
    )
    seeded_cli.ok("publish")
    shown = _flat(seeded_cli.ok("reports", "deliverability"))
    for words in (
        "maildir writes files", "house.example sends", "this hour 1 of 40",
        "today 1 of 100; warm-up day 2, 200 tomorrow", "bounced 0 of the last 1: 0 %; pauses above 2 %",
        "pauses above 0.1 %",
    ):  # fmt: skip
        assert words in shown


def test_the_report_shows_what_is_paused_and_resume_starts_it(seeded_cli: CliSession) -> None:
    _insert_breaker("domain", "house.example")
    _insert_breaker("provider", "sendgrid", "2026-01-05T10:30:00+00:00")
    shown = _flat(seeded_cli.ok("reports", "deliverability"))
    for words in ("house.example paused", "until a person resumes it", "sendgrid (not in use) paused"):
        assert words in shown
    payload = seeded_cli.ok("reports", "deliverability", "--json").json
    assert [one["name"] for one in payload["breakers"]] == ["house.example", "sendgrid"]
    assert payload["domains"][0]["pause"]["reason"].startswith("25 of the last 812")
    assert "within 15 minutes" in _flat(seeded_cli.ok("mail", "resume", "HOUSE.example"))
    assert seeded_cli.ok("mail", "resume", "sendgrid", "--json").json["resumed"][0]["kind"] == "provider"
    assert all(row[0].startswith("manually by ") for row in _sql("SELECT released_by FROM circuit_breaker"))
    assert seeded_cli.ok("reports", "deliverability", "--json").json["breakers"] == []


def test_only_paused_names_can_be_resumed(seeded_cli: CliSession) -> None:
    result = seeded_cli.fails("mail", "resume", "house.example")
    assert (result.code, "Nothing is paused now" in result.err) == (4, True)


@pytest.mark.parametrize("command", ["mail messages", "reports deliverability", "mail run"])
@pytest.mark.parametrize("width", [80, 120])
def test_the_screens_fit(with_unknown: CliSession, command: str, width: int) -> None:
    with_unknown.environment.setenv("COLUMNS", str(width))
    _insert_breaker("domain", "house.example")
    assert max(map(len, with_unknown.ok(*command.split()).out.splitlines())) <= width


def test_a_stop_is_shown_wherever_somebody_looks_until_the_start(due: CliSession) -> None:
    assert "1 planned email: held" in _flat(due.ok("tracks", "stop", "welcome", "--reason", "wrong [price]"))
    assert "1 held" in _flat(due.ok("mail", "run"))
    for command in (["tracks", "list"], ["reports", "deliverability"], ["doctor"], ["explain", "head@people.example"]):
        assert "[price]" in due.run(*command).out, command
    assert due.ok("tracks", "list", "--json").json[1]["stopped"].startswith("since 2026-")
    assert "Track welcome is started" in _flat(due.ok("tracks", "start", "welcome"))
    assert due.ok("reports", "deliverability", "--json").json["stops"] == []
    assert "1 sent" in _flat(due.ok("mail", "run"))


def test_all_mail_is_stopped_and_started(due: CliSession) -> None:
    stopped = due.ok("mail", "stop", "--all", "--reason", "wrong sender", "--json").json
    assert (stopped["track"], stopped["action"], stopped["reason"]) == ("", "stop_all", "wrong sender")
    assert "all mail, also to sales, is stopped" in due.ok("tracks", "list").err
    assert {one["track"]: one["leads"] for one in due.ok("tracks", "list", "--json").json} == {"keep": 1, "welcome": 1}
    assert "Nobody is on" not in due.ok("tracks", "list").err
    due.ok("tracks", "copy", "welcome", "hello")
    assert "Nobody is on hello: `nurture check --leads` counts who would fit." in due.ok("tracks", "list").err
    assert "nurture mail start" in due.fails("mail", "stop", "--all", "--reason", "again").err
    assert due.ok("mail", "start", "--json").json["action"] == "start"


@pytest.mark.parametrize("command", ["stop", "start", "retire"])
def test_a_track_without_a_name_is_refused_and_does_not_mean_all_mail(due: CliSession, command: str) -> None:
    more = ["--move-to", "keep"] if command == "retire" else ["--reason", "an unset variable"]
    before = due.ok("tracks", "list", "--json").json
    assert "No track is named" in due.fails("tracks", command, "", *more).err
    assert due.ok("tracks", "list", "--json").json == before
    assert due.ok("reports", "deliverability", "--json").json["stops"] == []


def test_publish_asks_what_becomes_of_a_track_whose_folder_is_gone(seeded_cli: CliSession) -> None:
    shutil.rmtree(seeded_cli.templates / "tracks/welcome")
    asked = " ".join(seeded_cli.ok("publish").err.split())
    for words in (
        "mails the 1 that are on it",
        "nurture tracks retire welcome --move-to",
        "nurture tracks stop welcome",
    ):
        assert words in asked
    seeded_cli.ok("tracks", "retire", "welcome", "--move-to", "keep")
    assert seeded_cli.ok("publish").err == ""
