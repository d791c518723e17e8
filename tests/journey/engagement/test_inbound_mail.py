"""Test that mail is stored before it is parsed, and that one unreadable mail stops no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from nurture.db.engine import Database
from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.journey.engagement import inbound_mail as engagement_inbound_mail
from nurture.journey.engagement import inbound_mail_queries, replies
from nurture.journey.erasure import erase
from nurture.mail.inbound.bounce_report import BounceReport
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import MailReader, UnreadableMail
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, reply_address
from tests.journey.observe import all_rows, recorded_statements, rows
from tests.mail.inbound.hostile_mails import MAILS
from tests.mail.inbound.replying import TO, bounce, mail
from tests.mail.inbound.test_reader import LITTLE_MEMORY

MINUTE = timedelta(minutes=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(db, tmp_path)
    ctx.reply_domain, ctx.installation_id = "in.example.com", "0badcafe"
    add_lead(ctx, title="Head of stock", email="mia@people.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    return ctx


@pytest.fixture
def small(ctx: AppContext) -> Iterator[None]:
    """Give the context a reader with a memory limit that four megabytes exceed."""
    ctx.mail_reader = MailReader(memory=LITTLE_MEMORY)
    yield
    ctx.mail_reader.close()


@dataclass
class FakeInbox:
    """A mailbox whose mails are numbered from 1."""

    mails: Sequence[bytes]
    name: str = "box"
    uid_validity: int = 1

    @contextmanager
    def open_folder(self) -> Iterator[FakeInbox]:
        yield self

    def list_uids_after(self, uid: int) -> list[int]:
        return [number for number in range(1, len(self.mails) + 1) if number > uid]

    def fetch(self, uids: Sequence[int]) -> list[tuple[int, RawMail]]:
        return [(uid, RawMail({"email": self.mails[uid - 1]})) for uid in uids]


def set_inbox(ctx: AppContext, *mails: bytes) -> None:
    ctx.inbox = FakeInbox(mails)  # type: ignore[assignment]


def stored(ctx: AppContext) -> list[Any]:
    return rows(ctx, "SELECT attempts, error FROM inbound_mail ORDER BY id")


def hostile_to(to: str, name: str = "one line") -> bytes:
    """Return a mail that takes more memory than `small` has."""
    return MAILS[name]().replace(TO.encode(), to.encode())


class CountingReader:
    """Counts the mails that it is given; it *refuses* them as a process does that needs too much memory."""

    pid = None

    def __init__(self, real: MailReader, *, refuses: bool = False) -> None:
        self.count, self._real, self._refuses = 0, real, refuses

    def read(self, one: RawMail, today: date) -> ClassifiedMail:
        self.count += 1
        if self._refuses:
            raise UnreadableMail("the reader process ended (killed)")
        return self._real.read(one, today)


def count_reads(ctx: AppContext, *, refuses: bool = False) -> CountingReader:
    counting = CountingReader(ctx.mail_reader, refuses=refuses)
    ctx.mail_reader = counting  # type: ignore[assignment]
    return counting


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (mail("Call me", to="x@in.example.com", sender="Somebody <a@stranger.example>"), 0),
        (mail("Call me", to=TO, sender="a@stranger.example"), 0),
        (mail("Call me", to="x@in.example.com", sender="MIA@people.example"), 1),
        (mail("Call me", sender="a@stranger.example", In_Reply_To="<touch.1.0badcafe@house.example>"), 1),
        (mail("Call me", sender="a@stranger.example", References="<x@y> <touch.1.0badcafe@house.example>"), 1),
        (mail("Call me", sender="a@stranger.example", References="<touch.1.0badcaff@house.example>"), 0),
        (bounce("mia@people.example"), 0),
        (b"", 0),
    ],
    ids=[
        "a stranger",
        "a token that nobody made",
        "a lead",
        "an answer",
        "a thread",
        "another's thread",
        "a report",
        "nothing",
    ],
)
def test_only_mail_that_may_concern_us_is_read(ctx: AppContext, raw: bytes, read: int) -> None:
    reader = count_reads(ctx)
    set_inbox(ctx, raw)
    assert replies.poll_inbox(ctx, NOW) == (1, 0, 0)
    assert reader.count == read
    assert stored(ctx) == []
    assert rows(ctx, "SELECT last_uid FROM mailbox_cursor") == [(1,)]


def test_a_report_of_our_mail_is_read(ctx: AppContext, tmp_path: Path) -> None:
    token = reply_address(ctx, tmp_path).partition("@")[0].removeprefix("reply+")
    set_inbox(ctx, bounce("mia@people.example", token=token))
    assert replies.poll_inbox(ctx, NOW) == (1, 1, 1)


@pytest.mark.usefixtures("small")
def test_an_unreadable_mail_is_marked_failed_after_two_tries_and_stops_no_other(
    ctx: AppContext, tmp_path: Path
) -> None:
    to = reply_address(ctx, tmp_path)
    set_inbox(ctx, hostile_to(to), mail("Call me", to=to, number="2"), mail("Call us", to=to, number="3"))
    assert replies.poll_inbox(ctx, NOW) == (3, 2, 2)
    ((attempts, error),) = stored(ctx)
    assert attempts == 2
    assert "memory" in error or "ended" in error
    assert rows(ctx, "SELECT last_uid FROM mailbox_cursor") == [(3,)]
    assert replies.poll_inbox(ctx, NOW + HOUR) == (0, 0, 0)


def test_failed_mails_are_listed_with_their_reason_and_can_be_retried(ctx: AppContext, tmp_path: Path) -> None:
    reader = ctx.mail_reader
    count_reads(ctx, refuses=True)
    set_inbox(ctx, hostile_to(reply_address(ctx, tmp_path)))
    replies.poll_inbox(ctx, NOW)
    (one,) = engagement_inbound_mail.list_failed(ctx, 5)
    assert (one.source, one.received_at, one.lead_id) == ("imap", NOW, 1)
    ctx.mail_reader = reader
    assert engagement_inbound_mail.retry_failed(ctx) == 1
    assert replies.poll_inbox(ctx, NOW + HOUR) == (0, 1, 1)
    assert stored(ctx) == []


def test_failed_mails_are_stored_until_their_retention_ends(ctx: AppContext, tmp_path: Path) -> None:
    count_reads(ctx, refuses=True)
    set_inbox(ctx, hostile_to(reply_address(ctx, tmp_path)))
    replies.poll_inbox(ctx, NOW)
    replies.poll_inbox(ctx, NOW + engagement_inbound_mail.RETENTION)
    assert len(stored(ctx)) == 1
    replies.poll_inbox(ctx, NOW + engagement_inbound_mail.RETENTION + HOUR)
    assert stored(ctx) == []


def test_the_number_of_failed_mails_is_limited(ctx: AppContext) -> None:
    with ctx.database.write() as tx:
        some = [
            inbound_mail_queries.NewMail("imap", NOW, None, "", b"{}")
            for _ in range(inbound_mail_queries.MAX_FAILED + 5)
        ]
        inbound_mail_queries.store(tx, some)
        ids = [row[0] for row in tx.execute(inbound_mail_queries.inbound.select())]
        inbound_mail_queries.mark_failed(tx, dict.fromkeys(ids, "why"))
    assert len(stored(ctx)) == inbound_mail_queries.MAX_FAILED


def test_erasure_deletes_stored_mails_too(ctx: AppContext, tmp_path: Path) -> None:
    count_reads(ctx, refuses=True)
    to = reply_address(ctx, tmp_path)
    set_inbox(
        ctx,
        hostile_to(to),
        hostile_to("x@in.example.com"),
        hostile_to(to).replace(b"mia@people.example", b"kim@people.example"),
        hostile_to("x@in.example.com").replace(b"From: Mia", b"In-Reply-To: <1.0badcafe@h>\r\nFrom: Mia"),
    )
    replies.poll_inbox(ctx, NOW)
    assert len(stored(ctx)) == 4
    erase.erase_person(ctx, "mia@people.example", NOW + HOUR)
    assert stored(ctx) == []
    assert "mia@" not in str(all_rows(ctx)).lower()


def test_pending_mail_is_read_before_another_lead_is_erased(ctx: AppContext, tmp_path: Path) -> None:
    other = add_lead(ctx, title="Head", email="kim@people.example")
    raw = RawMail({"email": mail("Call me", to=reply_address(ctx, tmp_path))})
    assert replies.receive(ctx, "sendgrid", [raw], NOW) == 1
    erase.erase_person(ctx, str(other), NOW + HOUR)
    assert rows(ctx, "SELECT text FROM reply") == [("Call me",)]


def test_a_mail_that_breaks_when_it_is_applied_lets_the_others_in(ctx: AppContext, tmp_path: Path) -> None:
    """Check that a failed batch is retried mail by mail; what fails alone is set aside with its error type."""

    class Odd:
        pid = None
        real = ctx.mail_reader

        def read(self, one: RawMail, today: date) -> ClassifiedMail:
            found = self.real.read(one, today)
            return found if found.text != "odd" else _bent(found)

    to = reply_address(ctx, tmp_path)
    ctx.mail_reader = Odd()  # type: ignore[assignment]
    set_inbox(ctx, *(mail(words, to=to, number=words) for words in ("one", "odd", "two")))
    assert replies.poll_inbox(ctx, NOW).new == 2
    ((attempts, error),) = stored(ctx)
    assert (attempts, error) == (2, "TypeError")
    ctx.mail_reader = Odd.real


def _bent(found: ClassifiedMail) -> ClassifiedMail:
    """Return a malformed reply, as no sender is expected to make one."""
    broken = BounceReport(recipients=None, is_hard=True, event_type=DeliveryEventType.UNKNOWN)  # type: ignore[arg-type]
    return ClassifiedMail(
        **{name: getattr(found, name) for name in found.__slots__} | {"bounce_report": broken, "sent_at": 5}
    )  # type: ignore[arg-type]


def test_an_outage_while_mail_is_applied_does_not_count_as_an_attempt(ctx: AppContext, tmp_path: Path) -> None:
    class Gone(Exception):
        pass

    class Out:
        real = ctx.mail_reader

        def read(self, one: RawMail, today: date) -> ClassifiedMail:
            found = self.real.read(one, today)
            object.__setattr__(found, "tokens", _Raises(Gone()))
            return found

    raw = RawMail({"email": mail("Call me", to=reply_address(ctx, tmp_path))})
    replies.receive(ctx, "sendgrid", [raw], NOW)
    ctx.mail_reader = Out()  # type: ignore[assignment]
    for _ in range(4):
        with pytest.raises(Gone):
            replies.poll_inbox(ctx, NOW)
    ctx.mail_reader = Out.real
    assert stored(ctx) == [(0, None)]
    assert replies.poll_inbox(ctx, NOW).new == 1


@dataclass
class _Raises:
    error: Exception

    def __iter__(self) -> Iterator[str]:
        raise self.error


@dataclass
class Deadly:
    """Reads like others, and kills its own process at a mail that says so."""

    real: MailReader = field(default_factory=MailReader)

    def read(self, one: RawMail, today: date) -> ClassifiedMail:
        if b"die" in one.fields["email"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.real.read(one, today)


def _poll(url: str, folder: Path, mails: list[bytes], now: datetime) -> None:
    database = Database(url)
    ctx = AppContext(database, MaildirProvider(folder))
    ctx.mail_reader = Deadly()  # type: ignore[assignment]
    set_inbox(ctx, *mails)
    replies.poll_inbox(ctx, now)


def test_a_mail_that_kills_its_reader_is_set_aside_and_the_others_are_read(ctx: AppContext, tmp_path: Path) -> None:
    to = reply_address(ctx, tmp_path)
    mails = [mail("die", to=to, number="0"), *(mail(f"Call {n}", to=to, number=str(n)) for n in (1, 2))]
    url = ctx.database.url.render_as_string(hide_password=False)
    codes = []
    for run in range(3):
        worker = multiprocessing.get_context("spawn").Process(
            target=_poll, args=(url, tmp_path / "worker", mails, NOW + run * 10 * MINUTE)
        )
        worker.start()
        worker.join(120)
        codes.append(worker.exitcode)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert rows(ctx, "SELECT text FROM reply ORDER BY text") == [("Call 1",), ("Call 2",)]
    assert [attempts for attempts, _ in stored(ctx)] == [2]
    assert "killed each time" in stored(ctx)[0][1]
    assert rows(ctx, "SELECT last_uid FROM mailbox_cursor") == [(3,)]


def test_mail_leased_by_another_worker_is_not_read_before_the_lease_ends(ctx: AppContext, tmp_path: Path) -> None:
    raw = RawMail({"email": mail("Call me", to=reply_address(ctx, tmp_path))})
    replies.receive(ctx, "sendgrid", [raw], NOW)
    assert len(engagement_inbound_mail.claim(ctx, NOW)) == 1
    assert replies.poll_inbox(ctx, NOW + MINUTE) == (0, 0, 0)
    assert replies.poll_inbox(ctx, NOW + 6 * MINUTE) == (0, 1, 1)


def test_a_lease_from_a_fast_clock_does_not_block(ctx: AppContext, tmp_path: Path) -> None:
    raw = RawMail({"email": mail("Call me", to=reply_address(ctx, tmp_path))})
    replies.receive(ctx, "sendgrid", [raw], NOW)
    engagement_inbound_mail.claim(ctx, NOW + DAY)
    assert replies.poll_inbox(ctx, NOW + MINUTE) == (0, 1, 1)


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(
    db: Database, ctx: AppContext, tmp_path: Path
) -> None:
    to = reply_address(ctx, tmp_path)

    def cost(count: int, first: int) -> int:
        set_inbox(ctx, *(mail("I read it with care today", to=to, number=f"{first}-{n}") for n in range(count)))
        ctx.inbox.name = str(first)  # type: ignore[misc, union-attr]
        with recorded_statements(db) as statements:
            assert replies.poll_inbox(ctx, NOW).new == count
        return len(statements)

    cost(1, 0)  # the first one also loads what is kept
    assert cost(15, 2) <= cost(2, 1)


def test_a_run_without_mail_queries_once(db: Database, ctx: AppContext) -> None:
    with recorded_statements(db) as statements:
        replies.poll_inbox(ctx, NOW)
    assert len([one for one in statements if "inbound_mail" in one]) == 1


def test_too_much_pending_mail_is_rejected_and_the_cursor_stays(ctx: AppContext, tmp_path: Path) -> None:
    raw = mail("Call me", to=reply_address(ctx, tmp_path))
    with ctx.database.write() as tx:
        one = inbound_mail_queries.NewMail("imap", NOW, None, "", RawMail({"email": raw}).pack())
        row = one._asdict() | {
            "size": engagement_inbound_mail.MAX_PENDING_BYTES + 1,
            "attempts": 0,
            "last_attempt_at": NOW,
        }
        tx.execute(insert(inbound_mail_queries.inbound), [row])
    with pytest.raises(engagement_inbound_mail.InboxFull):
        replies.receive(ctx, "sendgrid", [RawMail({"email": raw})], NOW)
    set_inbox(ctx, raw)
    assert replies.poll_inbox(ctx, NOW) == (0, 0, 0)
    assert rows(ctx, "SELECT count(*) FROM mailbox_cursor") == [(0,)]
    assert replies.poll_inbox(ctx, NOW + HOUR) == (0, 1, 1)
    assert replies.poll_inbox(ctx, NOW + HOUR) == (1, 1, 0)
