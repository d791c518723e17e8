"""What sales does in the CRM comes back: told once, in our words, and never guessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.crm.base import Seen
from nurture.crm.csv_folder import CsvFolder
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey import run_once
from nurture.journey.crm_sync import drift, pull, push
from nurture.journey.crm_sync.pull import ReadBack
from nurture.journey.handoff import sweep
from nurture.journey.outcomes import outcomes
from nurture.mail.providers.maildir import Mailbox
from nurture.outbox import crm_records
from nurture.runtime.context import House
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import START, add_lead, make_house, tiny_rules
from tests.journey.observe import custody, events, rows, tell

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
WORDS = """
statuses:
  New: open
  Working: followed up
  Dead: lost
  Sold: won
  Later: {recycled: not-now}
"""


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    rules = tiny_rules() | {"sales/crm.yaml": WORDS}
    return replace(make_house(sqlite_db, tmp_path, rules=rules), crm=ScriptedCrm())


@pytest.fixture
def crm(house: House) -> ScriptedCrm:
    assert isinstance(house.crm, ScriptedCrm)
    return house.crm


@pytest.fixture
def lead(house: House) -> int:
    """A lead that a rep accepted at START, as the CRM knows."""
    lead_id = add_lead(house, demo_requested=True, email="ana@people.example")
    run_once.tick(house, START)
    sweep.accept(house, 1, START)
    push.hand_back(house, VirtualClock(START))
    return lead_id


def rep(house: House) -> str:
    return str(rows(house, "SELECT rep FROM offer")[0][0])


def see(
    house: House, lead_id: int, status: str = "New", *, after: timedelta = DAY, **more: object
) -> ReadBack:
    """Let the CRM tell of one more change, and read it."""
    crm = house.crm
    assert isinstance(crm, ScriptedCrm)
    key = push.person_key(house, lead_id)
    told = {"owner": f"{rep(house)}@house.example", **more}
    one = Seen(key, "1", START + after, "nurture-handoff-1", "accepted", status, **told)  # type: ignore[arg-type]
    crm.pages.append([one])
    crm.held[key] = one
    return pull.read_back(house, START + after + HOUR)


def test_a_status_that_says_so_is_the_first_touch_and_counts_once(house: House, lead: int) -> None:
    assert dict(see(house, lead).did) == {}
    assert dict(see(house, lead, "Working", after=2 * DAY).did) == {"status": 1, "followed up": 1}
    assert dict(see(house, lead, "Working", after=3 * DAY).did) == {}
    assert events(house, lead)[-2:] == ["crm_status", "followed_up"]
    assert rows(house, "SELECT followed_how FROM offer") == [("Working",)]


def test_a_status_from_before_the_hand_off_is_no_follow_up_but_a_logged_call_is(
    house: House, lead: int
) -> None:
    assert dict(see(house, lead, "Working").did) == {}
    assert dict(see(house, lead, "Working", after=2 * DAY, touched_at=START - DAY).did) == {}
    assert dict(see(house, lead, "Working", after=3 * DAY, touched_at=START + DAY).did) == {"followed up": 1}


def test_a_status_that_nobody_explained_is_told_and_changes_nothing(house: House, lead: int) -> None:
    see(house, lead)
    read = see(house, lead, "Parked", after=2 * DAY)
    assert dict(read.unknown) == {"Parked": 1}
    assert custody(house, lead)[0] == "rep"
    assert "followed_up" not in events(house, lead)


def test_a_deal_that_is_won_closes_the_lead_with_its_amount_once(house: House, lead: int) -> None:
    sold = {"closing": "won", "amount": 900.0, "closed_at": START + DAY}
    assert see(house, lead, "Working", **sold).did["closed"] == 1
    assert dict(see(house, lead, "Working", after=2 * DAY, **sold).did) == {}
    assert custody(house, lead) == ("closed", "won")
    (one,) = outcomes.listing(house, None, 10)
    assert (one.amount, one.source, one.offer_id, one.policy_version) == (900.0, "crm:scripted", 1, 1)
    assert one.happened_at == START + DAY


def test_a_loss_told_late_closes_a_lead_that_is_back_on_a_track(house: House) -> None:
    lead_id = add_lead(house, demo_requested=True)
    run_once.tick(house, START)
    sweep.reject(house, 1, "not-now", START)
    assert custody(house, lead_id)[0] == "track"
    assert see(house, lead_id, "Dead").did["closed"] == 1
    assert custody(house, lead_id) == ("closed", "lost")
    assert see(house, lead_id, "Sold", after=2 * DAY).did["contradicts"] == 1
    assert custody(house, lead_id) == ("closed", "lost")
    assert len(outcomes.contradicting(house)) == 1


def test_another_owner_in_the_crm_is_written_down(house: House, lead: int) -> None:
    see(house, lead)
    other = "ben" if rep(house) == "ana" else "ana"
    assert see(house, lead, owner=f"{other}@house.example", after=2 * DAY).did["owner"] == 1
    assert see(house, lead, owner="stranger@house.example", after=3 * DAY).did["owner"] == 1
    refs = rows(house, "SELECT ref FROM journal WHERE event = 'owner_changed' ORDER BY id")
    assert refs == [(other,), ("?",)]


def test_a_lead_that_sales_gives_back_there_is_recycled_by_its_reason(house: House, lead: int) -> None:
    see(house, lead)
    assert see(house, lead, "Later", after=2 * DAY).did["given back"] == 1
    assert custody(house, lead) == ("track", "keep")


def test_who_gives_a_lead_back_there_does_not_get_it_again(house: House, lead: int) -> None:
    see(house, lead)
    see(house, lead, "Later", after=2 * DAY)
    assert rows(house, "SELECT state, reason FROM offer") == [("rejected", "not-now")]
    tell(house, lead, SignalKind.REPLIED, START + 40 * DAY)
    run_once.tick(house, START + 40 * DAY)
    first, then = (who for (who,) in rows(house, "SELECT rep FROM offer ORDER BY id"))
    assert first != then


def test_an_offer_that_is_given_back_there_is_rejected(house: House) -> None:
    lead_id = add_lead(house, demo_requested=True)
    run_once.tick(house, START)
    see(house, lead_id)
    assert see(house, lead_id, "Later", after=HOUR + HOUR).did["given back"] == 1
    assert rows(house, "SELECT state, reason FROM offer") == [("rejected", "not-now")]
    assert custody(house, lead_id) == ("track", "keep")


def test_a_reason_that_stops_all_mail_stops_it_from_there_too(sqlite_db: Database, tmp_path: Path) -> None:
    rules = tiny_rules() | {"sales/crm.yaml": WORDS.replace("not-now", "bad-fit")}
    policy = rules["sales/policy.yaml"].replace("Nothing for them,", "Nothing for them, suppress: yes,")
    house = make_house(sqlite_db, tmp_path, rules=rules | {"sales/policy.yaml": policy})
    house = replace(house, crm=ScriptedCrm())
    lead_id = add_lead(house, demo_requested=True)
    run_once.tick(house, START)
    sweep.accept(house, 1, START)
    see(house, lead_id)
    see(house, lead_id, "Later", after=2 * DAY)
    assert rows(house, "SELECT source FROM suppression") == [("admin",)]


def test_what_is_no_lead_of_ours_is_told_without_its_address(house: House, crm: ScriptedCrm) -> None:
    crm.pages.append(
        [
            Seen("other-lead-1", "9", START),
            Seen("x@people.example", "f.csv", START),
            Seen("nurture-lead-77", "8", START),
        ]
    )
    read = pull.read_back(house, START)
    assert len(read.faults) == 3
    assert "x@people.example" not in "".join(read.faults)


def test_a_crm_that_is_down_is_told_and_read_on_from_the_same_place(
    house: House, lead: int, crm: ScriptedCrm
) -> None:
    see(house, lead)
    crm.script = ["down"]
    assert see(house, lead, "Working", after=2 * DAY).faults == ["it is down"]
    assert pull.read_back(house, START + 3 * DAY).did["followed up"] == 1


def test_drift_is_told_with_what_to_do_until_we_say_the_same(
    house: House, lead: int, crm: ScriptedCrm
) -> None:
    see(house, lead)
    assert drift.drift(house, crm) == []
    key = push.person_key(house, lead)
    held = crm.held[key]
    for changed, what in (
        ({"owner": "stranger@house.example"}, "owner"),
        ({"stage": "offered"}, "hand-off"),
        ({"status": "Parked"}, "status"),
        ({"status": "Sold"}, "outcome"),
    ):
        crm.held[key] = replace(held, **changed)  # type: ignore[arg-type]
        assert [one.what for one in drift.drift(house, crm)] == [what]
    del crm.held[key]
    (gone,) = drift.drift(house, crm)
    assert (gone.what, gone.crm_says) == ("record", "there is none")
    assert "--again-since" in gone.remedy


def test_files_in_a_folder_say_the_same_as_a_crm(sqlite_db: Database, tmp_path: Path) -> None:
    rules = tiny_rules() | {"sales/crm.yaml": WORDS}
    house = replace(make_house(sqlite_db, tmp_path, rules=rules), crm=CsvFolder(tmp_path / "crm"))
    first = add_lead(house, demo_requested=True, email="ana@people.example")
    run_once.tick(house, START)
    folder = tmp_path / "crm" / "in"
    (folder / "1.csv").write_text(
        'email,outcome,amount,date\nana@people.example,Sold,"1,500.00",2026-01-04\n'
    )
    (folder / "2.csv").write_text("email,outcome\nana@people.example,Dead\nnobody@people.example,Sold\n")
    read = pull.read_back(house, START + DAY)
    assert dict(read.did)["closed"] == 1
    assert read.did["contradicts"] == 1
    assert len(read.faults) == 1
    assert custody(house, first) == ("closed", "won")
    assert outcomes.listing(house, None, 5)[0].amount == 1500.0
    assert dict(pull.read_back(house, START + DAY).did) == {}


def test_the_first_file_that_tells_of_a_lead_counts(sqlite_db: Database, tmp_path: Path) -> None:
    rules = tiny_rules() | {"sales/crm.yaml": WORDS}
    house = replace(make_house(sqlite_db, tmp_path, rules=rules), crm=CsvFolder(tmp_path / "crm"))
    called, given = (
        add_lead(house, demo_requested=True, email=f"{name}@people.example") for name in ("ana", "bo")
    )
    run_once.tick(house, START)
    for offer in (1, 2):
        sweep.accept(house, offer, START)
    told = "email,status\nana@people.example,Working\nbo@people.example,Later\n"
    (tmp_path / "crm" / "in" / "1.csv").write_text(told)
    assert dict(pull.read_back(house, START + DAY).did) == {"followed up": 2, "given back": 1}
    assert (custody(house, called)[0], custody(house, given)[0]) == ("rep", "track")


def test_before_anything_is_published_nothing_is_read(sqlite_db: Database, tmp_path: Path) -> None:
    crm = ScriptedCrm(pages=[[Seen("nurture-lead-1", "1", START)]])
    house = House(sqlite_db, Mailbox(tmp_path / "mailbox"), crm=crm)
    assert pull.read_back(house, START) == ReadBack()


def test_on_postgres_it_reads_the_same(postgres_db: Database, tmp_path: Path) -> None:
    rules = tiny_rules() | {"sales/crm.yaml": WORDS}
    crm = ScriptedCrm()
    house = replace(make_house(postgres_db, tmp_path, rules=rules), crm=crm)
    lead_id = add_lead(house, demo_requested=True)
    run_once.tick(house, START)
    sweep.accept(house, 1, START)
    push.hand_back(house, VirtualClock(START))
    assert see(house, lead_id).did.total() == 0
    assert drift.drift(house, crm) == []
    assert see(house, lead_id, "Working", after=2 * DAY).did["followed up"] == 1
    assert see(house, lead_id, "Sold", after=3 * DAY, amount=3.0).did["closed"] == 1
    assert custody(house, lead_id) == ("closed", "won")
    assert outcomes.listing(house, None, 5)[0].amount == 3.0
    with house.database.write() as connection:
        assert crm_records.adopt(connection, START, START) == 1
