"""Ids outlast 32 bits, and what comes in again uses none."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import Refused
from nurture.journey.accounts import import_file
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.engagement import provider_events, signal_files
from nurture.journey.erasure import erase
from nurture.journey.handoff import sweep
from nurture.journey.intake import import_file as intake_import_file
from nurture.journey.intake.api import batches, tokens
from nurture.journey.outcomes import close
from nurture.journey.outcomes import import_file as outcomes_import_file
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Brake
from nurture.reporting import audit, explain
from nurture.runtime.context import House
from tests.doubles.events import body_of, event
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, reply_address, take
from tests.journey.erasure.test_erase import everything_happens
from tests.journey.observe import custody, one, rows
from tests.mail.inbound.replying import mail

PAST = 2**31
_SEQUENCES = """
SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


@pytest.fixture
def house(postgres_db: Database, tmp_path: Path) -> House:
    house = make_house(postgres_db, tmp_path)
    house.reply_domain, house.base_url, house.origin = "in.example.com", "https://go.example.com", "0badcafe"
    return house


def test_a_lead_goes_its_whole_way_with_ids_past_32_bits(postgres_db: Database, tmp_path: Path) -> None:
    past = text("SELECT setval(oid, :past + oid::bigint) FROM pg_class WHERE relkind = 'S'")
    with postgres_db.write() as connection:
        connection.execute(past, {"past": PAST})
    house = make_house(postgres_db, tmp_path)
    house.reply_domain, house.base_url, house.origin = "in.example.com", "https://go.example.com", "0badcafe"
    lead = everything_happens(house, tmp_path)
    sweep.accept(house, one(house, "SELECT id FROM offer"), NOW + 2 * HOUR)
    close.close(house, lead, Closing.WON, NOW + 3 * HOUR)
    tick_at(house, NOW + 4 * HOUR, NOW + DAY)
    assert custody(house, lead) == ("closed", "won")
    assert explain.why(house, lead, NOW + DAY).lead_id == lead
    assert audit.audit(house, NOW + DAY).ok
    erase.forget(house, str(lead), NOW + 2 * DAY)
    for table in ("lead", "address", "signal", "message", "offer", "enrollment", "journal"):
        assert rows(house, f"SELECT min(id) > {PAST} FROM {table}") == [(True,)], table


def _file(folder: Path, name: str, *lines: tuple[object, ...]) -> Path:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return folder / name


def bring_everything(house: House, folder: Path) -> None:
    """Bring in by each way what a system sends again every night, each thing twice in one go."""
    head = ("Id", "Email", "Consent", "Registration Time", "Attended", "Demo Requested")
    lines = [(f"c{n}", f"a{n}@people.example", "Yes", "2026-01-02", "Yes", "Yes") for n in range(20)]
    intake_import_file.import_file(house, _file(folder, "leads.csv", head, *lines, *lines), NOW, source="crm")
    told = [(f"c{n}", "visited", "2026-01-03", "x") for n in range(20)]
    signal_files.import_signals(
        house, _file(folder, "signals.csv", ("lead", "kind", "at", "value"), *told, *told), NOW
    )
    deeds = [
        {
            "lead": {"external_id": f"c{n}", "source": "crm"},
            "kind": "visited",
            "occurred_at": "2026-01-04T08:00Z",
        }
        for n in range(20)
    ]
    assert batches.post_signals(house, deeds + deeds, NOW).rejected == []
    items = [{"external_id": f"c{n}", "email": f"a{n}@people.example"} for n in range(20)]
    batches.post_leads(house, "crm", items + items, "a program", NOW)
    accounts = [(f"k{n}", f"Company {n}", f"k{n}.example") for n in range(5)]
    file = _file(folder, "accounts.csv", ("id", "name", "domain"), *accounts)
    import_file.import_accounts(house, file, NOW)
    lost = [(f"c{n}", "lost", "2026-01-04", "price") for n in range(5)]
    file = _file(folder, "outcomes.csv", ("lead", "outcome", "date", "reason"), *lost, *lost)
    assert outcomes_import_file.import_outcomes(house, file, NOW).bad == 0
    gone = [(f"s{n}@people.example",) for n in range(5)]
    suppression_files.import_suppressions(house, _file(folder, "stop.csv", ("email",), *gone, *gone), NOW)
    suppression.suppress(house, ["s1@people.example"], NOW)
    with house.database.write() as connection:
        circuit_breakers.put(
            house.database, connection, Brake("provider", "sendgrid", "it is down", NOW, NOW + HOUR)
        )


def _mail_comes(house: House, body: bytes, reply: bytes) -> None:
    for _ in range(2):
        provider_events.receive(house, provider_events.SENDGRID, body, NOW)
    provider_events.apply(house, NOW)
    take(house, reply, reply)


def test_what_comes_in_again_uses_no_id(house: House, tmp_path: Path) -> None:
    lead = add_lead(house, title="Head", email="mia@people.example")
    tick_at(house, START, START + 2 * HOUR, SENT)
    key: str = one(house, "SELECT send_key FROM message WHERE lead_id = :id", id=lead)
    body = body_of([event("delivered", f"0badcafe:{key}", SENT, email="mia@people.example")] * 2)
    reply = mail("Thank you", to=reply_address(house, tmp_path), sender="Mia <mia@people.example>")
    tokens.create(house, "website", ["signals:write"], NOW)
    bring_everything(house, tmp_path)
    _mail_comes(house, body, reply)

    before = dict(rows(house, _SEQUENCES))
    bring_everything(house, tmp_path)
    _mail_comes(house, body, reply)
    with pytest.raises(Refused, match="website"):
        tokens.create(house, "website", ["signals:write"], NOW)
    after = dict(rows(house, _SEQUENCES))
    filled = ("signal", "outcome_told", "raw_batch", "mail_event", "reply", "brake", "api_token", "account")
    assert {f"{table}_id_seq" for table in filled} <= set(before)
    assert after.pop("import_file_id_seq") == before.pop("import_file_id_seq") + 1  # a row a run
    assert after == before
    for sequence, newest in after.items():
        assert one(house, f"SELECT max(id) FROM {sequence.removesuffix('_id_seq')}") == newest, sequence


def test_leads_that_find_no_rep_with_room_use_no_id(house: House, tmp_path: Path) -> None:
    for _ in range(40):
        add_lead(house, title="x", demo_requested=True)
    tick_at(house, START)
    newest: Any = one(house, "SELECT max(id) FROM offer")
    tick_at(house, START + HOUR, START + 2 * HOUR)
    assert one(house, "SELECT count(*) FROM custody WHERE kind = 'queue' AND ref = 'hand-off'") > 0
    assert one(house, "SELECT last_value FROM pg_sequences WHERE sequencename = 'offer_id_seq'") == newest
