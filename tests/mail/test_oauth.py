"""Test that mail servers are signed in to by access tokens, and that nothing secret is said."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent
from nurture.errors import Misconfigured
from nurture.mail.inbound.imap import Inbox, InboxUnavailable
from nurture.mail.oauth import AccessTokens, SignInFailed
from nurture.mail.providers.smtp.provider import SmtpProvider
from nurture.settings import Settings
from tests.doubles import imap, smtp
from tests.doubles.api_server import Answer, Fault
from tests.doubles.token_server import SECRET, TokenServer
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi", layout=PLAIN)
WriteGrant = Callable[..., Path]


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as double:
        yield double


@pytest.fixture
def write_grant(server: TokenServer, tmp_path: Path) -> WriteGrant:
    def write(**values: Any) -> Path:
        file = tmp_path / "oauth.json"
        grant = {"token_url": f"{server.url}/token", "client_id": "app", "client_secret": SECRET, **values}
        file.write_text(json.dumps({name: one for name, one in grant.items() if one is not None}))
        file.chmod(0o600)
        return file

    return write


@pytest.fixture
def mail_server() -> Iterator[smtp.SMTPDouble]:
    with smtp.smtp_server(starttls=["127.0.0.1"], mechanisms=("XOAUTH2",), auth_required=True) as double:
        yield double


def provider_at(double: smtp.SMTPDouble, file: Path) -> SmtpProvider:
    url = f"smtp://{quote(smtp.USER, safe='')}@{double.host}:{double.port}"
    return SmtpProvider(SecretStr(url), oauth=file, context=smtp.client_context(), timeout=5)


def inbox_at(mailbox: imap.Mailbox, file: Path) -> Inbox:
    url = f"imap://{quote(imap.USER, safe='')}@127.0.0.1:{mailbox.port}/INBOX"
    return Inbox(SecretStr(url), file, timeout=5)


def test_an_application_signs_in_for_itself(server: TokenServer, write_grant: WriteGrant) -> None:
    tokens = AccessTokens(write_grant(scope="https://outlook.office365.com/.default"))
    assert tokens.response("ada@house.example") == b"user=ada@house.example\x01auth=Bearer token-1\x01\x01"
    assert server.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": "app",
            "client_secret": SECRET,
            "scope": "https://outlook.office365.com/.default",
        }
    ]


def test_a_token_is_used_until_it_is_about_to_expire(server: TokenServer, write_grant: WriteGrant) -> None:
    tokens = AccessTokens(write_grant())
    assert tokens.response("a") == tokens.response("a")
    server.expires_in = 60  # less than the reserve
    tokens.forget()
    assert tokens.response("a") != tokens.response("a")
    assert len(server.forms) == 3


def test_a_new_refresh_token_replaces_that_in_the_file(server: TokenServer, write_grant: WriteGrant) -> None:
    server.rotates = True
    file = write_grant(refresh_token="refresh-0")
    for _ in range(3):
        AccessTokens(file).response("a")  # as after a restart
    assert [form["refresh_token"] for form in server.forms] == ["refresh-0", "refresh-1", "refresh-2"]
    assert json.loads(file.read_text())["refresh_token"] == "refresh-3"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"client_secret": "wrong secret"}, "invalid_client, AADSTS7000215.*client_secret"),
        ({"refresh_token": "an old one"}, "invalid_grant, AADSTS700082.*Sign in again"),
        ({"token_url": "http://127.0.0.1:9/token"}, "cannot be reached"),
    ],
)
def test_a_refusal_says_what_to_do_and_quotes_no_secret(
    write_grant: WriteGrant, change: dict[str, str], said: str
) -> None:
    with pytest.raises(SignInFailed, match=said) as refused:
        AccessTokens(write_grant(**change)).response("a")
    assert not any(secret in str(refused.value) for secret in (SECRET, "wrong secret", "an old one"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(503, {"error": "temporarily_unavailable"}), "status 503"),
        (Answer(200, {"id_token": "x"}), "without an access token"),
        (Answer(200, {"access_token": "t", "expires_in": "soon"}), "without an access token"),
        (Answer(400, "<html>"), "status 400"),
        (Answer(302, headers=(("Location", "/elsewhere"),)), "status 302"),
        (Answer(400, {"error": "a code\nof its own"}), "status 400"),
    ],
)
def test_an_answer_that_is_no_token_is_said(
    server: TokenServer, write_grant: WriteGrant, answer: Answer, said: str
) -> None:
    server.refusal = answer
    with pytest.raises(SignInFailed, match=said):
        AccessTokens(write_grant()).response("a")
    assert server.calls == [("POST", "/token")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"client_id": None}, "client_id"),
        ({"token_url": "http://id.example.com/token"}, "token_url.*https"),
        ({"client_secrte": "x"}, "client_secrte"),
    ],
)
def test_a_file_that_is_not_valid_is_refused_without_quoting_it(
    write_grant: WriteGrant, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(Misconfigured, match=said) as refused:
        AccessTokens(write_grant(**values)).response("a")
    assert SECRET not in str(refused.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"absent\.json cannot be read.*token_url"):
        AccessTokens(tmp_path / "absent.json").response("a")


def test_mail_is_sent_with_a_token(server: TokenServer, write_grant: WriteGrant, mail_server: smtp.SMTPDouble) -> None:
    mail_server.access_tokens = server.valid
    provider = provider_at(mail_server, write_grant())
    assert all(isinstance(one, Accepted) for one in provider.send([EMAIL], NOW))
    provider.close()
    assert [(mail.tls, mail.user) for mail in mail_server.accepted] == [(True, smtp.USER)]


def test_a_token_that_the_server_refuses_is_not_used_again(
    server: TokenServer, write_grant: WriteGrant, mail_server: smtp.SMTPDouble
) -> None:
    provider = provider_at(mail_server, write_grant())
    (receipt,) = provider.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "NURTURE_SMTP_OAUTH" in receipt.reason
    assert "token-1" not in receipt.reason
    mail_server.access_tokens = {"token-2"}
    assert isinstance(provider.send([EMAIL], NOW)[0], Accepted)
    provider.close()


def test_mail_waits_while_no_token_is_issued(
    server: TokenServer, write_grant: WriteGrant, mail_server: smtp.SMTPDouble
) -> None:
    mail_server.access_tokens = server.valid
    server.add_fault(Fault(what="status"))
    provider = provider_at(mail_server, write_grant())
    (receipt,) = provider.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all
    assert isinstance(provider.send([EMAIL], NOW)[0], Accepted)
    provider.close()


def test_a_server_without_xoauth2_is_named(write_grant: WriteGrant) -> None:
    with smtp.smtp_server(starttls=["127.0.0.1"], mechanisms=("PLAIN",)) as double:
        (receipt,) = provider_at(double, write_grant()).send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "offers no XOAUTH2 (it offers PLAIN)" in receipt.reason


def test_a_mailbox_is_opened_with_a_token(server: TokenServer, write_grant: WriteGrant) -> None:
    with imap.imap_server() as mailbox:
        mailbox.access_tokens = server.valid
        uid = mailbox.add(b"Subject: Hi\r\n\r\nHello")
        with inbox_at(mailbox, write_grant()).open_folder() as folder:
            assert folder.list_uids_after(0) == [uid]


def test_a_mailbox_that_refuses_the_token_gets_another_one(server: TokenServer, write_grant: WriteGrant) -> None:
    with imap.imap_server() as mailbox:
        inbox = inbox_at(mailbox, write_grant())
        with pytest.raises(InboxUnavailable, match="NURTURE_IMAP_OAUTH"), inbox.open_folder():
            pass
        mailbox.access_tokens = {"token-2"}
        with inbox.open_folder():
            pass


@pytest.mark.parametrize(
    ("url", "is_valid"),
    [
        ("smtp://ada%40example.com@smtp.example.com:587", True),
        ("smtp://ada%40example.com:secret@smtp.example.com:587", False),
        ("smtp://smtp.example.com:587", False),
    ],
)
def test_with_sign_in_data_the_url_has_a_user_and_no_password(
    monkeypatch: pytest.MonkeyPatch, url: str, is_valid: bool
) -> None:
    monkeypatch.setenv("NURTURE_SMTP_URL", url)
    monkeypatch.setenv("NURTURE_SMTP_OAUTH", "oauth.json")
    if is_valid:
        assert list(Settings.read().secret_files()) == [Path("oauth.json")]
    else:
        with pytest.raises(Misconfigured, match="a user and no password") as refused:
            Settings.read()
        assert "secret@" not in str(refused.value)
