"""Test that a reply mailbox is read once, whatever fails, and is not changed."""

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
from nurture.mail.inbound.imap import Inbox, InboxUnavailable
from nurture.runtime.context import AppContext
from tests.doubles.imap import PASSWORD, USER, Mailbox, imap_server
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.engagement.test_replies import NOW, SENT, reply_address
from tests.journey.observe import rows
from tests.mail.inbound.replying import mail

HOUR = timedelta(hours=1)


def inbox_at(port: int, password: str = PASSWORD, scheme: str = "imap") -> Inbox:
    url = f"{scheme}://{quote(USER, safe='')}:{quote(password)}@127.0.0.1:{port}/INBOX"
    return Inbox(SecretStr(url), timeout=5)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with imap_server() as found:
        yield found


@pytest.fixture
def ctx(db: Database, tmp_path: Path, mailbox: Mailbox) -> AppContext:
    ctx = make_context(db, tmp_path)
    ctx.reply_domain = "in.example.com"
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    ctx.inbox = inbox_at(mailbox.port)
    return ctx


def test_each_mail_is_read_once_and_nothing_is_changed(ctx: AppContext, mailbox: Mailbox, tmp_path: Path) -> None:
    mailbox.add(mail("Buy this", to="ada@house.example"))
    assert replies.poll_inbox(ctx, NOW) == (1, 0, 0)
    mailbox.add(mail("Call me", to=reply_address(ctx, tmp_path)))
    assert replies.poll_inbox(ctx, NOW) == (1, 1, 1)
    assert replies.poll_inbox(ctx, NOW) == (0, 0, 0)
    assert rows(ctx, "SELECT text FROM reply") == [("Call me",)]
    assert not [one for one in mailbox.commands if "STORE" in one or "SELECT" in one or "EXPUNGE" in one]
    assert all("PEEK" in one for one in mailbox.commands if "FETCH" in one)


def test_more_mails_than_one_batch_takes_are_all_read(ctx: AppContext, mailbox: Mailbox, tmp_path: Path) -> None:
    to = reply_address(ctx, tmp_path)
    for number in range(replies.BATCH_SIZE + 3):
        mailbox.add(mail(f"Call {number}", to=to, number=str(number)))
    assert replies.poll_inbox(ctx, NOW).new == replies.BATCH_SIZE + 3
    assert rows(ctx, "SELECT last_uid FROM mailbox_cursor") == [(replies.BATCH_SIZE + 3,)]


def test_mails_renumbered_by_the_server_count_once(ctx: AppContext, mailbox: Mailbox, tmp_path: Path) -> None:
    mailbox.add(mail("Call me", to=reply_address(ctx, tmp_path)))
    replies.poll_inbox(ctx, NOW)
    mailbox.uid_validity += 1
    assert replies.poll_inbox(ctx, NOW) == (1, 1, 0)
    assert rows(ctx, "SELECT uid_validity, last_uid FROM mailbox_cursor") == [(8, 1)]


def test_a_server_that_breaks_off_loses_nothing(ctx: AppContext, mailbox: Mailbox, tmp_path: Path) -> None:
    mailbox.add(mail("Call me", to=reply_address(ctx, tmp_path)))
    mailbox.silent_at = "FETCH"
    assert replies.poll_inbox(ctx, NOW) == (0, 0, 0)
    mailbox.silent_at = ""
    assert replies.poll_inbox(ctx, NOW).new == 1


def test_one_mail_that_cannot_be_stored_stops_no_others(ctx: AppContext, mailbox: Mailbox, tmp_path: Path) -> None:
    for number, words in enumerate(("Call me", "refused", "Call us")):
        mailbox.add(mail(words, to=reply_address(ctx, tmp_path), number=str(number)))
    refuse_replies(ctx, "refused")
    assert replies.poll_inbox(ctx, NOW) == (3, 2, 2)
    assert replies.poll_inbox(ctx, NOW) == (0, 0, 0)


def refuse_replies(ctx: AppContext, words: str) -> None:
    """Let the database reject such a reply, as it might an unexpected one."""
    with ctx.database.alter() as tx:
        if tx.is_sqlite:
            sabotage = (
                "CREATE TRIGGER refuse BEFORE INSERT ON reply WHEN NEW.text = '{}' BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        else:
            sabotage = "ALTER TABLE reply ADD CONSTRAINT refuse CHECK (text <> '{}')"
        tx.execute(text(sabotage.format(words)))


def test_a_wrong_password_does_not_stop_the_run_and_is_not_shown(ctx: AppContext, mailbox: Mailbox) -> None:
    ctx.inbox = inbox_at(mailbox.port, "wr0ng")
    run_at(ctx, NOW)
    with pytest.raises(InboxUnavailable) as caught, ctx.inbox.open_folder():
        pass
    assert "wr0ng" not in f"{caught.value} {caught.value!r} {ctx.inbox!r}"
    assert USER not in f"{caught.value} {ctx.inbox!r} {ctx.inbox.name}"


def test_a_server_without_a_trusted_certificate_gets_no_password(ctx: AppContext, mailbox: Mailbox) -> None:
    ctx.inbox = inbox_at(mailbox.port, scheme="imaps")
    assert replies.poll_inbox(ctx, NOW) == (0, 0, 0)
    assert "LOGIN" not in mailbox.commands
