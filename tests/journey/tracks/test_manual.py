"""What a person does to one lead by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound, Refused
from nurture.journey.handoff import sweep
from nurture.journey.outcomes import close
from nurture.journey.tracks import manual
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at
from tests.journey.observe import custody, due_at, events, everything, messages, one, rows, tell

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def test_a_lead_is_put_on_another_track_and_its_old_stay_ends(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    manual.enrol(house, lead, "keep", START + HOUR)
    assert custody(house, lead) == ("track", "keep")
    assert rows(house, "SELECT track, end_reason FROM enrollment ORDER BY id") == [
        ("welcome", "moved to keep"),
        ("keep", None),
    ]
    tick_at(house, START + HOUR, START + 2 * HOUR)
    assert messages(house) == []


def test_enrolling_names_the_published_tracks(house: House) -> None:
    lead = add_lead(house)
    with pytest.raises(NotFound, match="keep, welcome"):
        manual.enrol(house, lead, "welcom", START)


def test_who_may_not_be_mailed_is_not_enrolled(house: House) -> None:
    optout, nobasis, nomail = add_lead(house), add_lead(house, basis=None), add_lead(house, email=None)
    tell(house, optout, SignalKind.UNSUBSCRIBED, START)
    before = everything(house)
    for lead in (optout, nobasis, nomail):
        with pytest.raises(Refused, match="may not be mailed"):
            manual.enrol(house, lead, "keep", START)
    assert everything(house) == before


def test_while_sales_has_a_lead_marketing_does_not_take_it(house: House) -> None:
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START)
    with pytest.raises(Refused, match="with sales"):
        manual.enrol(house, lead, "keep", START)
    sweep.accept(house, one(house, "SELECT id FROM offer"), START)
    with pytest.raises(Refused, match="with sales"):
        manual.enrol(house, lead, "keep", START)
    with pytest.raises(Refused, match="on no track"):
        manual.leave(house, lead, "by-hand", START)


def test_a_customer_goes_back_on_no_track(house: House) -> None:
    lead = add_lead(house, title="Head")
    close.close(house, lead, Closing.WON, START)
    with pytest.raises(Refused, match="closed as won"):
        manual.enrol(house, lead, "keep", START)
    assert custody(house, lead) == ("closed", "won")


def test_a_lead_leaves_its_track_for_a_queue_where_somebody_is_reminded(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    manual.leave(house, lead, "by-hand", START + HOUR)
    assert custody(house, lead) == ("queue", "by-hand")
    tick_at(house, START + 8 * DAY)
    assert events(house, lead)[-1] == "reminder"
    assert messages(house) == []


def test_a_pause_holds_everything_and_its_end_lets_the_track_go_on(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    manual.pause(house, lead, START + 5 * DAY, START)
    for day in range(4):
        tick_at(house, START + day * DAY + 2 * HOUR)
    assert messages(house) == []
    assert due_at(house, lead) == START + 5 * DAY
    manual.pause(house, lead, None, START + 4 * DAY)
    tick_at(house, START + 4 * DAY + 2 * HOUR)
    assert len(messages(house)) == 1
    assert events(house, lead).count("paused") >= 1
    assert "resumed" in events(house, lead)


@pytest.mark.parametrize("days", [0, -1, 61])
def test_a_pace_beyond_what_a_track_can_keep_is_refused(house: House, days: int) -> None:
    lead = add_lead(house)
    before = everything(house)
    with pytest.raises(Refused, match="Choose 1 to 60 days, or a pause"):
        manual.set_pace(house, lead, days, START)
    assert everything(house) == before


def test_closing_ends_everything_and_withdraws_an_open_offer(house: House) -> None:
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START)
    close.close(house, lead, Closing.WON, START + HOUR, happened_at=START - DAY, amount=900.0)
    assert custody(house, lead) == ("closed", "won")
    assert due_at(house, lead) is None
    assert one(house, "SELECT state FROM offer") == "withdrawn"
    assert rows(house, "SELECT closing, amount FROM outcome") == [("won", 900.0)]
    with pytest.raises(Refused, match="already withdrawn"):
        sweep.accept(house, one(house, "SELECT id FROM offer"), START + HOUR)


def test_closing_twice_alike_changes_nothing_and_otherwise_is_refused(house: House) -> None:
    lead = add_lead(house)
    close.close(house, lead, Closing.WON, START)
    before = everything(house)
    close.close(house, lead, Closing.WON, START + DAY)
    with pytest.raises(Refused, match="closed as won already"):
        close.close(house, lead, Closing.LOST, START + DAY, reason="late")
    assert everything(house) == before


def test_a_lead_that_is_not_there_is_named_and_nothing_is_done(house: House) -> None:
    before = everything(house)
    for act in (
        lambda: manual.enrol(house, 99, "keep", START),
        lambda: manual.leave(house, 99, "by-hand", START),
        lambda: manual.pause(house, 99, None, START),
        lambda: manual.set_pace(house, 99, 30, START),
        lambda: close.close(house, 99, Closing.WON, START),
    ):
        with pytest.raises(NotFound, match="no lead 99"):
            act()
    assert everything(house) == before
