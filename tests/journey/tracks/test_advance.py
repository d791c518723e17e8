"""Advancing: poison, races, and a journal that can be replayed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.db.types import Json, UtcDateTime
from nurture.domain.signals import SignalKind
from nurture.journey.handoff import sweep
from nurture.journey.leads import snapshot
from nurture.journey.leads.changeset import Changes, Custodied, Ended, Noted
from nurture.journey.leads.transitions import TRY_FAULTY_AGAIN_AFTER
from nurture.journey.tracks import advance, enroll, manual
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import (
    crowd,
    custody,
    due_at,
    events,
    everything,
    messages,
    one,
    rows,
    same_house,
    tell,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def test_a_lead_on_which_the_decision_fails_is_noted_and_stops_nobody(house: House) -> None:
    good, bad, also_good = (add_lead(house, title="Head") for _ in range(3))
    tick_at(house, START)
    write(house, "UPDATE lead SET zone = 'Mars/Olympus' WHERE id = :id", id=bad)
    tick_at(house, START + HOUR)
    assert [row[0] for row in messages(house)] == [good, also_good]
    assert events(house, bad)[-1] == "fault"
    ((because,),) = rows(house, "SELECT because FROM journal WHERE event = 'fault'")
    assert "Mars/Olympus" in because
    assert custody(house, bad) == ("track", "welcome")
    assert due_at(house, bad) == START + HOUR + TRY_FAULTY_AGAIN_AFTER


def test_a_mended_lead_goes_on_where_it_stood(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    write(house, "UPDATE lead SET zone = 'Mars/Olympus'")
    tick_at(house, START + HOUR)
    write(house, "UPDATE lead SET zone = 'UTC'")
    tick_at(house, START + HOUR + TRY_FAULTY_AGAIN_AFTER)
    assert [row[:3] for row in messages(house)] == [(lead, "01-hello", "accepted")]


def test_a_track_that_is_not_published_is_a_fault_of_its_leads_alone(house: House) -> None:
    lost, fine = add_lead(house, title="Head"), add_lead(house, title="Clerk")
    tick_at(house, START)
    write(house, "UPDATE enrollment SET track = 'gone' WHERE lead_id = :id", id=lost)
    write(house, "UPDATE custody SET ref = 'gone', version = version + 1 WHERE lead_id = :id", id=lost)
    tick_at(house, START + 12 * DAY)
    assert events(house, lost)[-1] == "fault"
    assert [row[0] for row in messages(house)] == [fine]


def _together(*work: Callable[[], Any]) -> list[Any]:
    """Run each on a thread of its own, as near at once as threads are; raise what they raise."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(each) for each in work]]


def test_workers_who_advance_the_same_leads_move_each_of_them_once(house: House) -> None:
    ids = crowd(house, 120, title="Head")
    tick_at(house, START)
    workers = [same_house(house) for _ in range(3)]
    for worker in workers:
        worker.batch = 10
    done = _together(*[lambda w=worker: advance.advance(w, START + HOUR) for worker in workers])
    assert sum(each.leads for each in done) == len(ids)
    assert sorted(row[0] for row in messages(house)) == ids
    assert one(house, "SELECT count(*) FROM journal WHERE event = 'touch'") == len(ids)
    for worker in workers:
        worker.database.close()


def test_workers_who_classify_the_same_leads_enrol_each_of_them_once(house: House) -> None:
    ids = crowd(house, 60, title="Head")
    workers = [same_house(house) for _ in range(3)]
    for worker in workers:
        worker.batch = 7
    _together(*[lambda w=worker: enroll.classify(w, START) for worker in workers])
    assert [row[0] for row in rows(house, "SELECT lead_id FROM enrollment ORDER BY lead_id")] == ids
    for worker in workers:
        worker.database.close()


def test_workers_who_hand_off_the_same_leads_offer_each_of_them_once(house: House) -> None:
    crowd(house, 8, demo_requested=True)
    enroll.classify(house, START)
    workers = [same_house(house) for _ in range(2)]
    for worker in workers:
        worker.batch = 2
    _together(*[lambda w=worker: sweep.hand_off(w, START) for worker in workers])
    assert one(house, "SELECT count(DISTINCT lead_id) FROM offer") == 8
    assert one(house, "SELECT count(*) FROM offer") == 8
    for worker in workers:
        worker.database.close()


def test_who_lost_the_race_for_a_lead_writes_nothing_at_all(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    before = everything(house)
    stale = one(house, "SELECT version FROM custody") - 1
    changes = Changes(
        custody=[Custodied(lead, stale, "closed", "won", START, "", None)],
        noted=[Noted(lead, START, "test", "closed", "late", custody_from="track", custody_to="closed")],
        ended=[Ended(lead, "won", START, None, "", "test", START)],
    )
    with house.database.write() as connection:
        assert changes.write(house.database, connection, START) == set()
    assert everything(house) == before


def test_a_sweep_steps_over_leads_that_another_worker_holds(postgres_db: Database, tmp_path: Path) -> None:
    house = make_house(postgres_db, tmp_path)
    held, free = add_lead(house, title="Head"), add_lead(house, title="Head")
    tick_at(house, START)
    other = same_house(house)
    with other.database.write() as connection:
        snapshot.these(other.database, connection, [held])
        assert advance.advance(house, START + HOUR).leads == 1
    assert [row[0] for row in messages(house)] == [free]
    other.database.close()


def test_decisions_in_the_journal_rebuild_where_every_stay_stands(house: House) -> None:
    heads = [add_lead(house, title="Head") for _ in range(3)]
    others = [add_lead(house, title="Clerk") for _ in range(2)]
    for hours in range(0, 24 * 40, 6):
        now = START + timedelta(hours=hours)
        tick_at(house, now)
        if hours == 48:
            tell(house, heads[0], SignalKind.CLICKED, now)
            for minutes in range(3):  # an offer for interest, which expires
                tell(house, heads[1], SignalKind.CLICKED, now + minutes * timedelta(minutes=1))
            manual.pause(house, others[0], now + 9 * DAY, now)
    stays = _stays(house)
    told = _replayed(house)
    assert len(stays) == 8  # each head on two tracks, the others on one
    assert {stay: told[stay] for stay in stays} == stays


def _stays(house: House) -> dict[int, tuple[str, int, datetime, datetime]]:
    wanted = text("SELECT id, step, visit, anchor_at, reached_at FROM enrollment").columns(
        anchor_at=UtcDateTime(), reached_at=UtcDateTime()
    )
    with house.database.read() as connection:
        return {row[0]: tuple(row[1:]) for row in connection.execute(wanted)}  # type: ignore[misc]


def _replayed(house: House) -> dict[int, tuple[str, int, datetime, datetime]]:
    """Return the last position that the journal's decisions give each stay.

    A decision that leaves for another track is noted with the new stay, so it closes the one before.
    """
    wanted = text(
        "SELECT lead_id, enrollment_id, detail FROM journal WHERE detail IS NOT NULL AND stage = 'advance' "
        "ORDER BY id"
    ).columns(detail=Json)
    found: dict[int, tuple[str, int, datetime, datetime]] = {}
    newest: dict[int, int] = defaultdict(int)
    with house.database.read() as connection:
        for lead_id, stay, detail in connection.execute(wanted):
            newest[lead_id] = stay or newest[lead_id]
            step, visit, anchor, reached = detail["position"]
            moments = (datetime.fromisoformat(anchor), datetime.fromisoformat(reached))
            found[newest[lead_id]] = (step, visit, *moments)
    return found


def test_a_stay_ends_where_its_last_decision_says(house: House) -> None:
    lead = add_lead(house, title="Head")
    for day in range(20):
        tick_at(house, START + HOUR + day * DAY)
    assert custody(house, lead) == ("track", "keep")
    assert rows(house, "SELECT step FROM enrollment WHERE ended_at IS NOT NULL") == [("finally",)]


def test_classification_passes_over_a_lead_whose_facts_cannot_be_compared(
    db: Database, tmp_path: Path
) -> None:
    rules = tiny_rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
        "when: {field: title, contains: [student]}", "when: {field: employees, at_most: 3}"
    )
    house = make_house(db, tmp_path, rules=rules)
    good, bad, also_good = (
        add_lead(house, title="Head", employees=40),
        add_lead(house, title="Head", employees=[40]),
        add_lead(house, title="Head", employees=40),
    )
    tick_at(house, START)
    assert custody(house, good) == custody(house, also_good) == ("track", "welcome")
    assert custody(house, bad) == ("intake", "test")
    assert events(house, bad)[-1] == "fault"
    assert due_at(house, bad) == START + TRY_FAULTY_AGAIN_AFTER
