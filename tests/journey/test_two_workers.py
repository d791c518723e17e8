"""Two workers on one lead at once, on PostgreSQL: nobody overwrites, nobody waits in a circle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.lead import Closing, Custodian
from nurture.journey.delivery import claim, send
from nurture.journey.intake.import_file import import_file
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads import snapshot
from nurture.journey.leads.transitions import Mover
from nurture.journey.outcomes import close
from nurture.journey.tracks import advance, enroll
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.intake.lead_files import row, saved
from tests.journey.observe import custody, one, rows

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def house(postgres_db: Database, tmp_path: Path) -> House:
    return make_house(postgres_db, tmp_path)


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as worker:
        yield worker


def let_wait(house: House, other: ThreadPoolExecutor, deed: Callable[[], object]) -> Future[object]:
    """Start *deed* beside us, and return once it waits for what we hold."""
    doing = other.submit(deed)
    until = time.monotonic() + 20
    while not one(house, _WAITING):
        assert not doing.done(), doing.result()
        assert time.monotonic() < until
        time.sleep(0.01)
    return doing


def test_a_lead_that_is_closed_while_a_sweep_enrols_it_leaves_its_new_track(
    house: House, other: ThreadPoolExecutor
) -> None:
    lead = add_lead(house, title="Head")
    database = house.database
    with database.write() as connection:
        found = snapshot.claim_due(database, connection, [Custodian.INTAKE], START, 10)
        mover = Mover(house.rulebooks.current(connection), START, "enrol")
        (claimed,) = snapshot.views(database, connection, found, START, house.holidays)
        enroll.place(claimed, mover, "fits")
        closing = let_wait(house, other, lambda: close.close(house, lead, Closing.WON, START))
        mover.changes.write(database, connection, START)
    closing.result(20)
    assert custody(house, lead) == ("closed", "won")
    assert rows(house, "SELECT end_reason FROM enrollment") == [("won",)]


def test_an_import_and_a_sweep_do_not_wait_for_each_other(
    house: House, other: ThreadPoolExecutor, tmp_path: Path
) -> None:
    lead = add_lead(house, email="ann@example.com", title="Head")
    path = saved(tmp_path, [row(Company="Acme")])
    database = house.database
    with database.write() as connection:
        snapshot.these(database, connection, [lead])
        coming: Future[Any] = let_wait(house, other, lambda: import_file(house, path, START))
        leads_queries.spend_evidence(database, connection, [lead], START)
    assert coming.result(20).updated == 1


def test_a_sender_waits_for_whoever_holds_its_lead_before_it_takes_the_message(
    house: House, other: ThreadPoolExecutor
) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    nine = START.replace(hour=9)
    advance.advance(house, nine)
    held = claim.claim_batch(house, nine, 10)
    database = house.database
    with database.write() as connection:
        snapshot.these(database, connection, [lead])
        sending = let_wait(house, other, lambda: send.send_claimed(house, held, VirtualClock(nine)))
        off = text("UPDATE message SET state = 'cancelled', lease_token = NULL WHERE lead_id = :id")
        connection.execute(text("SET LOCAL lock_timeout = '2s'"))
        connection.execute(off, {"id": lead})
    sending.result(20)
    assert rows(house, "SELECT state FROM message") == [("cancelled",)]
