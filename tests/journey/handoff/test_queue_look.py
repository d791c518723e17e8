"""A rep with room never sits beside a lead that waits for longer than a sweep, however the room came free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.journey.erasure import erase
from nurture.journey.handoff import call_back, follow_up, responses, roster
from nurture.journey.handoff import sweep as handoff_sweep
from nurture.journey.intake.import_file import import_file
from nurture.journey.outcomes import close, outcomes
from nurture.journey.outcomes.outcomes import Telling
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, publish_approved, tick_at, tiny_rules
from tests.journey.intake.lead_files import row, saved
from tests.journey.observe import counted, custody, due_at, one, rows
from tests.journey.test_two_workers import let_wait

HOUR, LATER = timedelta(hours=1), timedelta(minutes=5)
NOW = START + 2 * HOUR
POLICY = "sales/policy.yaml"
IN_QUEUE = "SELECT count(*) FROM custody WHERE kind = 'queue' AND ref = 'hand-off'"


def _rules(in_hand: int = 1) -> dict[str, str]:
    rules = tiny_rules()
    rules[POLICY] = rules[POLICY].replace("capacity: 5}", f"capacity: 50, in_hand: {in_hand}}}")
    return rules


def _full(house: House) -> list[int]:
    """Fill the hands of both reps, and let two leads wait; return all four, those with a rep first."""
    leads = [add_lead(house, demo_requested=True) for _ in range(4)]
    tick_at(house, START, START + HOUR)
    assert one(house, IN_QUEUE) == 2
    assert not handoff_sweep.hand_off(house, NOW)
    return leads


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path, rules=_rules())


@pytest.fixture
def postgres_house(postgres_db: Database, tmp_path: Path) -> House:
    return make_house(postgres_db, tmp_path, rules=_rules())


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as worker:
        yield worker


def _offer_of(house: House, lead: int) -> int:
    found: int = one(house, "SELECT max(id) FROM offer WHERE lead_id = :id", id=lead)
    return found


def _won_by_file(house: House, lead: int, folder: Path) -> None:
    email = one(
        house, "SELECT email FROM address JOIN lead ON address_id = address.id WHERE lead.id = :l", l=lead
    )
    import_file(house, saved(folder, [row(email, Status="Customer", Customer="yes")]), NOW)
    assert custody(house, lead) == ("closed", "won")


def _followed_up(house: House, lead: int, _: Path) -> None:
    handoff_sweep.accept(house, _offer_of(house, lead), NOW)
    assert not handoff_sweep.hand_off(house, NOW)
    follow_up.followed_up(house, lead, "call", NOW)


def _more_in_hand(house: House, _lead: int, _folder: Path) -> None:
    publish_approved(house, _rules(in_hand=2), NOW)


FREE: dict[str, Callable[[House, int, Path], object]] = {
    "rejected": lambda house, lead, _: responses.reject(house, _offer_of(house, lead), "bad-fit", NOW),
    "to be called later": lambda house, lead, _: call_back.call_back(
        house, _offer_of(house, lead), (NOW + timedelta(days=40)).date(), NOW
    ),
    "closed by hand": lambda house, lead, _: close.close(house, lead, Closing.WON, NOW),
    "won in the CRM": lambda house, lead, _: outcomes.tell(
        house, [Telling(lead, Closing.WON, NOW, 10.0)], "crm", NOW
    ),
    "won by a file": _won_by_file,
    "forgotten": lambda house, lead, _: erase.forget(house, str(lead), NOW),
    "followed up": _followed_up,
    "a policy with more in hand": _more_in_hand,
}


@pytest.mark.parametrize("way", FREE)
def test_room_that_comes_free_is_used_by_the_next_sweep(house: House, way: str, tmp_path: Path) -> None:
    lead = _full(house)[0]
    FREE[way](house, lead, tmp_path)
    assert handoff_sweep.hand_off(house, NOW + LATER)["offered"] >= 1
    assert one(house, IN_QUEUE) < 2


def test_who_is_back_from_leave_is_offered_leads_by_the_next_sweep(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path)
    for rep in ("ana", "ben"):
        roster.add_leave(house, rep, START.date(), (START + timedelta(days=9)).date(), None, START)
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START, NOW)
    assert custody(house, lead) == ("queue", "hand-off")
    roster.cancel_leave(house, "ana", START.date(), NOW)
    assert handoff_sweep.hand_off(house, NOW + LATER)["offered"] == 1


def test_room_that_comes_free_while_a_sweep_finds_none_is_used_by_the_next_one(
    postgres_house: House, other: ThreadPoolExecutor
) -> None:
    house = postgres_house
    lead = _full(house)[0]
    with house.database.write() as connection:
        connection.execute(
            text("UPDATE custody SET due_at = :n, version = version + 1 WHERE kind = 'queue'"), {"n": NOW}
        )
    with house.database.write() as connection:
        connection.execute(text("LOCK TABLE queue_look IN EXCLUSIVE MODE"))  # where a sweep ends
        sweep = let_wait(house, other, lambda: handoff_sweep.hand_off(house, NOW))
        responses.reject(house, _offer_of(house, lead), "bad-fit", NOW)
    sweep.result()
    assert one(house, IN_QUEUE) == 2
    assert handoff_sweep.hand_off(house, NOW + LATER)["offered"] == 1


def test_a_lead_that_somebody_held_while_the_queue_was_looked_at_is_offered_by_the_next_sweep(
    postgres_house: House,
) -> None:
    house = postgres_house
    lead, _, *waiting = _full(house)
    responses.reject(house, _offer_of(house, lead), "bad-fit", NOW)
    with house.database.write() as connection:
        held = text("SELECT lead_id FROM custody WHERE lead_id = ANY(:ids) FOR UPDATE")
        connection.execute(held, {"ids": waiting})
        assert not handoff_sweep.hand_off(house, NOW + LATER)
    assert all((due_at(house, one_) or NOW) > NOW + HOUR for one_ in waiting)
    assert handoff_sweep.hand_off(house, NOW + 2 * LATER)["offered"] == 1


def test_a_queue_in_which_nothing_has_changed_costs_the_same_few_statements(house: House) -> None:
    _full(house)
    with counted(house.database) as few:
        handoff_sweep.hand_off(house, NOW)
    for _ in range(20):
        add_lead(house, demo_requested=True)
    tick_at(house, NOW)
    assert rows(house, IN_QUEUE) == [(22,)]
    with counted(house.database) as many:
        assert not handoff_sweep.hand_off(house, NOW + LATER)
    assert len(many) == len(few)
