"""One lead, explained: where it is, who holds it, all that happened; and leads found by what people type."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import NotFound, Refused
from nurture.journey.consent.suppression import suppress
from nurture.journey.engagement import signals
from nurture.journey.handoff import sweep
from nurture.journey.leads.find import find_lead
from nurture.journey.leads.signal_queries import Recorded
from nurture.journey.outcomes import close
from nurture.journey.tracks import manual
from nurture.reporting.explain import summary, why
from nurture.reporting.leads import list_leads
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, tick_at

pytestmark = pytest.mark.quick

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def _heard(lead: int, kind: str, at: datetime, value: str | None = None) -> Recorded:
    return Recorded(
        lead, kind, at, at, f"{lead}-{kind}-{at}", "test", track="welcome", step="01-hello", value=value
    )


def test_a_lead_on_a_track_is_explained_with_its_step_its_hold_and_its_history(house: House) -> None:
    lead = add_lead(house, title="Head", first_name="Ada", last_name="Low", company="Quay")
    now = START + 3 * HOUR
    tick_at(house, START, START + HOUR, now)
    signals.record(house, [_heard(lead, "clicked", now)], now)
    seen = why(house, lead, now)
    assert (seen.name, seen.company, seen.owner) == ("Ada Low", "Quay", "marketing, by track welcome")
    assert seen.stay is not None
    assert (seen.stay.track, seen.stay.step, seen.stay.visit) == ("welcome", "wait-for-click", 1)
    assert seen.engagement == 10.0
    assert seen.due_at == now
    assert seen.held.guard == "not_due"
    assert "02-more is due on" in seen.held.because
    assert [(line.stage, line.event) for line in seen.history][:4] == [
        ("intake", "came_in"),
        ("enrol", "classified"),
        ("advance", "not_due"),
        ("advance", "touch"),
    ]
    told = {(line.stage, line.event): line for line in seen.history}
    assert told["touch", "accepted"].because == "01-hello of welcome, version 1"
    assert told["signal", "clicked"].ref == "welcome, 01-hello"
    assert [line.at for line in seen.history] == sorted(line.at for line in seen.history)
    assert dict(summary(seen))["on track"] == "welcome, step wait-for-click"
    assert orjson.loads(orjson.dumps(asdict(seen)))["lead_id"] == lead


@pytest.mark.parametrize("held_by", ["suppressed", "paused", "with_sales"])
def test_the_guard_that_holds_a_lead_is_named(house: House, held_by: str) -> None:
    lead = add_lead(house, email="ada@people.example", title="Head")
    tick_at(house, START)
    if held_by == "suppressed":
        suppress(house, ["ada@people.example"], START)
    elif held_by == "paused":
        manual.pause(house, lead, START + 9 * DAY, START)
    else:
        signals.record(house, [_heard(lead, "replied", START)], START)
        tick_at(house, START)
    seen = why(house, lead, START)
    assert seen.held.guard == held_by
    assert seen.suppressed == (("global: admin",) if held_by == "suppressed" else ())
    assert seen.paused_until == (START + 9 * DAY if held_by == "paused" else None)
    assert ("held by" in dict(summary(seen))) is True


def test_asking_writes_nothing_and_says_what_the_next_sweep_would_do(house: House) -> None:
    lead = add_lead(house, title="Head")
    tick_at(house, START)
    signals.record(house, [_heard(lead, "deciding", START, "2026-02-01")], START)
    before = why(house, lead, START)
    assert before.held.guard == ""
    assert before.held.because.startswith("decides-soon: ")
    assert before.decides_on == date(2026, 2, 1)
    assert why(house, lead, START) == before


@pytest.mark.parametrize(
    ("facts", "guard", "owner"),
    [
        ({"title": "student"}, "closed", "nobody: closed as discarded"),
        ({"email": None}, "queue", "whoever looks after the queue no-address"),
        ({"demo_requested": True}, "with_sales", "marketing, while hand-off 1 is open"),
    ],
)
def test_leads_on_no_track_are_explained_too(
    house: House, facts: dict[str, object], guard: str, owner: str
) -> None:
    lead = add_lead(house, **facts)  # type: ignore[arg-type]
    assert why(house, lead, START).held.guard == "intake"
    tick_at(house, START)
    seen = why(house, lead, START)
    assert (seen.held.guard, seen.owner, seen.stay) == (guard, owner, None)


def test_a_closed_lead_shows_how_it_ended_and_who_had_it(house: House) -> None:
    lead = add_lead(house, demo_requested=True)
    tick_at(house, START)
    sweep.accept(house, 1, START + HOUR)
    assert why(house, lead, START + HOUR).owner == "rep ana"
    close.close(house, lead, Closing.WON, START + DAY, amount=1200.0, source="crm")
    told = {(line.stage, line.event): line for line in why(house, lead, START + DAY).history}
    assert told["outcome", "won"].ref == "1,200.00"
    assert told["brief", "accepted"].because == "brief to ana"


def test_a_lead_that_nobody_keeps_is_explained_without_an_error(house: House) -> None:
    lead = add_lead(house)
    with house.database.write() as connection:
        connection.execute(text("DELETE FROM custody"))
    seen = why(house, lead, START)
    assert (seen.custodian, seen.owner, seen.held.guard) == ("nobody", "nobody", "no_custodian")


def test_explaining_an_unknown_lead_says_how_to_find_one(house: House) -> None:
    with pytest.raises(NotFound, match=r"no lead 99. `nurture leads list`"):
        why(house, 99, START)


def test_a_lead_is_found_by_its_id_its_address_in_any_spelling_or_another_system_s_id(house: House) -> None:
    lead = add_lead(house, email="Ada.Low@People.Example", source="fair", external_id="00Q-17")
    spelled = ("ada.low@people.example", "ADA.LOW@PEOPLE.EXAMPLE", "00Q-17", "fair:00Q-17")
    for named in (str(lead), f" {lead} ", *spelled):
        assert find_lead(house, named) == lead


def test_our_own_id_comes_before_another_system_s_and_the_source_tells_them_apart(house: House) -> None:
    first = add_lead(house)
    second = add_lead(house, source="fair", external_id=str(first))
    assert find_lead(house, str(first)) == first
    assert find_lead(house, f"fair:{first}") == second


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("ada.low@people.exmaple", "Did you mean ada.low@people.example?"),
        ("00Q-71", "Did you mean 00Q-17?"),
        ("nobody@nowhere.example", "`nurture leads list` lists leads"),
        ("99999999999999999999999", "There is no lead 99999999999999999999999"),
        ("gone@people.example", "known here, but no lead has it"),
        ("  ", "No lead is named"),
        ("%", "There is no lead %"),
    ],
)
def test_a_name_that_fits_nobody_is_answered_with_what_is_near(house: House, named: str, said: str) -> None:
    add_lead(house, email="ada.low@people.example", external_id="00Q-17")
    suppress(house, ["gone@people.example"], START)
    with pytest.raises(NotFound) as caught:
        find_lead(house, named)
    assert said in str(caught.value)


def test_an_external_id_of_two_leads_is_refused_with_both_ids(house: House) -> None:
    one = add_lead(house, source="fair", external_id="A7")
    two = add_lead(house, source="webinar", external_id="A7")
    with pytest.raises(Refused, match=rf"names 2 leads: {one} \(fair:A7\), {two} \(webinar:A7\)"):
        find_lead(house, "A7")


def test_leads_are_listed_with_who_is_due_first_at_the_top_and_closed_ones_last(house: House) -> None:
    closed = add_lead(house, title="student")
    head = add_lead(house, title="Head", first_name="Ada", company="Quay", source="fair")
    clerk = add_lead(house, title="Clerk")
    tick_at(house, START)
    signals.record(house, [_heard(head, "clicked", START)], START)
    rows = list_leads(house, START + 30 * DAY)
    assert [row.id for row in rows] == [head, clerk, closed]
    assert (rows[0].name, rows[0].company, rows[0].ref, rows[0].engagement) == ("Ada", "Quay", "welcome", 5.0)
    assert (rows[2].custodian, rows[2].ref, rows[2].due_at) == ("closed", "discarded", None)
    assert [row.id for row in list_leads(house, START, custodian="closed")] == [closed]
    assert [row.id for row in list_leads(house, START, track="keep")] == [clerk]
    assert [row.id for row in list_leads(house, START, source="fair")] == [head]
    assert [row.id for row in list_leads(house, START, limit=1)] == [head]
    with pytest.raises(NotFound, match="Did you mean track"):
        list_leads(house, START, custodian="trak")
