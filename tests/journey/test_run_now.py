"""Answering at once: what a lead did is decided about without waiting for a sweep."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey import run_now
from nurture.journey.engagement import signals
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import counted, crowd, custody, everything, heard, rows, tell

HOUR = timedelta(hours=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def test_a_reply_is_offered_to_a_rep_at_once(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START, START + HOUR, START + HOUR)
    tell(house, lead, SignalKind.REPLIED, START + 2 * HOUR)
    assert run_now.answer(house, START + 2 * HOUR) == 1
    assert custody(house, lead)[0] == "offer"
    assert rows(house, "SELECT kind, state FROM message WHERE kind = 'brief'") == [("brief", "planned")]


def test_a_click_is_decided_about_at_once(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START, START + HOUR, START + HOUR)
    clicked = heard(lead, SignalKind.CLICKED, START + 2 * HOUR, step="01-hello")
    signals.record(house, [clicked], START + 2 * HOUR)
    assert run_now.answer(house, START + 2 * HOUR) == 1
    assert rows(house, "SELECT step FROM enrollment") == [("02-more",)]


def test_nothing_due_costs_one_look_and_changes_nothing(house: House) -> None:
    crowd(house, 20, title="Head")
    tick_at(house, START, START + HOUR, START + HOUR)
    before = everything(house)
    with counted(house.database) as statements:
        assert run_now.answer(house, START + HOUR) == 0
    assert len([one for one in statements if one != "BEGIN"]) == 1
    assert everything(house) == before


def test_a_backlog_is_left_to_the_sweeps(house: House) -> None:
    crowd(house, run_now.AT_ONCE + 10, title="Head")
    tick_at(house, START)
    assert run_now.answer(house, START + HOUR) == run_now.AT_ONCE
    assert rows(house, "SELECT count(*) FROM message") == [(run_now.AT_ONCE,)]
