"""Notices sent with apprise to a local server, over real connections."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.notifiers.apprise_notifier import RETRY_AFTER, AppriseNotifier
from nurture.mail.notifiers.unconfigured import UnconfiguredNotifier
from nurture.mail.rendering.render import Address, ComposedEmail
from tests.doubles.chat_server import ChatServer
from tests.journey.builders import START

SECRET = "hush-7f3a"


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    with ChatServer() as opened:
        yield opened


def _notifier(chat_server: ChatServer) -> AppriseNotifier:
    return AppriseNotifier("slack-sales", SecretStr(f"json://127.0.0.1:{chat_server.port}/{SECRET}?rto=1"))


def _notice(number: int = 1) -> ComposedEmail:
    ada = Address("Ada", "ada@house.example")
    return ComposedEmail(f"notice:{number}:slack-sales", ada, ada, None, "Dana, Acme", "", "Why: now", ())


def test_a_notice_arrives_once_with_its_text_unchanged(chat_server: ChatServer) -> None:
    (receipt,) = _notifier(chat_server).send([_notice()], START)
    assert receipt == Accepted("notice:1:slack-sales")
    (message,) = chat_server.received
    assert (message["title"], message["message"]) == ("Dana, Acme", "Why: now")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Rejected), (302, NotSent), (404, NotSent), (429, NotSent), (500, Unknown), (503, Unknown)],
)
def test_a_refusal_is_retried_only_if_nothing_was_sent(chat_server: ChatServer, status: int, kind: type) -> None:
    chat_server.answers = status
    (receipt,) = _notifier(chat_server).send([_notice()], START)
    assert type(receipt) is kind
    assert str(status) in receipt.reason or status == 429  # type: ignore[union-attr]
    assert len(chat_server.received) == 1


def test_a_missing_response_is_unknown(chat_server: ChatServer) -> None:
    for failure in ("hang", "drop"):
        chat_server.answers = failure
        notifier = _notifier(chat_server)
        receipt, blocked = notifier.send([_notice(1), _notice(2)], START)
        assert receipt == Unknown("slack-sales gave no clear outcome: no response")
        assert isinstance(blocked, NotSent)  # no second timeout within a minute
        assert blocked.blocks_all
    chat_server.answers = 200
    assert notifier.send([_notice(2)], START + RETRY_AFTER) == [Accepted("notice:2:slack-sales")]
    assert len(chat_server.received) == 3


def test_a_refused_connection_is_not_sent() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    (receipt,) = AppriseNotifier("teams", SecretStr(f"json://127.0.0.1:{port}")).send([_notice()], START)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all
    assert receipt.retry_at is not None


def test_the_url_is_in_no_name_receipt_error_or_log(chat_server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    notifier = _notifier(chat_server)
    texts = [repr(notifier), notifier.name]
    for answer in (200, 404, 500, "drop"):
        chat_server.answers = answer
        texts += map(str, _notifier(chat_server).send([_notice()], START))
    unreadable = AppriseNotifier("odd", SecretStr(f"odd-{SECRET}://{SECRET}/{SECRET}"))
    texts += map(str, unreadable.send([_notice()], START))
    with pytest.raises(Misconfigured, match="NURTURE_NOTIFY has a URL for odd") as refused:
        unreadable.check(_notice(), START)
    assert SECRET not in " ".join([*texts, str(refused.value), caplog.text])
    assert len(chat_server.received) == 4


def test_a_target_that_the_settings_do_not_name_is_not_sent() -> None:
    (receipt,) = UnconfiguredNotifier("slack-sales").send([_notice()], START)
    assert isinstance(receipt, NotSent)
    assert "Add slack-sales=URL" in receipt.reason
