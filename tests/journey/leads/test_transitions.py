"""The moves from custodian to custodian: what every one of them leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.planning.program import Destination, ToClosed, ToQueue, ToTrack
from nurture.journey.leads import snapshot
from nurture.journey.leads.snapshot import Claimed
from nurture.journey.leads.transitions import LOOK_AGAIN_AFTER, Mover
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import custody, due_at, rows

HOUR = timedelta(hours=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


@contextmanager
def _moving(house: House, lead: int) -> Iterator[tuple[Mover, Claimed]]:
    now = START + HOUR
    with house.database.write() as connection:
        found = snapshot.these(house.database, connection, [lead])
        claimed = snapshot.views(house.database, connection, found, now, house.holidays)[0]
        mover = Mover(house.rulebooks.current(connection), now, "test")
        yield mover, claimed
        mover.changes.write(house.database, connection, now)


@pytest.mark.parametrize(
    ("to", "kept"),
    [
        (ToTrack("keep"), ("track", "keep")),
        (ToTrack("gone"), ("queue", "no-track")),
        (ToQueue("call"), ("queue", "call")),
        (ToClosed(Closing.LOST, "no"), ("closed", "lost")),
    ],
)
def test_every_move_ends_the_stay_and_is_written_with_its_because(
    house: House, to: Destination, kept: tuple[str, str]
) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    with _moving(house, lead) as (mover, claimed):
        mover.send_to(claimed, to, "because I say so")
    assert custody(house, lead) == kept
    assert (due_at(house, lead) is None) == (kept[0] == "closed")
    wanted = "SELECT custody_from, custody_to, ref, because FROM journal ORDER BY id DESC LIMIT 1"
    ((origin, target, ref, because),) = rows(house, wanted)
    assert (origin, target, ref) == ("track", *kept)
    assert because.startswith("because I say so")
    ended = rows(house, "SELECT track FROM enrollment WHERE ended_at IS NOT NULL")
    assert ended == [("welcome",)]


def test_a_queue_is_looked_at_again_and_peace_is_kept(house: House) -> None:
    queued, left_alone = add_lead(house, title="Head"), add_lead(house, title="Head")
    tick_at(house, START)
    with _moving(house, queued) as (mover, claimed):
        mover.send_to(claimed, ToQueue("call"), "why")
    until = START + timedelta(days=30)
    with _moving(house, left_alone) as (mover, claimed):
        mover.send_to(claimed, ToTrack("keep"), "why", peace_until=until)
    assert due_at(house, queued) == START + HOUR + LOOK_AGAIN_AFTER
    assert due_at(house, left_alone) == until


def test_since_changes_only_with_the_custodian(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    before = rows(house, "SELECT since FROM custody")
    tick_at(house, START + HOUR)
    assert rows(house, "SELECT since FROM custody") == before
    with _moving(house, lead) as (mover, claimed):
        mover.send_to(claimed, ToQueue("call"), "why")
    assert rows(house, "SELECT since FROM custody") != before
