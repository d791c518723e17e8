"""`nurture tracks test`: report whether the test email was sent, and if not, why."""

from __future__ import annotations

import pytest

from tests.cli.conftest import CliSession
from tests.doubles.smtp import Fault, smtp_server

ARGS = ("tracks", "test", "welcome/01-hello", "--to", "me@house.example")


def _by_smtp(cli: CliSession, url: str) -> None:
    cli.environment.setenv("NURTURE_PROVIDER", "smtp")
    cli.environment.setenv("NURTURE_SMTP_URL", url)


def test_a_server_that_cannot_be_reached_is_an_error_with_its_reason(cli: CliSession) -> None:
    _by_smtp(cli, "smtp://127.0.0.1:9")
    result = cli.fails(*ARGS)
    assert (result.code, result.out) == (6, "")
    assert "127.0.0.1:9 cannot be reached" in result.err
    assert "NURTURE_SMTP_URL" in result.err
    payload = cli.run(*ARGS, "--json")
    assert (payload.code, payload.json["receipt"]) == (6, "NotSent")
    assert "127.0.0.1:9 cannot be reached" in payload.json["reason"]


@pytest.mark.parametrize(
    ("verb", "answer", "receipt", "shown"),
    [
        ("RCPT", "550 5.1.1 nobody of this name", "Rejected", "nobody of this name"),
        ("TAKEN", Fault.DROP, "Unknown", "before you send it again"),
    ],
)
def test_a_failed_delivery_is_reported_with_what_the_server_did(
    cli: CliSession, verb: str, answer: str | Fault, receipt: str, shown: str
) -> None:
    with smtp_server() as server:
        _by_smtp(cli, f"smtp://127.0.0.1:{server.port}")
        server.script_faults(verb, answer, answer)
        result = cli.fails(*ARGS)
        assert (result.code, shown in result.err) == (4, True)
        payload = cli.run(*ARGS, "--json")
        assert (payload.code, payload.json["receipt"], bool(payload.json["reason"])) == (4, receipt, True)


def test_an_accepted_message_is_a_success(cli: CliSession) -> None:
    with smtp_server() as server:
        _by_smtp(cli, f"smtp://127.0.0.1:{server.port}")
        assert "Accepted by smtp: [test]" in cli.ok(*ARGS).out
        payload = cli.ok(*ARGS, "--json").json
        assert (payload["receipt"], payload["reason"]) == ("Accepted", None)
        assert len(server.accepted) == 2


def test_all_emails_of_a_track_are_sent_and_each_has_its_receipt(cli: CliSession) -> None:
    with smtp_server() as server:
        _by_smtp(cli, f"smtp://127.0.0.1:{server.port}")
        shown = cli.ok("tracks", "test", "welcome", "--to", "me@house.example").out.splitlines()
        assert [line.partition("[test] ")[2] for line in shown] == ["Hello", "More"]
        assert len(server.accepted) == 2
        server.script_faults("RCPT", "550 5.1.1 nobody of this name")
        payload = cli.run("tracks", "test", "welcome", "--to", "me@house.example", "--json")
        assert (payload.code, [one["receipt"] for one in payload.json]) == (4, ["Rejected", "Accepted"])
    assert "There is no track welcom" in cli.fails("tracks", "test", "welcom", "--to", "me@house.example").err


def test_a_test_email_has_the_envelope_of_real_email(cli: CliSession) -> None:
    with smtp_server() as server:
        _by_smtp(cli, f"smtp://127.0.0.1:{server.port}")
        cli.ok(*ARGS)
        cli.environment.setenv("NURTURE_REPLY_DOMAIN", "in.example.com")
        cli.ok(*ARGS)
        without, with_domain = [one.sender for one in server.accepted]
    assert without == "ada@house.example"
    assert (with_domain[:6], with_domain[-15:]) == ("reply+", "@in.example.com")
