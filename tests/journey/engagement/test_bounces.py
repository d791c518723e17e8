"""By SMTP every bounce is returned to the mailbox that is read, settles its message, and suppresses a dead address."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from nurture.db.engine import Database
from nurture.journey.delivery import queries
from nurture.journey.engagement import replies
from nurture.mail.inbound.imap import Inbox
from nurture.mail.providers.smtp.provider import SmtpProvider
from nurture.runtime.context import AppContext
from tests.doubles.imap import PASSWORD, USER, Mailbox, imap_server
from tests.doubles.smtp import Accepted, SMTPDouble, smtp_server
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import custody, rows, write
from tests.mail.inbound.replying import mail, report

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SENT = START + 3 * HOUR
LATER = SENT + HOUR


@pytest.fixture
def server() -> Iterator[SMTPDouble]:
    with smtp_server() as double:
        yield double


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with imap_server() as found:
        yield found


@pytest.fixture
def ctx(db: Database, tmp_path: Path, server: SMTPDouble, mailbox: Mailbox) -> Iterator[AppContext]:
    ctx = make_context(db, tmp_path)
    ctx.provider = SmtpProvider(SecretStr(server.url))
    ctx.reply_domain = "in.example.com"
    ctx.inbox = Inbox(SecretStr(f"imap://{quote(USER)}:{quote(PASSWORD)}@127.0.0.1:{mailbox.port}/INBOX"), timeout=5)
    yield ctx
    ctx.provider.close()


def sent_to(server: SMTPDouble, recipient: str) -> list[Accepted]:
    return [one for one in server.accepted if one.recipient == recipient]


def returned(sent: Accepted, status: str = "5.1.1", reply: str = "550 no such user") -> bytes:
    """Return the report of a server that quotes nothing of ours: it goes to the envelope sender."""
    fields = (
        f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; {sent.recipient}\nAction: failed\n"
        f"Status: {status}\nDiagnostic-Code: smtp; {reply}"
    )
    raw = report("delivery-status", fields, returned=f"Subject: {sent.message['Subject']} {len(sent.content)}")
    return raw.replace(b"To: ada@house.example", f"To: {sent.sender}".encode())


def test_a_dead_mailbox_is_mailed_no_more(ctx: AppContext, server: SMTPDouble, mailbox: Mailbox) -> None:
    lead = add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (touch,) = sent_to(server, "mia@people.example")
    local, _, domain = touch.sender.partition("@")
    assert (local[:6], len(local), domain) == ("reply+", 32, "in.example.com")
    assert touch.sender == touch.message["Reply-To"].addresses[0].addr_spec
    assert touch.message["From"].addresses[0].addr_spec == "ada@house.example"
    mailbox.add(returned(touch))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT state, reason FROM message WHERE kind = 'touch'") == [("bounced", "bounced: 5.1.1")]
    assert rows(ctx, "SELECT source FROM suppression") == [("bounce",)]
    with ctx.database.read() as tx:  # what pauses a sender domain
        assert queries.load_delivery_stats(tx, {"house.example": 9})["house.example"].bounced == 1
    run_at(ctx, LATER, LATER + 10 * DAY, LATER + 20 * DAY)
    assert sent_to(server, "mia@people.example") == [touch]
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_a_block_is_no_dead_mailbox(ctx: AppContext, server: SMTPDouble, mailbox: Mailbox) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (touch,) = sent_to(server, "mia@people.example")
    mailbox.add(returned(touch, "5.0.0", "550 Mailbox unavailable. It said: 550 5.7.1 you are on our block list"))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT state, reason FROM message") == [("dropped", "blocked: 5.7.1")]
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]


AMBIGUOUS = ("5.0.0", "550 5.4.1 Recipient address rejected: Access denied")


def test_a_refusal_that_may_concern_the_address_counts_when_it_repeats_days_later(
    ctx: AppContext, server: SMTPDouble, mailbox: Mailbox
) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    first = returned(sent_to(server, "mia@people.example")[0], *AMBIGUOUS)
    mailbox.add(first)
    replies.poll_inbox(ctx, LATER)
    ambiguous = ("dropped", "blocked: 5.4.1, the address may not exist")
    assert rows(ctx, "SELECT state, reason FROM message") == [ambiguous]
    mailbox.add(first.replace(b"Message-ID: <", b"Message-ID: <again-"))  # the same message, told twice
    run_at(ctx, LATER, SENT + 6 * DAY, SENT + 9 * DAY, SENT + 10 * DAY)
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]
    _, second = sent_to(server, "mia@people.example")
    mailbox.add(returned(second, *AMBIGUOUS))
    replies.poll_inbox(ctx, SENT + 10 * DAY)
    assert rows(ctx, "SELECT state, reason FROM message ORDER BY id") == [ambiguous, ("bounced", "bounced: 5.4.1")]
    assert rows(ctx, "SELECT source FROM suppression") == [("bounce",)]


def test_a_delivery_in_between_shows_that_the_address_exists(
    ctx: AppContext, server: SMTPDouble, mailbox: Mailbox
) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT, *(SENT + number * DAY for number in range(1, 26)))
    first, _, third = sent_to(server, "mia@people.example")
    write(ctx, "UPDATE message SET state = 'delivered' WHERE step = '02-more'")
    for refused in (first, third):
        mailbox.add(returned(refused, *AMBIGUOUS))
        replies.poll_inbox(ctx, SENT + 30 * DAY)
    assert rows(ctx, "SELECT state FROM message ORDER BY id") == [("dropped",), ("delivered",), ("dropped",)]
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]
    write(ctx, "UPDATE message SET state = 'accepted' WHERE step = '02-more'")
    mailbox.add(returned(third, *AMBIGUOUS).replace(b"Message-ID: <", b"Message-ID: <again-"))
    replies.poll_inbox(ctx, SENT + 31 * DAY)
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(1,)]


def test_email_to_reps_bounces_too_and_says_nothing_of_the_lead(
    ctx: AppContext, server: SMTPDouble, mailbox: Mailbox
) -> None:
    lead = add_lead(ctx, title="Head of stock", email="mia@people.example", demo_requested=True)
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (brief,) = [one for one in server.accepted if one.recipient.endswith("@house.example")]
    assert brief.sender.endswith("@in.example.com")
    assert brief.message["Reply-To"] is None
    away = {"Auto_Submitted": "auto-replied", "subject": "Out of office"}
    mailbox.add(mail("Back on 3 March.", to=brief.sender, sender=brief.recipient, **away))
    mailbox.add(returned(brief))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT state FROM message WHERE kind = 'brief'") == [("bounced",)]
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]
    assert rows(ctx, "SELECT count(*) FROM reply") == [(0,)]
    assert rows(ctx, "SELECT paused_until FROM lead") == [(None,)]
    assert custody(ctx, lead)[0] == "offer"


def test_without_a_reply_domain_bounces_go_to_the_sender(ctx: AppContext, server: SMTPDouble) -> None:
    ctx.reply_domain = ""
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    assert [one.sender for one in server.accepted] == ["ada@house.example"]


def test_a_complaint_by_the_readers_provider_suppresses_even_a_redacted_recipient(
    ctx: AppContext, server: SMTPDouble, mailbox: Mailbox
) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (touch,) = sent_to(server, "mia@people.example")
    fields = f"Feedback-Type: not-spam\nVersion: 1\nOriginal-Mail-From: <{touch.sender}>"
    mailbox.add(report("feedback-report", fields))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]
    mailbox.add(report("feedback-report", fields.replace("not-spam", "abuse")))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT source FROM suppression") == [("complaint",)]
    assert rows(ctx, "SELECT state FROM message") == [("complained",)]


def test_an_unsubscribe_that_the_readers_provider_reports_is_an_opt_out_by_the_provider(
    ctx: AppContext, server: SMTPDouble, mailbox: Mailbox
) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (touch,) = sent_to(server, "mia@people.example")
    mailbox.add(report("feedback-report", f"Feedback-Type: opt-out\nOriginal-Mail-From: <{touch.sender}>"))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT source, scope FROM suppression") == [("provider", "global")]


def test_a_receipt_is_a_receipt(ctx: AppContext, server: SMTPDouble, mailbox: Mailbox) -> None:
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (touch,) = sent_to(server, "mia@people.example")
    fields = "Final-Recipient: rfc822;mia@people.example\nDisposition: manual-action/MDN-sent-manually; displayed"
    mailbox.add(report("disposition-notification", fields, returned=f"Reply-To: {touch.sender}"))
    replies.poll_inbox(ctx, LATER)
    assert rows(ctx, "SELECT kind FROM reply") == [("receipt",)]
    assert rows(ctx, "SELECT state FROM message") == [("accepted",)]
    assert rows(ctx, "SELECT count(*) FROM suppression") == [(0,)]
