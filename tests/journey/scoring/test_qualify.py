"""What somebody learned of a lead is kept with its source, and rules may ask it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.scoring.bant import Sure
from nurture.errors import Refused
from nurture.journey.tracks.manual import qualify
from nurture.reporting import explain
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import custody, everything, one

HOUR = timedelta(hours=1)
POLICY = "sales/policy.yaml"


@pytest.fixture
def house(sqlite_db: Database, tmp_path: Path) -> House:
    rules = tiny_rules()
    rules[POLICY] = rules[POLICY].replace(
        "  - name: replied\n    when: {did: replied}",
        "  - name: qualified\n    when: {bant: {budget: confirmed, need: known}}",
    )
    return make_house(sqlite_db, tmp_path, rules=rules)


def test_a_lead_is_handed_off_when_enough_is_known_of_it_and_says_why(house: House) -> None:
    lead = add_lead(house, need="less stock")
    tick_at(house, START)
    qualify(house, lead, {"budget": "some"}, START, source="ana")
    tick_at(house, START)
    assert custody(house, lead)[0] == "track"
    qualify(
        house, lead, {"budget": "20k"}, START + HOUR, source="ana", sure=Sure.CONFIRMED, on=date(2026, 1, 2)
    )
    tick_at(house, START + HOUR)
    assert custody(house, lead)[0] == "offer"
    because = one(house, "SELECT because FROM offer")
    assert because == "qualified: budget confirmed since 2026-01-02 and need known"
    shown = dict(explain.summary(explain.why(house, lead, START + HOUR)))
    assert shown["budget"] == "20k (confirmed by ana on 2026-01-02)"
    assert shown["need"] == "less stock (came with the lead)"


def test_the_journal_says_who_told_and_not_what(house: House) -> None:
    lead = add_lead(house)
    tick_at(house, START)
    qualify(house, lead, {"authority": "SECRET"}, START, source="form")
    assert (
        one(house, "SELECT because FROM journal WHERE event = 'qualified'")
        == "authority told by form on 2026-01-05"
    )


def test_what_is_not_said_or_yet_to_come_is_refused(house: House) -> None:
    lead = add_lead(house)
    tick_at(house, START)
    before = everything(house)
    with pytest.raises(Refused, match="Nothing was said"):
        qualify(house, lead, {}, START, source="ana")
    with pytest.raises(Refused, match="is yet to come"):
        qualify(house, lead, {"need": "x"}, START, source="ana", on=date(2027, 1, 1))
    assert everything(house) == before
