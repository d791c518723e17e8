"""The reader process starts with the first mail, is replaced when it fails, and ends with its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.raw_mail import MAX_FIELD_BYTES, RawMail
from nurture.mail.inbound.reader import MailReader, UnreadableMail
from tests.mail.inbound.hostile_mails import MAILS
from tests.mail.inbound.replying import TO, TOKEN, bounce, mail

TODAY: Final = date(2026, 1, 5)
GOOD: Final = RawMail({"email": mail("Call me")})
TOO_MUCH: Final = RawMail({"email": MAILS["one line"]()})
LITTLE_MEMORY: Final = 6 * 1024 * 1024


@pytest.fixture
def reader() -> Iterator[MailReader]:
    found = MailReader()
    yield found
    found.close()


@pytest.fixture
def small() -> Iterator[MailReader]:
    """Yield a reader whose memory limit a mail of four megabytes exceeds."""
    found = MailReader(memory=LITTLE_MEMORY)
    yield found
    found.close()


def test_the_reader_classifies_like_classify_mail_in_one_process(reader: MailReader) -> None:
    assert reader.pid is None
    for raw in (mail("Call me"), bounce("a@b.example"), mail("stop"), mail("Größe", subject="ö")):
        one = RawMail({"email": raw})
        assert reader.read(one, TODAY) == classify_mail(one.parse(), TODAY)
    first = reader.pid
    reader.read(GOOD, TODAY)
    assert reader.pid == first


def test_the_process_has_no_secret_in_its_environment(reader: MailReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NURTURE_SENDGRID_KEY", "SG.secret")
    reader.read(GOOD, TODAY)
    assert b"SG.secret" not in Path(f"/proc/{reader.pid}/environ").read_bytes()


def test_hostile_mail_does_not_end_the_process(reader: MailReader) -> None:
    reader.read(GOOD, TODAY)
    first = reader.pid
    for make in MAILS.values():
        reader.read(RawMail({"email": make()}), TODAY)
    assert reader.pid == first


def test_a_mail_that_needs_too_much_memory_is_not_read_and_the_next_one_is(small: MailReader) -> None:
    with pytest.raises(UnreadableMail, match=r"memory|ended"):
        small.read(TOO_MUCH, TODAY)
    assert small.read(GOOD, TODAY).text == "Call me"


def test_exceeding_the_cpu_limit_ends_the_process() -> None:
    limit = "from nurture.process_limits import limit_cpu; limit_cpu(1)"
    endless = f"{limit}\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-c", endless], timeout=60, check=False)
    assert ended.returncode == -signal.SIGXCPU


def test_a_process_that_does_not_respond_is_replaced(reader: MailReader) -> None:
    reader.read(GOOD, TODAY)
    first = reader.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    reader.wall_seconds = 0.2
    with pytest.raises(UnreadableMail, match=r"more than 0\.2 s"):
        reader.read(GOOD, TODAY)
    assert not Path(f"/proc/{first}").exists()
    reader.wall_seconds = 30.0
    assert reader.read(GOOD, TODAY).text == "Call me"


def test_a_process_that_ended_between_two_mails_loses_no_mail(reader: MailReader) -> None:
    reader.read(GOOD, TODAY)
    first = reader.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert reader.read(GOOD, TODAY).text == "Call me"
    assert reader.pid != first


def test_a_process_that_ends_while_reading_loses_only_that_mail(reader: MailReader) -> None:
    reader.read(GOOD, TODAY)
    first = reader.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    killing = threading.Timer(0.1, os.kill, (first, signal.SIGKILL))
    killing.start()
    with pytest.raises(UnreadableMail, match="killed"):
        reader.read(GOOD, TODAY)
    killing.join()
    assert reader.read(GOOD, TODAY).text == "Call me"


_OWNER: Final = """
import sys
from datetime import date
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import shared_reader
shared_reader().read(RawMail({"email": b"Subject: x\\n\\nhi"}), date(2026, 1, 5))
print(shared_reader().pid, flush=True)
sys.stdin.read()
"""


def test_the_process_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        descriptor = os.pidfd_open(child)
        owner.kill()
    try:
        poller = select.poll()
        poller.register(descriptor)
        assert poller.poll(30_000) != []
    finally:
        os.close(descriptor)


def test_closing_the_reader_ends_the_process(reader: MailReader) -> None:
    reader.read(GOOD, TODAY)
    child = reader.pid
    reader.close()
    assert reader.pid is None
    assert not Path(f"/proc/{child}").exists()


@given(
    st.dictionaries(st.sampled_from([*MAX_FIELD_BYTES]), st.binary(max_size=200)),
    st.lists(st.text(max_size=9)).map(tuple),
)
def test_unpacking_restores_a_packed_mail(fields: dict[str, bytes], attachments: tuple[str, ...]) -> None:
    one = RawMail(fields, attachments)
    assert RawMail.unpack(one.pack()) == one


@pytest.mark.parametrize(
    "fields",
    [
        {"email": mail("x")},
        {"email": mail("x", to="a@b.example, Ada <REPLY+ABCDEFGHIJKLMNOPQRSTUVWXY2@in.example.com>")},
        {"email": mail("x", to="a@b.example", Delivered_To=TO)},
        {"email": mail("x", to="a@b.example"), "envelope": b'{"to":["%b"]}' % TO.encode()},
        {"email": bounce("mia@people.example")},
        {"headers": b"From: a@b.example\n", "text": b"x", "to": TO.encode()},
        {"headers": b"X: " + b"y" * 100_000 + f"\nTo: {TO}\n".encode(), "text": b"x"},
    ],
)  # fmt: skip
def test_tokens_are_found_without_parsing_the_mail(fields: dict[str, bytes]) -> None:
    assert RawMail(fields).routing_hints().tokens == (TOKEN,)


def test_a_token_in_the_text_is_ignored() -> None:
    hints = RawMail({"email": mail(TO, to="a@b.example")}).routing_hints()
    assert hints == ((), "mia@people.example", "")
