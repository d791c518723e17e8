"""A database has one clock mode, and records its newest time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from nurture.db.clock_row import TOLERANCE, Mode, advance_to, bind_mode, read_mode, read_virtual_now
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.errors import ClockWentBackwards, InvalidState

NOON = datetime(2025, 3, 30, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def advance(db: Database, now: datetime) -> None:
    with db.write() as tx:
        advance_to(tx, now)


def test_a_new_database_has_no_clock_mode_until_something_runs_in_it(db: Database) -> None:
    assert read_mode(db) is None
    with pytest.raises(InvalidState, match="nurture init"):
        advance(db, NOON)
    bind_mode(db, "live", NOON)
    assert read_mode(db) == "live"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("live", "virtual", "is live: its emails go to real people.*NURTURE_DATABASE_URL"),
        ("virtual", "live", "has a virtual clock: a demo.*NURTURE_DATABASE_URL"),
    ],
)
def test_a_database_refuses_the_other_clock_mode(db: Database, first: Mode, second: Mode, said: str) -> None:
    bind_mode(db, first, NOON)
    with pytest.raises(InvalidState, match=said) as refused:
        bind_mode(db, second, NOON + SECOND)
    assert db.name in str(refused.value)
    assert read_mode(db) == first


def test_binding_again_in_the_same_mode_changes_only_the_time(db: Database) -> None:
    bind_mode(db, "virtual", NOON)
    bind_mode(db, "virtual", NOON + SECOND)
    assert read_virtual_now(db) == NOON + SECOND


def test_virtual_time_is_remembered_exactly_and_never_goes_back(db: Database) -> None:
    bind_mode(db, "virtual", NOON)
    advance(db, NOON + timedelta(microseconds=1))
    assert read_virtual_now(db) == NOON + timedelta(microseconds=1)
    with pytest.raises(ClockWentBackwards, match="before the newest time in this database, 2025-03-30 12:00:00"):
        advance(db, NOON)
    assert read_virtual_now(db) == NOON + timedelta(microseconds=1)


def test_a_live_clock_may_be_corrected_a_little_but_not_set_back(db: Database) -> None:
    bind_mode(db, "live", NOON)
    advance(db, NOON - TOLERANCE)
    with pytest.raises(ClockWentBackwards, match="Correct the system clock and try again"):
        advance(db, NOON - TOLERANCE - SECOND)
    advance(db, NOON + timedelta(hours=1))
    with pytest.raises(ClockWentBackwards):
        bind_mode(db, "live", NOON)


def test_small_corrections_do_not_add_up(db: Database) -> None:
    bind_mode(db, "live", NOON)
    advance(db, NOON - timedelta(minutes=4))
    with pytest.raises(ClockWentBackwards):
        advance(db, NOON - timedelta(minutes=8))


def test_work_at_a_time_before_the_newest_is_rolled_back(db: Database) -> None:
    bind_mode(db, "live", NOON)

    def import_yesterday() -> None:
        with db.write() as tx:
            tx.execute(insert(metadata.tables["address"]).values(email="a@example.com", normalized="a"))
            advance_to(tx, NOON - timedelta(days=1))

    with pytest.raises(ClockWentBackwards):
        import_yesterday()
    with db.read() as tx:
        assert tx.execute(select(metadata.tables["address"])).all() == []


def test_a_live_database_has_no_virtual_now(db: Database) -> None:
    with pytest.raises(InvalidState, match="no virtual clock"):
        read_virtual_now(db)
    bind_mode(db, "live", NOON)
    with pytest.raises(InvalidState, match="no virtual clock"):
        read_virtual_now(db)
