"""Visits are safe before their visitors go on, whatever the database and the disk do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey.engagement import click_spool
from nurture.journey.engagement.click_buffer import Guestbook
from nurture.journey.engagement.click_filtering import Visited
from nurture.mail.providers.maildir import Mailbox
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at

NOW = START + timedelta(hours=4)
GUIDE = "https://www.example.com/guide"


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    """A house whose one mail is out: message 1."""
    made = make_house(db, tmp_path)
    made.spool = tmp_path / "spool"
    add_lead(made, title="Head of planning")
    tick_at(made, START, START + timedelta(hours=2))
    return made


def visit(second: int = 0, message_id: int = 1) -> Visited:
    at = NOW + timedelta(seconds=second)
    return Visited(SignalKind.CLICKED, message_id, at, link=GUIDE, ip="0badcafe", agent="Mozilla/5.0 (X11)")


def clicks(house: House) -> list[int]:
    with house.database.read() as connection:
        wanted = text("SELECT count(*), count(applied_at) FROM signal WHERE kind = 'clicked'")
        return list(connection.execute(wanted).one())


def test_a_visit_is_committed_when_note_returns_and_applied_soon_after(house: House) -> None:
    book = Guestbook(house, VirtualClock(NOW), patience=30)
    book.note(visit())
    assert clicks(house)[0] == 1
    book.close()
    assert clicks(house) == [1, 1]


def test_many_visitors_at_once_are_each_written_once(house: House) -> None:
    book = Guestbook(house, VirtualClock(NOW), patience=30)
    with ThreadPoolExecutor(16) as visitors:
        list(visitors.map(book.note, [visit(second) for second in [*range(60), *range(60)]]))
    book.close()
    assert clicks(house) == [60, 60]
    assert not house.spool.exists()


def test_a_visit_that_is_both_in_a_file_and_in_the_database_counts_once(house: House) -> None:
    book = Guestbook(house, VirtualClock(NOW), patience=0)  # whoever cannot wait leaves a file
    for second in range(5):
        book.note(visit(second))
    book.close()
    assert clicks(house) == [5, 5]
    assert click_spool.waiting(house.spool) == []


def test_a_book_that_was_closed_opens_again(house: House) -> None:
    book = Guestbook(house, VirtualClock(NOW), patience=30)
    for second in range(3):
        book.note(visit(second))
        book.close()
    assert clicks(house) == [3, 3]


def test_a_visit_to_a_mail_that_is_gone_stops_no_other(house: House) -> None:
    book = Guestbook(house, VirtualClock(NOW), patience=30)
    book.note(visit(message_id=999_999))
    book.note(visit())
    book.close()
    assert clicks(house) == [1, 1]


def test_a_file_that_cannot_be_read_is_put_aside_and_stops_no_other(house: House) -> None:
    click_spool.put(house.spool, visit())
    (house.spool / "20260101T000000-x.json").write_text("half a fi")
    (house.spool / "20260101T000001-x.json").write_text("[1]")
    Guestbook(house, VirtualClock(NOW)).close()
    assert clicks(house) == [1, 1]
    assert click_spool.waiting(house.spool) == []
    assert len(list(house.spool.glob("*.bad"))) == 2


def test_a_file_is_for_nobody_else_to_read(house: House) -> None:
    click_spool.put(house.spool, visit())
    (file,) = click_spool.waiting(house.spool)
    assert file.stat().st_mode & 0o077 == 0
    assert house.spool.stat().st_mode & 0o077 == 0


def test_where_neither_database_nor_disk_takes_a_visit_that_is_said(
    empty_db: Database, tmp_path: Path
) -> None:
    house = House(empty_db, Mailbox(tmp_path / "mailbox"), spool=tmp_path / "spool-is-a-file")
    house.spool.write_text("")
    book = Guestbook(house, VirtualClock(NOW), patience=30)
    with pytest.raises(OSError, match="spool-is-a-file"):
        book.note(visit())
    book.close()
