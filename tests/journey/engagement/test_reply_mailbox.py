"""A mailbox for replies is read once, whatever breaks, and nothing in it changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.journey.engagement import replies
from nurture.mail.inbound.imap import Inbox, InboxUnusable
from nurture.runtime.context import House
from tests.doubles.imap import PASSWORD, USER, Mailbox, imap_server
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.engagement.test_replies import NOW, SENT, reply_address
from tests.journey.observe import rows
from tests.mail.inbound.replying import mail

HOUR = timedelta(hours=1)


def inbox_at(port: int, password: str = PASSWORD, scheme: str = "imap") -> Inbox:
    url = f"{scheme}://{quote(USER, safe='')}:{quote(password)}@127.0.0.1:{port}/INBOX"
    return Inbox(SecretStr(url), timeout=5)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with imap_server() as found:
        yield found


@pytest.fixture
def house(db: Database, tmp_path: Path, box: Mailbox) -> House:
    house = make_house(db, tmp_path)
    house.reply_domain = "in.example.com"
    add_lead(house, title="Head of stock", email="mia@people.example")
    tick_at(house, START, START + 2 * HOUR, SENT)
    house.inbox = inbox_at(box.port)
    return house


def test_each_mail_is_read_once_and_nothing_is_changed(house: House, box: Mailbox, tmp_path: Path) -> None:
    box.add(mail("Buy this", to="ada@house.example"))
    assert replies.poll(house, NOW) == (1, 0, 0)
    box.add(mail("Call me", to=reply_address(house, tmp_path)))
    assert replies.poll(house, NOW) == (1, 1, 1)
    assert replies.poll(house, NOW) == (0, 0, 0)
    assert rows(house, "SELECT text FROM reply") == [("Call me",)]
    assert not [one for one in box.commands if "STORE" in one or "SELECT" in one or "EXPUNGE" in one]
    assert all("PEEK" in one for one in box.commands if "FETCH" in one)


def test_more_mails_than_one_batch_takes_are_all_read(house: House, box: Mailbox, tmp_path: Path) -> None:
    to = reply_address(house, tmp_path)
    for number in range(replies.AT_ONCE + 3):
        box.add(mail(f"Call {number}", to=to, number=str(number)))
    assert replies.poll(house, NOW).new == replies.AT_ONCE + 3
    assert rows(house, "SELECT last_uid FROM inbox") == [(replies.AT_ONCE + 3,)]


def test_mails_that_the_server_numbers_anew_count_once(house: House, box: Mailbox, tmp_path: Path) -> None:
    box.add(mail("Call me", to=reply_address(house, tmp_path)))
    replies.poll(house, NOW)
    box.uid_validity += 1
    assert replies.poll(house, NOW) == (1, 1, 0)
    assert rows(house, "SELECT uid_validity, last_uid FROM inbox") == [(8, 1)]


def test_a_server_that_breaks_off_loses_nothing(house: House, box: Mailbox, tmp_path: Path) -> None:
    box.add(mail("Call me", to=reply_address(house, tmp_path)))
    box.silent_at = "FETCH"
    assert replies.poll(house, NOW) == (0, 0, 0)
    box.silent_at = ""
    assert replies.poll(house, NOW).new == 1


def test_one_mail_that_cannot_be_kept_stops_no_others(house: House, box: Mailbox, tmp_path: Path) -> None:
    for number, words in enumerate(("Call me", "refused", "Call us")):
        box.add(mail(words, to=reply_address(house, tmp_path), number=str(number)))
    refuse_replies(house, "refused")
    assert replies.poll(house, NOW) == (3, 2, 2)
    assert replies.poll(house, NOW) == (0, 0, 0)


def refuse_replies(house: House, words: str) -> None:
    """Let the database itself refuse such a reply, as it would one that nobody foresaw."""
    with house.database.alter() as connection:
        if house.database.is_sqlite:
            fault = (
                "CREATE TRIGGER refuse BEFORE INSERT ON reply WHEN NEW.text = '{}' "
                "BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        else:
            fault = "ALTER TABLE reply ADD CONSTRAINT refuse CHECK (text <> '{}')"
        connection.execute(text(fault.format(words)))


def test_a_wrong_password_stops_no_round_and_is_not_told(house: House, box: Mailbox) -> None:
    house.inbox = inbox_at(box.port, "wr0ng")
    tick_at(house, NOW)
    with pytest.raises(InboxUnusable) as told, house.inbox.opened():
        pass
    assert "wr0ng" not in f"{told.value} {told.value!r} {house.inbox!r}"
    assert USER not in f"{told.value} {house.inbox!r} {house.inbox.name}"


def test_a_server_that_shows_no_certificate_we_know_gets_no_password(house: House, box: Mailbox) -> None:
    house.inbox = inbox_at(box.port, scheme="imaps")
    assert replies.poll(house, NOW) == (0, 0, 0)
    assert "LOGIN" not in box.commands
