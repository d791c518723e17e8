"""The CRM learns of each hand-off once, in order, whatever it does to us."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.crm.base import Stage
from nurture.crm.csv_folder import CsvFolder
from nurture.db.engine import Database
from nurture.db.tables.core import Offer
from nurture.journey import run_once
from nurture.journey.crm_sync import push
from nurture.journey.delivery import circuit_breakers
from nurture.journey.erasure import erase
from nurture.journey.handoff import sweep
from nurture.journey.outcomes import close
from nurture.journey.tracks import manual
from nurture.outbox import crm_records
from nurture.runtime.context import House
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import START, add_lead, make_house

DAY = timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return replace(make_house(db, tmp_path), crm=ScriptedCrm())


@pytest.fixture
def crm(house: House) -> ScriptedCrm:
    assert isinstance(house.crm, ScriptedCrm)
    return house.crm


def offered(house: House, count: int = 1) -> list[int]:
    """Return leads that sales is offered now."""
    ids = [add_lead(house, demo_requested=True, first_name="Ana", company="Souza") for _ in range(count)]
    run_once.tick(replace(house, crm=None), START)
    return ids


def run(house: House, after: timedelta = timedelta()) -> dict[str, int]:
    return dict(push.hand_back(house, VirtualClock(START + after)))


def states(house: House) -> list[str]:
    with house.database.read() as connection:
        return list(connection.execute(text("SELECT state FROM crm_record ORDER BY id")).scalars())


def test_an_offer_is_told_once_and_its_acceptance_brings_the_owner(house: House, crm: ScriptedCrm) -> None:
    (lead_id,) = offered(house)
    assert run(house) == {"told": 1}
    assert run(house) == {}
    assert crm.told == [("nurture-handoff-1", "offered")]
    assert crm.held[f"nurture-lead-{lead_id}"].owner == ""
    sweep.accept(house, 1, START)
    assert states(house) == ["planned"]
    assert run(house) == {"told": 1}
    assert crm.told[1:] == [("nurture-handoff-1", "accepted")]
    assert crm.held[f"nurture-lead-{lead_id}"].owner in ("ana@house.example", "ben@house.example")


def test_without_a_crm_nothing_is_told_and_what_was_offered_meanwhile_is_told_later(
    house: House, crm: ScriptedCrm
) -> None:
    offered(house, 2)
    assert push.hand_back(replace(house, crm=None), VirtualClock(START)) == {}
    assert states(house) == ["planned", "planned"]
    assert run(house, DAY) == {"told": 2}
    assert [key for key, _ in crm.told] == ["nurture-handoff-1", "nurture-handoff-2"]


def test_a_doubt_is_settled_by_looking_it_up_and_never_by_hoping(house: House, crm: ScriptedCrm) -> None:
    offered(house, 2)
    crm.script = ["times out after", "times out before"]
    assert run(house) == {"in_doubt": 2}
    assert run(house) == {}, "the CRM gets a moment to finish what is on its way"
    assert run(house, 2 * push.DOUBT_RESTS) == {"found in the CRM": 1, "told": 1}
    assert sorted(crm.told) == [("nurture-handoff-1", "offered"), ("nurture-handoff-2", "offered")]
    assert states(house) == ["done", "done"]


def test_what_was_answered_while_a_doubt_lasted_is_told_after_it(house: House, crm: ScriptedCrm) -> None:
    offered(house)
    crm.script = ["times out after"]
    run(house)
    sweep.accept(house, 1, START)
    assert states(house) == ["in_doubt"]
    assert run(house, 2 * push.DOUBT_RESTS) == {"found in the CRM": 1, "told": 1}
    assert [stage for _, stage in crm.told] == ["offered", "accepted"]


def test_a_busy_crm_is_left_alone_until_it_said_and_then_tried_with_one(
    house: House, crm: ScriptedCrm
) -> None:
    offered(house, 4)
    crm.script = ["writes", "is busy"]
    assert run(house) == {"told": 1, "put off": 1, "braked": 1}
    assert run(house, timedelta(minutes=2)) == {}
    (brake,) = circuit_breakers.standing(house, START).brakes
    assert (brake.name, brake.reason) == ("scripted", "too many calls")
    assert run(house, timedelta(minutes=3)) == {"told": 3}
    assert circuit_breakers.standing(house, START).brakes == ()


def test_after_an_outage_everything_comes_in_the_order_of_hand_offs(house: House, crm: ScriptedCrm) -> None:
    (first, *_) = offered(house, 3)
    crm.script = ["is busy"] * 3
    for minutes in (0, 3, 6):
        run(house, timedelta(minutes=minutes))
    sweep.reject(house, 1, "please-check", START)
    close.close(house, first, manual.Closing.LOST, START, reason="gone")
    run(house, DAY)
    assert crm.told == [
        ("nurture-handoff-1", "rejected"),
        ("nurture-handoff-2", "offered"),
        ("nurture-handoff-3", "offered"),
    ]


def test_what_a_crm_refuses_stays_to_be_seen_and_stops_no_other(house: House, crm: ScriptedCrm) -> None:
    offered(house, 2)
    crm.script = ["refuses"]
    assert run(house) == {"refused": 1, "told": 1}
    with house.database.read() as connection:
        told = {one.state: one for one in crm_records.standing(connection)}
    assert told["refused"].reason == "a field is missing"
    with house.database.write() as connection:
        assert crm_records.adopt(connection, START, START) == 2
    assert run(house, DAY) == {"told": 2}


def test_calls_without_an_answer_put_the_brake_on(house: House, crm: ScriptedCrm) -> None:
    offered(house, 5)
    crm.script = ["times out before"] * 3
    assert run(house) == {"in_doubt": 3, "braked": 1}
    assert states(house) == ["in_doubt"] * 3 + ["planned"] * 2
    assert run(house, DAY) == {"told": 5}


def test_a_crm_that_cannot_even_be_asked_keeps_the_doubts(house: House, crm: ScriptedCrm) -> None:
    offered(house)
    crm.script = ["times out after", "down"]
    run(house)
    assert run(house, 2 * push.DOUBT_RESTS) == {"braked": 1}
    assert states(house) == ["in_doubt"]
    assert run(house, DAY) == {"found in the CRM": 1}


def test_the_intent_commits_with_the_offer_or_not_at_all(house: House) -> None:
    lead_id = add_lead(house, demo_requested=True)
    run_once.tick(replace(house, crm=None), START)
    with house.database.read() as connection:
        rows = connection.execute(text("SELECT key, offer_id, lead_id, wanted FROM crm_record")).all()
    assert [tuple(row) for row in rows] == [("handoff:1", 1, lead_id, "offered")]


def test_a_folder_gets_one_file_of_all_that_is_told_at_once(sqlite_db: Database, tmp_path: Path) -> None:
    house = replace(make_house(sqlite_db, tmp_path), crm=CsvFolder(tmp_path / "crm"))
    offered(house, 8)
    assert run(house) == {"told": 8}
    (file,) = (tmp_path / "crm" / "out").glob("*.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["nurture_handoff"] for row in rows] == [
        f"{house.origin or 'nurture'}-handoff-{n}" for n in range(1, 9)
    ]
    assert {row["nurture_status"] for row in rows} == {"offered"}
    assert rows[0]["company"] == "Souza"


def test_what_became_of_an_offer_is_told_whoever_changed_it(house: House, crm: ScriptedCrm) -> None:
    offered(house, 2)
    run(house)
    sweep.accept(house, 1, START)
    run(house)
    with house.database.write() as connection:
        connection.execute(text("UPDATE offer SET state = 'lapsed' WHERE id = 1"))
    assert run(house) == {"told": 1}
    assert crm.told[-1] == ("nurture-handoff-1", "lapsed")
    assert run(house) == {}


def test_of_who_was_forgotten_the_crm_is_told_nothing_more(house: House, crm: ScriptedCrm) -> None:
    (lead_id,) = offered(house)
    erase.forget(house, str(lead_id), START)
    run(house)
    assert crm.told == []
    assert states(house) == ["done"]


def test_every_state_of_an_offer_is_a_stage_that_a_crm_can_be_told() -> None:
    (check,) = [one for one in Offer.__table__.constraints if str(one.name).endswith("state")]  # type: ignore[attr-defined]
    assert {stage.value for stage in Stage} == set(re.findall(r"'(\w+)'", str(check.sqltext)))
