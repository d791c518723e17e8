"""A lead is asked for the fact that routing misses: one email, one page, and the right rep at once."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.consent import suppression
from nurture.journey.routing import missing_fields
from nurture.journey.routing.replay import replay
from nurture.runtime.context import House
from nurture.web.app import create_app
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import custody, events, everything, messages, one, rows, write
from tests.journey.routing.test_router import ruled
from tests.web.world import BASE, TestClient

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPENS = START + 2 * HOUR


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    house = make_house(sqlite_db, tmp_path, rules=ruled())
    house.base_url = BASE
    return house


def client_of(house: House) -> Any:
    return TestClient(create_app(house, VirtualClock(OPENS)), base_url=BASE, raise_server_exceptions=False)


def asked_mail(tmp_path: Path) -> Any:
    mails = [
        message_from_bytes(file.read_bytes(), policy=policy.default)
        for file in (tmp_path / "mailbox/new").iterdir()
    ]
    (mail,) = [mail for mail in mails if "One question" in str(mail["Subject"])]
    return mail


def path_in(mail: Any) -> str:
    found = re.search(rf"{BASE}(/f/[\w-]+)", mail.get_body(("plain",)).get_content())
    assert found is not None
    return found[1]


def unrouted(house: House, **more: Any) -> int:
    lead = add_lead(house, email="mia@people.example", demo_requested=True, **more)
    tick_at(house, START)
    return lead


def test_the_lead_is_asked_once_in_its_window_and_its_answer_routes_it(house: House, tmp_path: Path) -> None:
    lead = unrouted(house)
    assert custody(house, lead) == ("queue", "needs-country")
    assert not (tmp_path / "mailbox/new").exists() or not list((tmp_path / "mailbox/new").iterdir())
    tick_at(house, OPENS, OPENS + HOUR)
    assert messages(house, "ask") == [(lead, "country", "accepted", "")]
    assert one(house, "SELECT send_key FROM message WHERE kind = 'ask'") == f"ask:{lead}:country"
    mail = asked_mail(tmp_path)
    assert mail["List-Unsubscribe"]
    assert "In which country do you work?" in mail.get_body(("plain",)).get_content()

    client, path = client_of(house), path_in(mail)
    before = everything(house)
    for method in ("GET", "HEAD"):
        assert client.request(method, path + "?answer=DE").status_code == 200
    assert '<option value="DE">Germany</option>' in client.get(path).text
    assert everything(house) == before
    assert client.post(path, data={"answer": "Atlantis"}).status_code == 422
    assert everything(house) == before

    assert "Thank you" in client.post(path, data={"answer": "DE"}).text
    assert custody(house, lead) == ("queue", "hand-off")
    assert rows(house, "SELECT country, json_extract(facts, '$.country') FROM lead") == [("DE", "DE")]
    assert "told" in events(house, lead)
    tick_at(house, OPENS + 2 * HOUR)
    assert one(house, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "cleo"
    assert replay(house).differences == []
    (waited,) = missing_fields.lacking(house, OPENS)
    assert (waited.field, waited.leads, waited.waiting, waited.told_by_lead) == ("country", 1, 0, 1)
    assert waited.median_hours == 2.0


@pytest.mark.parametrize("path", ["/f/" + "x" * 22, "/f/", "/f/../f/x"])
def test_a_link_that_nobody_made_asks_nothing(house: House, path: str) -> None:
    assert client_of(house).get(path).status_code == 404
    assert client_of(house).post(path, data={"answer": "DE"}).status_code in (404, 405)


def test_who_opted_out_is_not_asked_and_gets_a_rep_all_the_same(house: House) -> None:
    lead = unrouted(house)
    suppression.suppress(house, ["mia@people.example"], START)
    tick_at(house, OPENS)
    assert [state for _, _, state, _ in messages(house, "ask")] == ["cancelled"]
    tick_at(house, START + 3 * DAY, START + 3 * DAY)
    assert one(house, "SELECT count(*) FROM offer WHERE lead_id = :id", id=lead) == 1


def test_a_fact_that_comes_by_another_way_routes_the_lead_and_the_question_is_dropped(house: House) -> None:
    lead = unrouted(house)
    write(house, "UPDATE lead SET country = 'AT', updated_at = :at", at=(START + HOUR).isoformat())
    assert missing_fields.look_again(house, START + HOUR) == 1
    tick_at(house, START + HOUR, START + HOUR)
    assert one(house, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "cleo"
    tick_at(house, OPENS)
    assert rows(house, "SELECT state, reason FROM message WHERE kind = 'ask'") == [("cancelled", "left")]
    assert missing_fields.lacking(house, OPENS)[0].told_otherwise == 1
    assert missing_fields.look_again(house, OPENS) == 0
