"""How leads ended, told by whoever knows: once each, nothing lost, joined to where it came from."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import FileUnreadable, NotFound
from nurture.journey import run_once
from nurture.journey.handoff import sweep
from nurture.journey.intake.api.outcome_batches import post_outcomes
from nurture.journey.outcomes import import_file, outcomes
from nurture.journey.outcomes.outcomes import Telling
from nurture.reporting import audit
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import counted

DAY = timedelta(days=1)
WON, LOST = Closing.WON, Closing.LOST


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def custody(house: House, lead_id: int) -> tuple[str, str]:
    with house.database.read() as connection:
        row = connection.execute(text("SELECT kind, ref FROM custody WHERE lead_id = :id"), {"id": lead_id})
        kind, ref = row.one()
    return kind, ref


def amounts(house: House) -> list[tuple[str, float | None]]:
    with house.database.read() as connection:
        rows = connection.execute(text("SELECT closing, amount FROM outcome ORDER BY id")).all()
    return [(closing, amount) for closing, amount in rows]


def test_a_lead_is_closed_wherever_it_is_and_its_mail_is_called_off(house: House) -> None:
    nurtured, offered, kept = (add_lead(house, demo_requested=ready) for ready in (False, True, True))
    tick_at(house, START)
    with house.database.read() as connection:
        offers = dict(connection.execute(text("SELECT lead_id, id FROM offer")).tuples().all())
    sweep.accept(house, offers[kept], START)
    told = [Telling(one, WON, START, 100.0) for one in (nurtured, offered, kept)]
    assert outcomes.tell(house, told, "crm", START + DAY) == ["closed"] * 3
    assert {custody(house, one) for one in (nurtured, offered, kept)} == {("closed", "won")}
    with house.database.read() as connection:
        states = set(connection.execute(text("SELECT state FROM message WHERE kind = 'touch'")).scalars())
        withdrawn = connection.execute(
            text("SELECT state FROM offer WHERE id = :id"), {"id": offers[offered]}
        )
        assert withdrawn.scalar_one() == "withdrawn"
    assert "planned" not in states
    assert audit.audit(house, START + DAY).ok


def test_the_same_thing_told_twice_and_by_two_sources_counts_once(house: House) -> None:
    lead_id = add_lead(house)
    said = Telling(lead_id, WON, START, 100.0)
    assert outcomes.tell(house, [said], "crm", START) == ["closed"]
    assert outcomes.tell(house, [said], "crm", START + DAY) == ["known"]
    assert outcomes.tell(house, [said, said], "api", START + DAY) == ["same", "known"]
    assert amounts(house) == [("won", 100.0)]


def test_an_amount_that_comes_later_completes_the_outcome(house: House) -> None:
    first, second = add_lead(house), add_lead(house)
    told = [Telling(first, WON), Telling(second, WON), Telling(second, WON, START, 7.5)]
    assert outcomes.tell(house, told, "cli", START) == ["closed", "closed", "completed"]
    assert outcomes.tell(house, [Telling(first, WON, START, 90.0)], "crm", START) == ["completed"]
    assert amounts(house) == [("won", 90.0), ("won", 7.5)]


def test_what_contradicts_is_kept_and_a_person_settles_it(house: House) -> None:
    lead_id, other = add_lead(house), add_lead(house)
    both = [Telling(lead_id, LOST, START, reason="price"), Telling(other, WON, START, 10.0)]
    outcomes.tell(house, both, "csv", START)
    told = [Telling(lead_id, WON, START + DAY, 500.0), Telling(other, WON, START + DAY, 20.0)]
    assert outcomes.tell(house, told, "crm", START + DAY) == ["contradicts"] * 2
    assert custody(house, lead_id) == ("closed", "lost")
    first, second = outcomes.contradicting(house)
    assert (first.lead_id, first.stands, first.closing, first.source) == (lead_id, "lost", "won", "crm")
    outcomes.settle(house, first.id, take=True, by="mara", now=START + DAY)
    outcomes.settle(house, second.id, take=False, by="mara", now=START + DAY)
    assert custody(house, lead_id) == ("closed", "won")
    assert amounts(house) == [("won", 500.0), ("won", 10.0)]
    assert outcomes.contradicting(house) == []
    with pytest.raises(NotFound, match="no open contradiction"):
        outcomes.settle(house, first.id, take=False, by="mara", now=START + DAY)


def test_a_lead_that_was_given_up_may_still_be_won(house: House) -> None:
    lead_id = add_lead(house)
    assert outcomes.tell(house, [Telling(lead_id, Closing.UNREACHABLE)], "cli", START) == ["closed"]
    assert outcomes.tell(house, [Telling(lead_id, WON, START, 5.0)], "crm", START) == ["closed"]
    assert custody(house, lead_id) == ("closed", "won")


def test_an_outcome_is_joined_to_rep_policy_track_and_touch(house: House) -> None:
    lead_id = add_lead(house, title="Head")
    tick_at(house, START, START + timedelta(hours=3))
    outcomes.tell(house, [Telling(lead_id, WON, START + DAY, 9.0)], "crm", START + DAY)
    (one,) = outcomes.listing(house, WON, 10)
    assert (one.lead_id, one.lead_source, one.track, one.touch) == (lead_id, "test", "welcome", "01-hello")
    assert (one.source, one.amount, one.rep) == ("crm", 9.0, None)
    ready = add_lead(house, demo_requested=True)
    run_once.tick(house, START + DAY)
    outcomes.tell(house, [Telling(ready, LOST, reason="price")], "crm", START + DAY)
    (one,) = outcomes.listing(house, LOST, 10)
    assert one.rep in ("ana", "ben")
    assert one.policy_version == 1


def test_a_batch_costs_the_same_statements_for_two_leads_and_for_forty(
    sqlite_db: Database, tmp_path: Path
) -> None:
    house = make_house(sqlite_db, tmp_path)
    outcomes.tell(house, [Telling(add_lead(house), WON)], "crm", START)  # the rules are read once
    few, many = ([Telling(add_lead(house), WON, START, 1.0) for _ in range(count)] for count in (2, 40))
    with counted(sqlite_db) as first:
        outcomes.tell(house, few, "crm", START)
    with counted(sqlite_db) as second:
        outcomes.tell(house, many, "crm", START)
    assert len(first) == len(second)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_a_file_closes_leads_and_gives_bad_rows_back_with_a_remedy(house: House, tmp_path: Path) -> None:
    first = add_lead(house, email="ana@people.example")
    second = add_lead(house, external_id="c-2")
    file = write(
        tmp_path / "won.csv",
        "Email;Outcome;Deal Amount;Close Date;Lost Reason",
        "ana@people.example;Closed Won;1.234,50 €;31.12.2025;",
        "c-2;lost;;2026-01-02;no budget",
        "nobody@people.example;won;;;",
        "c-2;lost;;;",
        "c-2;maybe;;;",
        "c-2;won;12;2027-01-01;",
    )
    done = import_file.import_outcomes(house, file, START)
    assert (done.rows, dict(done.counts), done.bad) == (6, {"closed": 2}, 4)
    assert amounts(house) == [("won", 1234.5), ("lost", None)]
    assert {custody(house, one) for one in (first, second)} == {("closed", "won"), ("closed", "lost")}
    assert done.report_path is not None
    report = done.report_path.read_text("utf-8-sig")
    assert "4,\"no lead is called 'nobody@people.example'; write an id" in report
    assert "5,'lost' needs a reason" in report
    assert "6,\"'maybe' is no outcome; write one of won, lost, discarded, unreachable" in report
    assert "7,2027-01-01 is in the future" in report
    again = import_file.import_outcomes(house, file, START + DAY)
    assert dict(again.counts) == {"known": 2}


def test_a_file_without_the_columns_says_which_it_needs(sqlite_db: Database, tmp_path: Path) -> None:
    house = make_house(sqlite_db, tmp_path)
    with pytest.raises(FileUnreadable, match="no column 'outcome'"):
        import_file.import_outcomes(house, write(tmp_path / "a.csv", "lead,status", "1,won"), START)


def test_programs_post_outcomes_and_hear_what_was_wrong(house: House) -> None:
    lead_id = add_lead(house, email="ana@people.example")
    at = START.isoformat()
    items = [
        {
            "lead": {"email": "ANA@people.example"},
            "closing": "won",
            "happened_at": at,
            "amount": 12,
            "id": "d1",
        },
        {"lead": {"id": lead_id}, "closing": "lost", "happened_at": at, "reason": "price"},
        {"lead": {"id": lead_id}, "closing": "lost", "happened_at": at},
        {"lead": {"id": lead_id}, "closing": "won", "happened_at": at, "amount": "12"},
        {"lead": {"id": lead_id}, "closing": "lost", "happened_at": at, "reason": "x", "amount": 1},
        {"lead": {"id": 999}, "closing": "won", "happened_at": at},
        {"lead": {"id": lead_id}, "closing": "won"},
        {"lead": {"id": lead_id}, "closing": "vanished", "happened_at": at},
        "won",
    ]
    done = post_outcomes(house, items, START)
    assert (done.received, done.accepted) == (9, 2)
    assert done.counts == {"closed": 1, "completed": 0, "same": 0, "contradicts": 1, "known": 0}
    wrong = [(one.index, one.field) for one in done.rejected]
    assert wrong == [
        (2, "reason"), (3, "amount"), (4, "amount"), (5, "lead"), (6, "happened_at"), (7, "closing"), (8, ""),
    ]  # fmt: skip
    again = post_outcomes(house, [items[0] | {"amount": 13}], START + DAY)  # type: ignore[operator]
    assert again.counts["known"] == 1, "its own id tells that it is the same"


def test_telling_of_a_lead_that_there_is_not_changes_nothing(sqlite_db: Database, tmp_path: Path) -> None:
    house = replace(make_house(sqlite_db, tmp_path), batch=10)
    lead_id = add_lead(house)
    with pytest.raises(NotFound, match="no lead 999"):
        outcomes.tell(house, [Telling(lead_id, WON), Telling(999, WON)], "cli", START)
    assert custody(house, lead_id) == ("intake", "test")
