"""A database whose ids have outgrown 32 bits works as on its first day."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.domain.lead import Closing
from nurture.journey import audit, explain, forget, handoff, steer
from nurture.journey.house import House
from nurture.store.database import Database

from .builders import make_house, tick_at
from .looking import custody, one, rows
from .test_forget import everything_happens
from .test_replies import DAY, HOUR, NOW

PAST = 2**31


@pytest.fixture
def house(postgres_db: Database, tmp_path: Path) -> House:
    with postgres_db.write() as connection:
        sequences = connection.execute(text("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S'"))
        for number, name in enumerate(sequences.scalars().all()):
            connection.execute(
                text("SELECT setval(CAST(:name AS regclass), :to)"), {"name": name, "to": PAST + 1000 * number}
            )
    house = make_house(postgres_db, tmp_path)
    house.reply_domain, house.base_url, house.origin = "in.example.com", "https://go.example.com", "0badcafe"
    return house


def test_a_lead_goes_its_whole_way_with_ids_past_32_bits(house: House, tmp_path: Path) -> None:
    lead = everything_happens(house, tmp_path)
    handoff.accept(house, one(house, "SELECT id FROM offer"), NOW + 2 * HOUR)
    steer.close(house, lead, Closing.WON, NOW + 3 * HOUR)
    tick_at(house, NOW + 4 * HOUR, NOW + DAY)
    assert custody(house, lead) == ("closed", "won")
    assert explain.why(house, lead, NOW + DAY).lead_id == lead
    assert audit.audit(house, NOW + DAY).ok
    forget.forget(house, str(lead), NOW + 2 * DAY)
    for table in ("lead", "address", "signal", "message", "offer", "enrollment", "journal"):
        assert rows(house, f"SELECT min(id) > {PAST} FROM {table}") == [(True,)], table
