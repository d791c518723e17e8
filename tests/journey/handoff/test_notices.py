"""Reps are told of an offer where they look: once, soon, and without holding anybody's mail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.delivery.run import deliver
from nurture.journey.handoff import sweep
from nurture.journey.tracks.enroll import classify
from nurture.mail.notifiers.apprise_notifier import Chat
from nurture.outbox.heartbeat import LEASE
from nurture.runtime.context import House
from tests.doubles.chatroom import Chatroom
from tests.journey.builders import START, add_lead, make_house, tiny_rules
from tests.journey.observe import rows

PLACES = ("slack-sales", "teams")


@pytest.fixture
def rooms() -> Iterator[dict[str, Chatroom]]:
    with Chatroom() as slack, Chatroom() as teams:
        yield dict(zip(PLACES, (slack, teams), strict=True))


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path, rooms: dict[str, Chatroom]) -> House:
    """Ana looks in Slack and in Teams, and one lead is on offer to her."""
    rules = tiny_rules()
    policy = rules["sales/policy.yaml"].replace(
        "email: ana@house.example,", "email: ana@house.example, tell: [slack-sales, teams],"
    )
    rules["sales/policy.yaml"] = "\n".join(line for line in policy.splitlines() if "id: ben" not in line)
    made = make_house(sqlite_db, tmp_path, rules=rules)
    made.base_url = "https://go.example.com"
    made.tellers = {
        name: Chat(name, SecretStr(f"json://127.0.0.1:{room.port}?rto=0.5")) for name, room in rooms.items()
    }
    _offer_one(made)
    return made


def _offer_one(house: House) -> int:
    lead_id = add_lead(
        house, full_name="Dana Miller", company="Acme", phone="+49 30 1234", demo_requested=True
    )
    classify(house, START)
    sweep.hand_off(house, START)
    return lead_id


def _states(house: House, kind: str = "notice") -> list[tuple[str, ...]]:
    wanted = "SELECT email, state FROM message WHERE kind = :kind ORDER BY email, id"
    return [tuple(row) for row in rows(house, wanted, kind=kind)]


def _deliver(house: House, after: timedelta = timedelta()) -> None:
    deliver(house, VirtualClock(START + after))


def test_each_place_of_the_rep_is_told_once_with_name_company_why_until_when_and_a_link(
    house: House, rooms: dict[str, Chatroom]
) -> None:
    for _ in range(2):
        _deliver(house)
    for room in rooms.values():
        (said,) = room.said
        assert said["title"] == "Ana: Dana Miller, Acme"
        why, until, link = said["message"].splitlines()
        assert why.startswith("Why now: ready")
        assert until == "Answer by Tuesday 6 January 2026, 08:00 (UTC)"
        assert link.startswith("https://go.example.com/a/")
        assert "1234" not in str(said)
        assert "@" not in said["message"]
    assert _states(house) == [("slack-sales", "accepted"), ("teams", "accepted")]


def test_a_lead_s_name_is_no_link_no_mention_and_no_markup_in_any_place(
    house: House, rooms: dict[str, Chatroom]
) -> None:
    _deliver(house)
    hostile = {"full_name": "[Sign in](https://evil.example)", "company": "<!channel> @everyone *Acme*"}
    add_lead(house, demo_requested=True, **hostile)
    classify(house, START)
    sweep.hand_off(house, START)
    _deliver(house)
    for room in rooms.values():
        title, message = room.said[-1]["title"], room.said[-1]["message"]
        assert "Sign in" in title
        assert not re.search(r"[\[\]<>@*]|https:", title)
        assert not re.search(r"[\[\]<>@*]", message)
        assert message.count("https:") == 1, "our own link"


def test_a_place_that_hangs_holds_neither_mail_nor_another_place(
    house: House, rooms: dict[str, Chatroom]
) -> None:
    rooms["slack-sales"].answers = "hang"
    _offer_one(house)
    _deliver(house)
    assert _states(house, "brief") == [("brief", "accepted")] * 2
    assert [state for place, state in _states(house) if place == "teams"] == ["accepted"] * 2
    assert sorted(state for place, state in _states(house) if place == "slack-sales") == [
        "in_doubt",
        "planned",
    ]
    assert len(rooms["slack-sales"].said) == 1  # one unknown outcome, and it is left alone for a while
    ((kind, name),) = rows(house, "SELECT kind, name FROM brake")
    assert (kind, name) == ("provider", "tell:slack-sales")
    rooms["slack-sales"].answers = 200
    _deliver(house, timedelta(minutes=2))
    assert len(rooms["slack-sales"].said) == 2  # the second lead's; the first one's doubt stands
    assert rows(house, "SELECT count(*) FROM brake WHERE released_at IS NULL") == [(0,)]


def test_a_worker_that_dies_after_the_call_leaves_a_doubt_and_nobody_is_told_twice(
    house: House, rooms: dict[str, Chatroom]
) -> None:
    class Died(BaseException):
        pass

    def die(point: str, refs: Sequence[str]) -> None:
        if point == "after the call" and any(ref.startswith("notice:") for ref in refs):
            raise Died

    with pytest.raises(Died):
        deliver(house, VirtualClock(START), observe=die)
    assert ("slack-sales", "sending") in _states(house)
    _deliver(house, LEASE + timedelta(seconds=1))
    assert _states(house) == [("slack-sales", "in_doubt"), ("teams", "accepted")]
    assert [len(room.said) for room in rooms.values()] == [1, 1]


def test_a_notice_of_an_offer_that_was_answered_is_called_off(
    house: House, rooms: dict[str, Chatroom]
) -> None:
    ((offer_id,),) = rows(house, "SELECT id FROM offer")
    sweep.accept(house, offer_id, START)
    _deliver(house)
    assert {state for _, state in _states(house)} == {"cancelled"}
    assert [room.said for room in rooms.values()] == [[], []]


def test_notices_for_a_place_that_nobody_set_up_wait_for_it(house: House, rooms: dict[str, Chatroom]) -> None:
    assert house.tellers is not None
    house.tellers = {"teams": house.tellers["teams"]}
    _deliver(house)
    assert _states(house) == [("slack-sales", "planned"), ("teams", "accepted")]
    ((reason,),) = rows(house, "SELECT reason FROM message WHERE email = 'slack-sales'")
    assert "Add slack-sales=URL" in reason
