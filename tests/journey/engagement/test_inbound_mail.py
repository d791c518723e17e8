"""Mail is stored before it is read, and one that nobody can read stops no other."""

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
from nurture.domain.delivery.delivery_status import Told
from nurture.journey.engagement import inbound_mail as engagement_inbound_mail
from nurture.journey.engagement import inbound_mail_queries, replies
from nurture.journey.erasure import erase
from nurture.mail.inbound.bounce_report import Bounced
from nurture.mail.inbound.classify import Reply
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import MailReader
from nurture.mail.providers.maildir import Mailbox
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, reply_address
from tests.journey.observe import counted, everything, rows
from tests.mail.inbound.hostile_mails import MAILS
from tests.mail.inbound.replying import TO, bounce, mail

MINUTE = timedelta(minutes=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> Iterator[House]:
    house = make_house(db, tmp_path)
    house.reply_domain, house.origin = "in.example.com", "0badcafe"
    house.mail_reader = MailReader()
    add_lead(house, title="Head of stock", email="mia@people.example")
    tick_at(house, START, START + 2 * HOUR, SENT)
    yield house
    house.mail_reader.close()


@dataclass
class Box:
    """A mailbox of mails that were numbered from 1 on."""

    mails: Sequence[bytes]
    name: str = "box"
    uid_validity: int = 1

    @contextmanager
    def opened(self) -> Iterator[Box]:
        yield self

    def newer_than(self, uid: int) -> list[int]:
        return [number for number in range(1, len(self.mails) + 1) if number > uid]

    def fetch(self, uids: Sequence[int]) -> list[tuple[int, RawMail]]:
        return [(uid, RawMail({"email": self.mails[uid - 1]})) for uid in uids]


def put(house: House, *mails: bytes) -> None:
    house.inbox = Box(mails)  # type: ignore[assignment]


def stored(house: House) -> list[Any]:
    return rows(house, "SELECT attempts, fault FROM inbound_mail ORDER BY id")


def hostile_to(to: str, name: str = "one line") -> bytes:
    """Return a mail that takes more memory than `small` has."""
    return MAILS[name]().replace(TO.encode(), to.encode())


def small(house: House) -> None:
    """Give the house a reader that four megabytes exceed."""
    house.mail_reader.close()
    house.mail_reader = MailReader(memory=6 * 1024 * 1024)


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (mail("Call me", to="x@in.example.com", sender="Somebody <a@stranger.example>"), 0),
        (mail("Call me", to=TO, sender="a@stranger.example"), 0),
        (mail("Call me", to="x@in.example.com", sender="MIA@people.example"), 1),
        (mail("Call me", sender="a@stranger.example", In_Reply_To="<touch.1.0badcafe@house.example>"), 1),
        (
            mail("Call me", sender="a@stranger.example", References="<x@y> <touch.1.0badcafe@house.example>"),
            1,
        ),
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
def test_only_mail_that_may_concern_us_is_read(house: House, raw: bytes, read: int) -> None:
    put(house, raw)
    assert replies.poll(house, NOW) == (1, 0, 0)
    assert (house.mail_reader.pid is not None) == bool(read)
    assert stored(house) == []
    assert rows(house, "SELECT last_uid FROM inbox") == [(1,)]


def test_a_report_of_our_mail_is_read(house: House, tmp_path: Path) -> None:
    token = reply_address(house, tmp_path).partition("@")[0].removeprefix("reply+")
    put(house, bounce("mia@people.example", token=token))
    assert replies.poll(house, NOW) == (1, 1, 1)


def test_a_mail_that_cannot_be_read_is_set_aside_after_two_tries_and_stops_no_other(
    house: House, tmp_path: Path
) -> None:
    small(house)
    to = reply_address(house, tmp_path)
    put(house, hostile_to(to), mail("Call me", to=to, number="2"), mail("Call us", to=to, number="3"))
    assert replies.poll(house, NOW) == (3, 2, 2)
    ((attempts, fault),) = stored(house)
    assert attempts == 2
    assert "memory" in fault or "ended" in fault
    assert rows(house, "SELECT last_uid FROM inbox") == [(3,)]
    assert replies.poll(house, NOW + HOUR) == (0, 0, 0)


def test_who_looks_finds_out_why_and_may_have_it_tried_again(house: House, tmp_path: Path) -> None:
    small(house)
    put(house, hostile_to(reply_address(house, tmp_path)))
    replies.poll(house, NOW)
    (one,) = engagement_inbound_mail.list_set_aside(house, 5)
    assert (one.source, one.received_at, one.lead_id) == ("imap", NOW, 1)
    house.mail_reader.close()
    house.mail_reader = MailReader()
    assert engagement_inbound_mail.retry(house) == 1
    assert replies.poll(house, NOW + HOUR) == (0, 1, 1)
    assert stored(house) == []


def test_what_was_set_aside_is_kept_for_so_long(house: House, tmp_path: Path) -> None:
    small(house)
    put(house, hostile_to(reply_address(house, tmp_path)))
    replies.poll(house, NOW)
    replies.poll(house, NOW + engagement_inbound_mail.KEPT_FOR)
    assert len(stored(house)) == 1
    replies.poll(house, NOW + engagement_inbound_mail.KEPT_FOR + HOUR)
    assert stored(house) == []


def test_only_so_many_are_set_aside(house: House) -> None:
    with house.database.write() as connection:
        some = [
            inbound_mail_queries.Came("imap", NOW, None, "", b"{}")
            for _ in range(inbound_mail_queries.MOST_SET_ASIDE + 5)
        ]
        inbound_mail_queries.store(connection, some)
        ids = [row[0] for row in connection.execute(inbound_mail_queries.inbound.select())]
        inbound_mail_queries.set_aside(house.database, connection, dict.fromkeys(ids, "why"))
    assert len(stored(house)) == inbound_mail_queries.MOST_SET_ASIDE


def test_what_is_forgotten_is_forgotten_here_too(house: House, tmp_path: Path) -> None:
    small(house)
    to = reply_address(house, tmp_path)
    put(
        house,
        hostile_to(to),
        hostile_to("x@in.example.com"),
        hostile_to(to).replace(b"mia@people.example", b"kim@people.example"),
        hostile_to("x@in.example.com").replace(b"From: Mia", b"In-Reply-To: <1.0badcafe@h>\r\nFrom: Mia"),
    )
    replies.poll(house, NOW)
    assert len(stored(house)) == 4
    erase.forget(house, "mia@people.example", NOW + HOUR)
    assert stored(house) == []
    assert "mia@" not in str(everything(house)).lower()


def test_mail_that_waits_is_read_before_its_lead_is_forgotten(house: House, tmp_path: Path) -> None:
    other = add_lead(house, title="Head", email="kim@people.example")
    raw = RawMail({"email": mail("Call me", to=reply_address(house, tmp_path))})
    assert replies.receive(house, "sendgrid", [raw], NOW) == 1
    erase.forget(house, str(other), NOW + HOUR)
    assert rows(house, "SELECT text FROM reply") == [("Call me",)]


def test_a_mail_that_breaks_when_it_is_applied_lets_the_others_in(house: House, tmp_path: Path) -> None:
    """A batch that fails is taken one by one; what fails alone is set aside with the type of its fault."""

    class Odd:
        pid = None
        real = house.mail_reader

        def read(self, one: RawMail, today: date) -> Reply:
            found = self.real.read(one, today)
            return found if found.text != "odd" else _bent(found)

    to = reply_address(house, tmp_path)
    house.mail_reader = Odd()  # type: ignore[assignment]
    put(house, *(mail(said, to=to, number=said) for said in ("one", "odd", "two")))
    assert replies.poll(house, NOW).new == 2
    ((attempts, fault),) = stored(house)
    assert (attempts, fault) == (2, "TypeError")
    house.mail_reader = Odd.real


def _bent(found: Reply) -> Reply:
    """Return a reply that is bent, as a mail that nobody foresaw might make one."""
    broken = Bounced(recipients=None, hard=True, told=Told.UNKNOWN)  # type: ignore[arg-type]
    return Reply(
        **{name: getattr(found, name) for name in found.__slots__} | {"report": broken, "sent_at": 5}
    )  # type: ignore[arg-type]


def test_an_outage_while_mail_is_applied_is_no_fault_of_the_mail(house: House, tmp_path: Path) -> None:
    class Gone(Exception):
        pass

    class Out:
        real = house.mail_reader

        def read(self, one: RawMail, today: date) -> Reply:
            found = self.real.read(one, today)
            object.__setattr__(found, "tokens", _Raises(Gone()))
            return found

    raw = RawMail({"email": mail("Call me", to=reply_address(house, tmp_path))})
    replies.receive(house, "sendgrid", [raw], NOW)
    house.mail_reader = Out()  # type: ignore[assignment]
    for _ in range(4):
        with pytest.raises(Gone):
            replies.poll(house, NOW)
    house.mail_reader = Out.real
    assert stored(house) == [(0, None)]
    assert replies.poll(house, NOW).new == 1


@dataclass
class _Raises:
    error: Exception

    def __iter__(self) -> Iterator[str]:
        raise self.error


@dataclass
class Deadly:
    """Reads like others, and ends its own process, the whole of it, at a mail that says so."""

    real: MailReader = field(default_factory=MailReader)

    def read(self, one: RawMail, today: date) -> Reply:
        if b"die" in one.fields["email"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.real.read(one, today)


def _poll(url: str, folder: Path, mails: list[bytes], now: datetime) -> None:
    database = Database(url)
    house = House(database, Mailbox(folder))
    house.mail_reader = Deadly()  # type: ignore[assignment]
    put(house, *mails)
    replies.poll(house, now)


def test_a_worker_that_is_killed_at_a_mail_reads_the_others_and_passes_it(
    house: House, tmp_path: Path
) -> None:
    to = reply_address(house, tmp_path)
    mails = [mail("die", to=to, number="0"), *(mail(f"Call {n}", to=to, number=str(n)) for n in (1, 2))]
    url = house.database.url.render_as_string(hide_password=False)
    codes = []
    for run in range(3):
        worker = multiprocessing.get_context("spawn").Process(
            target=_poll, args=(url, tmp_path / "worker", mails, NOW + run * 10 * MINUTE)
        )
        worker.start()
        worker.join(120)
        codes.append(worker.exitcode)
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert rows(house, "SELECT text FROM reply ORDER BY text") == [("Call 1",), ("Call 2",)]
    assert [attempts for attempts, _ in stored(house)] == [2]
    assert "ended each time" in stored(house)[0][1]
    assert rows(house, "SELECT last_uid FROM inbox") == [(3,)]


def test_what_another_worker_reads_is_left_to_it_until_its_lease_ends(house: House, tmp_path: Path) -> None:
    raw = RawMail({"email": mail("Call me", to=reply_address(house, tmp_path))})
    replies.receive(house, "sendgrid", [raw], NOW)
    assert len(engagement_inbound_mail.claim(house, NOW)) == 1
    assert replies.poll(house, NOW + MINUTE) == (0, 0, 0)
    assert replies.poll(house, NOW + 6 * MINUTE) == (0, 1, 1)


def test_a_lease_of_a_clock_that_was_fast_holds_nobody_up(house: House, tmp_path: Path) -> None:
    raw = RawMail({"email": mail("Call me", to=reply_address(house, tmp_path))})
    replies.receive(house, "sendgrid", [raw], NOW)
    engagement_inbound_mail.claim(house, NOW + DAY)
    assert replies.poll(house, NOW + MINUTE) == (0, 1, 1)


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(
    db: Database, house: House, tmp_path: Path
) -> None:
    to = reply_address(house, tmp_path)

    def cost(count: int, first: int) -> int:
        put(house, *(mail("x", to=to, number=f"{first}-{n}") for n in range(count)))
        house.inbox.name = str(first)  # type: ignore[misc, union-attr]
        with counted(db) as told:
            assert replies.poll(house, NOW).new == count
        return len(told)

    assert cost(15, 2) <= cost(2, 1) + 2


def test_a_round_without_mail_asks_once(db: Database, house: House) -> None:
    with counted(db) as told:
        replies.poll(house, NOW)
    assert len([one for one in told if "inbound_mail" in one]) == 1


def test_too_much_that_waits_is_refused_and_the_mark_stays(house: House, tmp_path: Path) -> None:
    raw = mail("Call me", to=reply_address(house, tmp_path))
    with house.database.write() as connection:
        one = inbound_mail_queries.Came("imap", NOW, None, "", RawMail({"email": raw}).pack())
        row = one._asdict() | {
            "size": engagement_inbound_mail.MOST_WAITING + 1,
            "attempts": 0,
            "tried_at": NOW,
        }
        connection.execute(insert(inbound_mail_queries.inbound), [row])
    with pytest.raises(engagement_inbound_mail.InboxFull):
        replies.receive(house, "sendgrid", [RawMail({"email": raw})], NOW)
    put(house, raw)
    assert replies.poll(house, NOW) == (0, 0, 0)
    assert rows(house, "SELECT count(*) FROM inbox") == [(0,)]
    assert replies.poll(house, NOW + HOUR) == (0, 1, 1)
    assert replies.poll(house, NOW + HOUR) == (1, 1, 0)
