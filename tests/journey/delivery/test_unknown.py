"""Doubts: what is known of them, what becomes of them, and what a person who settles them changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.errors import NotFound
from nurture.journey.delivery import run, unknown
from nurture.mail.providers.base import InDoubt
from nurture.reporting import explain
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import Post, events, everything, one, rows

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
OPEN = START + HOUR
_RESENDS = "on_doubt: {resend_after: 24 hours}\n"


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def _in_doubt(house: House) -> int:
    """Return a lead whose first touch is in doubt."""
    lead = add_lead(house, title="Head")
    house.provider = Post(lambda *_: InDoubt("the line broke"))
    tick_at(house, START, OPEN)
    house.provider = Post()
    return lead


def _message(house: House) -> int:
    number: int = one(house, "SELECT id FROM message")
    return number


def _state(house: House) -> tuple[str, str]:
    ((state, reason),) = rows(house, "SELECT state, coalesce(reason, '') FROM message")
    return state, reason


def _refs(house: House) -> list[str]:
    assert isinstance(house.provider, Post)
    return house.provider.refs


def test_what_is_known_of_a_doubt_is_listed(house: House) -> None:
    lead = _in_doubt(house)
    (found,) = unknown.listed(house)
    assert (found.lead_id, found.track, found.step) == (lead, "welcome", "01-hello")
    assert (found.called_at, found.attempts, found.reason) == (OPEN, 1, "the line broke")
    assert found.email == one(house, "SELECT email FROM address")


def test_a_touch_in_doubt_counts_as_sent_after_three_days(house: House) -> None:
    _in_doubt(house)
    (found,) = unknown.outlook(house)
    assert (found.then, found.at) == ("counts as sent", OPEN + 3 * DAY)


def test_a_brief_in_doubt_is_held(house: House) -> None:
    add_lead(house, demo_requested=True)
    house.provider = Post(lambda *_: InDoubt("the line broke"))
    tick_at(house, START)
    (found,) = unknown.outlook(house)
    assert (found.message.kind, found.then, found.at) == ("brief", "held", None)


def test_rules_that_resend_say_when_and_do_it(db: Database, tmp_path: Path) -> None:
    house = make_house(db, tmp_path, rules={**tiny_rules(), "sending.yaml": _RESENDS})
    _in_doubt(house)
    (found,) = unknown.outlook(house)
    assert (found.then, found.at) == ("sent again", OPEN + DAY)
    run.deliver(house, VirtualClock(OPEN + DAY - MINUTE))
    assert _refs(house) == []
    run.deliver(house, VirtualClock(OPEN + DAY + MINUTE))
    assert len(_refs(house)) == 1


def test_a_message_that_was_sent_counts_from_its_call_and_its_track_goes_on(house: House) -> None:
    lead = _in_doubt(house)
    unknown.settle(house, [_message(house)], OPEN + DAY, sent=True)
    assert _state(house) == ("accepted", "settled by hand: it was sent")
    assert unknown.listed(house) == []
    tick_at(house, OPEN + DAY)
    assert _refs(house) == []
    assert one(house, "SELECT step FROM enrollment WHERE lead_id = :id", id=lead) == "wait-for-click"


def test_a_message_that_was_not_sent_goes_out_once_more(house: House) -> None:
    _in_doubt(house)
    unknown.settle(house, [_message(house)], OPEN + DAY, sent=False)
    assert _state(house)[0] == "planned"
    tick_at(house, OPEN + DAY, OPEN + DAY + HOUR)
    assert len(_refs(house)) == 1
    assert _state(house)[0] == "accepted"


def test_a_message_whose_track_went_on_is_called_off_instead_of_sent_late(house: House) -> None:
    _in_doubt(house)
    tick_at(house, OPEN + 3 * DAY + HOUR)
    unknown.settle(house, [_message(house)], OPEN + 4 * DAY, sent=False)
    run.deliver(house, VirtualClock(OPEN + 4 * DAY))
    assert _refs(house) == []
    assert _state(house)[0] == "cancelled"


@pytest.mark.parametrize(("sent", "word"), [(True, "it was sent"), (False, "planned again")])
def test_the_history_of_the_lead_tells_who_said_what_and_names_nobody(
    house: House, sent: bool, word: str
) -> None:
    lead = _in_doubt(house)
    address = one(house, "SELECT email FROM address")
    unknown.settle(house, [_message(house)], OPEN + DAY, sent=sent)
    (line,) = [each for each in explain.why(house, lead, OPEN + DAY).history if each.event == "settled"]
    assert line.at == OPEN + DAY
    assert "a person" in line.because
    assert word in line.because
    assert line.ref == "touch:1:01-hello:1"
    assert address not in repr(rows(house, "SELECT * FROM journal"))


def test_settling_is_all_or_none(house: House) -> None:
    lead = _in_doubt(house)
    before = everything(house)
    with pytest.raises(NotFound, match=r"Not in doubt: 998, 999\. Nothing was settled"):
        unknown.settle(house, [999, _message(house), 998], OPEN + DAY, sent=True)
    assert everything(house) == before
    assert "settled" not in events(house, lead)


def test_what_is_settled_once_is_not_settled_twice(house: House) -> None:
    lead = _in_doubt(house)
    unknown.settle(house, [_message(house)], OPEN + DAY, sent=True)
    with pytest.raises(NotFound, match="Not in doubt"):
        unknown.settle(house, [_message(house)], OPEN + DAY, sent=False)
    assert events(house, lead).count("settled") == 1


def test_a_house_without_rules_has_no_doubts(db: Database) -> None:
    assert unknown.outlook(House(db, Post())) == []
