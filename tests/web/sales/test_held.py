"""The page of an accepted lead: what its rep can say of it, by the workspace and by the links of the brief."""

from __future__ import annotations

import pytest

from nurture.clock import VirtualClock
from nurture.journey.handoff import responses
from tests.web.world import World, advance_clock


@pytest.fixture(params=["workspace", "accept", "reject"])
def held(sqlite_world: World, request: pytest.FixtureRequest) -> tuple[World, str]:
    """Return a world in which Ana accepted Dana, and a path that leads to Dana's page."""
    offer = sqlite_world.custodian("dana")[1]
    responses.accept(sqlite_world.ctx, int(offer), sqlite_world.clock.now())
    path = sqlite_world.path("dana", request.param)
    return sqlite_world, f"{path}/{offer}" if request.param == "workspace" else path


def _submit(world: World, path: str, status: int = 200, **fields: str) -> str:
    page = world.client.post(path, data=fields)
    assert page.status_code == status
    return page.text


def test_the_page_shows_every_way_and_a_get_changes_nothing(held: tuple[World, str]) -> None:
    world, path = held
    before = world.all_rows()
    page = world.client.get(path)
    assert page.status_code == 200
    for expected in ("I contacted them", "won, lost or disqualified", "Give it back", "Pass it on", "no mail"):
        assert expected in page.text
    assert 'href="mailto:dana@people.example"' in page.text
    assert world.all_rows() == before


def test_a_contact_with_a_next_step_is_recorded(held: tuple[World, str]) -> None:
    world, path = held
    page = _submit(world, path, do="contacted", stage="in talks", next_step_on="2026-02-02")
    assert "after the next step on 02 February 2026" in page
    assert world.value("SELECT stage FROM offer WHERE rep = 'ana'") == "in talks"
    assert "in talks; next step on 02 Feb 2026" in world.client.get(path).text
    assert "Choose a date from today on" in _submit(world, path, 422, do="contacted", next_step_on="2020-01-01")
    assert "not within a year" in _submit(world, path, 422, do="contacted", next_step_on="2035-01-01")


def test_a_lead_is_closed_with_amount_or_reason(held: tuple[World, str]) -> None:
    world, path = held
    assert "Choose how it ended." in _submit(world, path, 422, do="close")
    assert "Say in a few words why." in _submit(world, path, 422, do="close", outcome="lost")
    assert "Write the amount" in _submit(world, path, 422, do="close", outcome="won", amount="many")
    assert world.custodian("dana") == ("rep", "ana")
    assert "closed as won" in _submit(world, path, do="close", outcome="won", amount="1200")
    assert world.custodian("dana") == ("resting", "customer")
    assert world.value("SELECT amount FROM outcome") == 1200.0
    _submit(world, path, 409, do="close", outcome="lost", why="no")


@pytest.mark.parametrize("outcome", ["lost", "discarded"])
def test_a_lead_that_is_over_for_now_rests_until_the_day_that_its_rep_names(
    held: tuple[World, str], outcome: str
) -> None:
    world, path = held
    for day in ("2020-01-01", "2040-01-01", "soon"):
        page = _submit(world, path, 422, do="close", outcome=outcome, why="a contract elsewhere", again_on=day)
        assert "Choose a day from tomorrow to" in page
    assert world.custodian("dana") == ("rep", "ana")
    page = _submit(world, path, do="close", outcome=outcome, why="a contract elsewhere", again_on="2026-09-01")
    assert "It rests until 01 September 2026, and is then classified again." in page
    assert world.custodian("dana") == ("resting", "later")
    due = world.value("SELECT due_at FROM custody WHERE lead_id = :id", id=world.ids["dana"])
    assert str(due).replace("T", " ").startswith("2026-09-01 00:00")


def test_a_won_lead_rests_as_a_customer_whatever_day_is_named(held: tuple[World, str]) -> None:
    world, path = held
    _submit(world, path, do="close", outcome="won", again_on="2026-09-01")
    assert world.custodian("dana") == ("resting", "customer")


@pytest.mark.parametrize(("outcome", "ref"), [("lost", "lost"), ("discarded", "discarded")])
def test_a_lead_is_lost_or_disqualified_with_the_reason(held: tuple[World, str], outcome: str, ref: str) -> None:
    world, path = held
    _submit(world, path, do="close", outcome=outcome, why="bought elsewhere")
    assert world.custodian("dana") == ("closed", ref)
    assert world.value("SELECT reason FROM outcome") == "bought elsewhere"
    assert "This lead is no longer with Ana" in _submit(world, path, 409, do="no_mail")


def test_a_lead_is_given_back_or_passed_on(held: tuple[World, str]) -> None:
    world, path = held
    assert "Choose the reason" in _submit(world, path, 422, do="reject")
    assert "Choose a colleague." in _submit(world, path, 422, do="reassign")
    advance_clock(world, hours=1)
    assert "We take it from here" in _submit(world, path, do="reject", reason="not-now")
    assert world.custodian("dana") == ("track", "keep")
    assert world.client.get(path).status_code == 409


def test_a_lead_that_wants_no_mail_stays_with_the_rep(held: tuple[World, str]) -> None:
    world, path = held
    assert "We never mail them again" in _submit(world, path, do="no_mail")
    assert world.custodian("dana") == ("rep", "ana")
    assert world.value("SELECT count(*) FROM suppression") == 1
    assert "They want no mail from us" not in world.client.get(path).text


def test_a_form_without_an_action_and_one_of_another_page_change_nothing(held: tuple[World, str]) -> None:
    world, path = held
    before = world.all_rows()
    for fields in ({}, {"answer": "accept"}, {"reason": "not-now"}, {"do": "call_back_later", "when": "2026-04-01"}):
        _submit(world, path, 409, **fields)
    assert world.all_rows() == before


def test_another_rep_and_a_lead_that_left_have_no_such_page(sqlite_world: World) -> None:
    world = sqlite_world
    offer = world.custodian("dana")[1]
    responses.accept(world.ctx, int(offer), world.clock.now())
    assert world.client.get(f"{world.path('erik', 'workspace')}/{offer}").status_code == 404
    responses.reject(world.ctx, int(offer), "not-now", world.clock.now())
    assert isinstance(world.clock, VirtualClock)
    assert world.client.get(f"{world.path('dana', 'workspace')}/{offer}").status_code == 409
