"""A person who asks to be forgotten is nowhere in the database, and is not mailed when brought in again."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.db.tables import core
from nurture.domain.lead import Closing
from nurture.errors import NotFound
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import EVERYTHING
from nurture.journey.engagement import clicks, provider_events, replies
from nurture.journey.erasure import erase
from nurture.journey.erasure import queries as erasure_queries
from nurture.journey.handoff import roster, sweep
from nurture.journey.intake import import_file
from nurture.journey.intake.api import batches, idempotency
from nurture.journey.intake.api.idempotency import Answer, Request
from nurture.journey.intake.api.tokens import create
from nurture.journey.outcomes import close
from nurture.runtime.context import House
from tests.doubles.events import body_of, event
from tests.journey.builders import START, make_house, tick_at, tiny_rules
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, reply_address, take
from tests.journey.observe import custody, everything, one, rows
from tests.mail.inbound.replying import mail

ADDRESS = "Mia.Holm@People.example"
SECRETS = ("mia.holm", "mia", "holm", "quayside", "+49 30 1234", "c-4711", "secret words", "zürich")


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return made(db, tmp_path)


def made(db: Database, tmp_path: Path) -> House:
    """Return a house that asks for answers, and writes an address of its own into a link."""
    rules = tiny_rules()
    rules["tracks/welcome/01-hello.md"] += (
        "\n[yours](https://www.example.com/for/{{ lead.company | urlencode }})\n"
    )
    house = make_house(db, tmp_path, rules=rules)
    house.reply_domain, house.base_url, house.origin = "in.example.com", "https://go.example.com", "0badcafe"
    return house


def bring_in(house: House, folder: Path, now: object = START) -> None:
    file = folder / "leads.csv"
    names = (
        "Id",
        "Email",
        "First Name",
        "Last Name",
        "Title",
        "Company",
        "Phone",
        "City",
        "Lead Source",
        "Consent",
    )
    told = (
        "c-4711",
        ADDRESS,
        "Mia",
        "Holm",
        "Head of stock",
        "Quayside",
        "+49 30 1234",
        "Zürich",
        "Fair",
        "Yes",
    )
    other = ("c-1", "noor@other.example", "Noor", "Ali", "Head", "Otherside", "", "", "Fair", "Yes")
    with file.open("w", newline="", encoding="utf-8") as written:
        csv.writer(written).writerows([names, told, other])
    import_file.import_file(house, file, now, source="crm")  # type: ignore[arg-type]


def found_in(house: House) -> dict[str, set[str]]:
    """Return which secrets stand where."""
    kept = {
        name: json.dumps(found, default=str, ensure_ascii=False).lower()
        for name, found in everything(house).items()
    }
    return {name: found for name, text in kept.items() if (found := {one for one in SECRETS if one in text})}


def everything_happens(house: House, folder: Path) -> int:
    """Let a lead leave its traces everywhere; return its id."""
    bring_in(house, folder)
    lead: int = one(house, "SELECT lead_id FROM identity WHERE external_id = 'c-4711'")
    clicks.state_opens(house, lead, granted=True, source="form", now=START)
    tick_at(house, START, START + 2 * HOUR, SENT)
    take(
        house,
        mail("My secret words", to=reply_address(house, folder, "people.example"), sender=f"Mia <{ADDRESS}>"),
    )
    signal = {"lead": {"email": ADDRESS}, "kind": "submitted", "occurred_at": NOW.isoformat()}
    batches.post_signals(house, [signal | {"value": "I am Mia Holm", "link": "/for/mia"}], NOW)
    key: str = one(house, "SELECT send_key FROM message WHERE kind = 'touch' AND lead_id = :id", id=lead)
    for body in (
        body_of([event("delivered", f"0badcafe:{key}", SENT, email=ADDRESS)]),
        body_of([event("odd", None, SENT, email=ADDRESS)]),
    ):
        provider_events.receive(house, provider_events.SENDGRID, body, NOW)
    create(house, "website", ["signals:write"], NOW)
    asked = Request(one(house, "SELECT id FROM api_token"), "/api/signals", "k", b"x")
    idempotency.answer(house, asked, NOW, lambda: Answer(202, f"no lead {ADDRESS}"))
    tick_at(house, NOW, NOW + HOUR)
    assert custody(house, lead)[0] == "offer"
    return lead


def test_nothing_in_the_whole_database_tells_of_who_was_forgotten(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    before = found_in(house)
    assert {
        "address",
        "lead",
        "reply",
        "raw_batch",
        "api_answer",
        "mail_destination",
        "identity",
        "signal",
    } <= set(before)
    done = erase.forget(house, ADDRESS, NOW + DAY)
    assert (done.lead, done.address, done.rows) == (lead, True, 3)
    assert found_in(house) == {}
    assert custody(house, lead) == ("closed", "discarded")
    assert rows(house, "SELECT state FROM offer") == [("withdrawn",)]
    assert one(house, "SELECT count(*) FROM lead WHERE address_id IS NOT NULL") == 1
    tick_at(house, NOW + DAY, NOW + 9 * DAY)
    assert custody(house, lead) == ("closed", "discarded")
    assert found_in(house) == {}


def test_who_is_brought_in_again_is_a_new_lead_that_is_not_mailed(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    erase.forget(house, str(lead), NOW + DAY)
    bring_in(house, tmp_path, NOW + 2 * DAY)
    again: int = one(house, "SELECT lead_id FROM identity WHERE external_id = 'c-4711'")
    assert again != lead
    tick_at(house, NOW + 2 * DAY, NOW + 3 * DAY, NOW + 4 * DAY)
    assert one(house, "SELECT count(*) FROM message WHERE kind = 'touch' AND lead_id = :id", id=again) == 0
    assert rows(house, "SELECT normal FROM address ORDER BY id")[0] == ("mia.holm@people.example",)
    opt_in.opt_in(house, ADDRESS, EVERYTHING, "asked at the fair", NOW + 5 * DAY)
    with house.database.read() as connection:
        (address,) = rows(house, "SELECT address_id FROM lead WHERE id = :id", id=again)[0]
        assert suppression.suppression_queries.standing(house.database, connection, [address]) == {}


def test_an_address_that_no_lead_has_is_forgotten_too(house: House) -> None:
    suppression.suppress(house, [ADDRESS], NOW)
    assert found_in(house) == {"address": {"mia.holm", "mia", "holm"}}
    done = erase.forget(house, ADDRESS, NOW + HOUR)
    assert (done.lead, done.address) == (None, True)
    assert found_in(house) == {}
    suppression.suppress(house, ["stranger@people.example"], NOW)
    with house.database.read() as connection:
        listed = [name for name, _ in suppression.suppression_queries.everything(connection)]
    assert listed == ["stranger@people.example"]
    assert suppression.suppress(house, [ADDRESS], NOW + DAY).known == 1


def test_forgetting_twice_changes_nothing_and_nobody_is_not_found(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    erase.forget(house, str(lead), NOW + DAY)
    assert erase.forget(house, str(lead), NOW + DAY).address is False
    with pytest.raises(NotFound):
        erase.forget(house, ADDRESS, NOW + DAY)


def test_a_lead_with_a_rep_is_taken_from_it_and_a_won_one_stays_won(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    sweep.accept(house, one(house, "SELECT id FROM offer"), NOW + HOUR)
    erase.forget(house, str(lead), NOW + timedelta(hours=2))
    assert custody(house, lead) == ("closed", "discarded")
    assert replies.list_replies(house, lead, 5) == []
    (ana, ben) = roster.roster(house, NOW + timedelta(hours=2))
    assert (ana.in_hand, ben.in_hand) == (0, 0)


def test_what_people_wrote_of_a_closed_lead_stands_nowhere_afterwards(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    close.close(house, lead, Closing.LOST, NOW + HOUR, reason="Mia Holm left Quayside")
    erase.forget(house, str(lead), NOW + timedelta(hours=2))
    told = rows(house, "SELECT because FROM journal WHERE lead_id = :id", id=lead)
    assert not [because for (because,) in told if "Holm" in str(because)]
    assert rows(house, "SELECT DISTINCT reason FROM outcome WHERE lead_id = :id", id=lead) == [("",)]


def test_for_each_table_that_names_leads_it_is_said_what_becomes_of_its_rows() -> None:
    naming = {name for name, table in core.metadata.tables.items() if "lead_id" in table.c}
    assert naming == erasure_queries.KEPT | erasure_queries.EMPTIED
