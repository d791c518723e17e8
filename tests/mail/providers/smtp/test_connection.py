from __future__ import annotations

import logging
import traceback
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

import nurture
from nurture.domain.delivery.receipts import Accepted, NotSent
from nurture.errors import Misconfigured
from nurture.mail.providers.smtp.connection import SmtpServer
from nurture.mail.providers.smtp.provider import SmtpProvider
from tests.doubles.smtp import PASSWORD, USER, Fault
from tests.mail.build import PLAIN, composed
from tests.mail.conftest import Run

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi", layout=PLAIN)
BATCH = [EMAIL, replace(EMAIL, ref="touch:18:intro:1")]
CREDENTIALS = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"
OURS = Path(nurture.__file__).parent
PLAIN_FORM = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()


def locals_of_ours(raised: pytest.ExceptionInfo[Exception]) -> list[str]:
    frames = traceback.StackSummary.extract(traceback.walk_tb(raised.tb), capture_locals=True)
    return [str(frame.locals) for frame in frames if Path(frame.filename).is_relative_to(OURS)]


@pytest.mark.parametrize(
    ("offers", "url"),
    [
        ({"starttls": ["127.0.0.1"]}, "smtp://{cred}{{host}}:{{port}}"),
        ({"tls": ["127.0.0.1"]}, "smtps://{cred}{{host}}:{{port}}"),
        ({"starttls": ["127.0.0.1"], "mechanisms": ("LOGIN",)}, "smtp://{cred}{{host}}:{{port}}"),
        ({"starttls": ["127.0.0.1"], "auth_required": True}, "smtp://{cred}{{host}}:{{port}}"),
    ],
)
def test_mail_and_password_are_sent_over_tls(run: Run, offers: dict[str, Any], url: str) -> None:
    provider, server = run(url.format(cred=CREDENTIALS), **offers)
    assert all(isinstance(receipt, Accepted) for receipt in provider.send(BATCH, NOW))
    assert {(mail.tls, mail.user) for mail in server.accepted} == {(True, USER)}
    provider.check(EMAIL, NOW)
    assert len(server.accepted) == 2


@pytest.mark.parametrize(
    ("offers", "url", "reason"),
    [
        ({"starttls": ["wrong.example"]}, "smtp://{host}:{port}", "certificate"),
        ({"tls": ["wrong.example"]}, "smtps://{host}:{port}", "certificate"),
        ({}, "smtps://{host}:{port}", "587"),
        ({}, "smtp://" + CREDENTIALS + "{host}:{port}", "sends no password unencrypted"),
        (
            {"starttls": ["127.0.0.1"], "password": "other"},
            "smtp://" + CREDENTIALS + "{host}:{port}",
            "refuses user or password: 535",
        ),
        (
            {"starttls": ["127.0.0.1"], "mechanisms": ()},
            "smtp://" + CREDENTIALS + "{host}:{port}",
            "no supported authentication",
        ),
        ({}, "smtp://nowhere.invalid:{port}", "cannot be found"),
        ({}, "smtp://127.0.0.1:1", "cannot be reached"),
    ],
)
def test_a_wrong_setup_blocks_all_and_names_the_setting(
    run: Run, offers: dict[str, Any], url: str, reason: str
) -> None:
    provider, server = run(url, **offers)
    receipts = provider.send(BATCH, NOW)
    assert len(receipts) == 2
    for receipt in receipts:
        assert isinstance(receipt, NotSent)
        assert receipt.blocks_all
        assert reason in receipt.reason
        assert "NURTURE_SMTP_URL" in receipt.reason
    with pytest.raises(Misconfigured, match="NURTURE_SMTP_URL"):
        provider.check(EMAIL, NOW)
    assert server.accepted == []
    assert not any(command.startswith(("MAIL", "DATA")) for command in server.commands)


def test_a_refused_or_missing_greeting_blocks_all(run: Run) -> None:
    for greeting, reason in [("554 5.7.1 go away", "go away"), (Fault.SILENCE, "did not answer within 0.2 s")]:
        provider, server = run(timeout=0.2)
        server.script_faults("CONNECT", greeting)
        (receipt,) = provider.send([EMAIL], NOW)
        assert isinstance(receipt, NotSent)
        assert receipt.blocks_all
        assert reason in receipt.reason


@pytest.mark.parametrize("answer", [None, "501 5.5.2 cannot read AUTH PLAIN " + PLAIN_FORM, "454 4.7.0 later"])
def test_the_password_is_in_no_reason_log_repr_or_traceback(
    run: Run, answer: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="nurture")
    provider, server = run("smtp://" + CREDENTIALS + "{host}:{port}", starttls=["127.0.0.1"], password="other")
    server.script_faults("AUTH", answer, answer)
    texts = [repr(provider), repr(vars(provider)), str(provider.send([EMAIL], NOW))]
    with pytest.raises(Misconfigured) as refused:
        provider.check(EMAIL, NOW)
    texts += [str(refused.value), repr(refused.value.__context__)]
    texts += locals_of_ours(refused)
    texts += [record.getMessage() for record in caplog.records if record.name.startswith("nurture")]
    for secret in (PASSWORD, quote(PASSWORD, safe=""), PLAIN_FORM):
        assert not any(secret in text for text in texts)


@pytest.mark.parametrize(
    "url",
    [
        "smtp://nora:p#ss@smtp.example.com:587",
        "smtp://nora:p/ss@smtp.example.com",
        "smtp://nora@smtp.example.com",
        "http://nora:p%23ss@smtp.example.com",
        "smtp://:587",
        "smtp://nora:S3cr@tpass/w0rd@smtp.example.com:587",
        "smtp://nora:S3cr@tpass@smtp.example.com",
        "smtp://nora:4711#pass@smtp.example.com",
        "smtp://nora:4711/pass@smtp.example.com",
        "smtp://nora:4711?pass@smtp.example.com",
        "smtp://nora:4711@pass#",
    ],
)
def test_an_invalid_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="NURTURE_SMTP_URL") as refused:
        SmtpProvider(SecretStr(url))
    assert refused.value.__cause__ is refused.value.__context__ is None
    assert "%40 for @" in str(refused.value)
    texts = [str(refused.value).replace("user:password@smtp.example.com:587", ""), *locals_of_ours(refused)]
    for piece in ("ss@smtp", "nora", "4711", "S3cr", "tpass", "w0rd"):
        assert not any(piece in text for text in texts)


@pytest.mark.parametrize(
    ("url", "named", "user", "password"),
    [
        ("smtp://smtp.example.com", "smtp.example.com:587", None, None),
        ("smtps://SMTP.example.com", "smtp.example.com:465", None, None),
        ("smtp://[::1]:2525", "::1:2525", None, None),
        (f"smtps://{CREDENTIALS}bücher.example:2465/", "xn--bcher-kva.example:2465", USER, PASSWORD),
    ],
)
def test_a_url_is_parsed_into_server_user_and_password(
    url: str, named: str, user: str | None, password: str | None
) -> None:
    server = SmtpServer.parse(SecretStr(url))
    assert (str(server), server.user) == (named, user)
    assert (server.password.get_secret_value() if server.password else None) == password


def test_a_check_sends_the_envelope_and_no_email(run: Run) -> None:
    provider, server = run()
    provider.check(EMAIL, NOW)
    server.script_faults("RCPT", "451 4.7.1 greylisted")
    provider.check(EMAIL, NOW)
    server.script_faults("RCPT", "550 5.7.1 relaying denied")
    with pytest.raises(Misconfigured, match="Add user and password to NURTURE_SMTP_URL"):
        provider.check(EMAIL, NOW)
    server.script_faults("MAIL", "550 5.7.1 who are you")
    with pytest.raises(Misconfigured, match=r"templates/defaults\.yaml"):
        provider.check(EMAIL, NOW)
    assert server.accepted == []
    assert "DATA" not in server.commands
