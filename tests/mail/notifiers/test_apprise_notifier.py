"""Notices to a place where reps look, over real connections to servers on this machine."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr

from nurture.errors import Misconfigured
from nurture.mail.notifiers.apprise_notifier import TRY_AGAIN_AFTER, Chat
from nurture.mail.notifiers.unconfigured import Nowhere
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Rejected
from nurture.mail.rendering.render import Address, ComposedEmail
from tests.doubles.chatroom import Chatroom
from tests.journey.builders import START

SECRET = "hush-7f3a"


@pytest.fixture
def room() -> Iterator[Chatroom]:
    with Chatroom() as opened:
        yield opened


def _chat(room: Chatroom) -> Chat:
    return Chat("slack-sales", SecretStr(f"json://127.0.0.1:{room.port}/{SECRET}?rto=1"))


def _notice(number: int = 1) -> ComposedEmail:
    here = Address("Ada", "ada@house.example")
    return ComposedEmail(f"notice:{number}:slack-sales", here, here, None, "Dana, Acme", "", "Why: now", ())


def test_a_notice_arrives_once_with_its_words_as_they_are(room: Chatroom) -> None:
    (receipt,) = _chat(room).send([_notice()], START)
    assert receipt == Accepted("notice:1:slack-sales")
    (said,) = room.said
    assert (said["title"], said["message"]) == ("Dana, Acme", "Why: now")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (302, NotSent),
        (404, NotSent),
        (429, NotSent),
        (500, InDoubt),
        (503, InDoubt),
    ],
)
def test_a_refusal_is_tried_again_only_if_nothing_went(room: Chatroom, status: int, kind: type) -> None:
    room.answers = status
    (receipt,) = _chat(room).send([_notice()], START)
    assert type(receipt) is kind
    assert str(status) in receipt.why or status == 429  # type: ignore[union-attr]
    assert len(room.said) == 1


def test_a_place_that_takes_it_and_says_nothing_leaves_a_doubt(room: Chatroom) -> None:
    for broken in ("hang", "drop"):
        room.answers = broken
        chat = _chat(room)
        receipt, held = chat.send([_notice(1), _notice(2)], START)
        assert receipt == InDoubt("slack-sales gave no clear outcome: no answer")
        assert isinstance(held, NotSent)  # nobody waits for it twice in a minute
        assert held.stops
    room.answers = 200
    assert chat.send([_notice(2)], START + TRY_AGAIN_AFTER) == [Accepted("notice:2:slack-sales")]
    assert len(room.said) == 3


def test_a_place_where_nobody_listens_was_told_nothing() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    (receipt,) = Chat("teams", SecretStr(f"json://127.0.0.1:{port}")).send([_notice()], START)
    assert isinstance(receipt, NotSent)
    assert receipt.stops
    assert receipt.retry_at is not None


def test_the_url_is_in_no_name_receipt_error_or_log(room: Chatroom, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    chat = _chat(room)
    told = [repr(chat), chat.name]
    for answer in (200, 404, 500, "drop"):
        room.answers = answer
        told += map(str, _chat(room).send([_notice()], START))
    unreadable = Chat("odd", SecretStr(f"odd-{SECRET}://{SECRET}/{SECRET}"))
    told += map(str, unreadable.send([_notice()], START))
    with pytest.raises(Misconfigured, match="NURTURE_TELL says where odd is") as refused:
        unreadable.check(_notice(), START)
    assert SECRET not in " ".join([*told, str(refused.value), caplog.text])
    assert len(room.said) == 4


def test_a_place_that_the_settings_do_not_name_is_waited_for() -> None:
    (receipt,) = Nowhere("slack-sales").send([_notice()], START)
    assert isinstance(receipt, NotSent)
    assert "Add slack-sales=URL" in receipt.why
