"""Other answers to a hand-off: reassign it or postpone the call; and what no link may do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nurture.journey import run_once
from nurture.journey.handoff import roster
from nurture.runtime.public_links import PATHS
from tests.web.world import World, advance_clock

ANSWERS = {
    "accept": {"answer": "accept"},
    "reject": {"reason": "not-now"},
    "reassign": {"to": "ben"},
    "call_back_later": {"when": "2026-04-01"},
}


def _rep_of(world: World, who: str) -> str:
    rep: str = world.value("SELECT rep FROM offer WHERE lead_id = :id ORDER BY id DESC LIMIT 1", id=world.ids[who])
    return rep


def test_passing_a_lead_on_sends_the_colleague_a_brief(world: World) -> None:
    assert _rep_of(world, "dana") == "ana"
    before = world.all_rows()
    page = world.client.get(world.path("dana", "reassign"))
    assert page.status_code == 200
    assert 'value="ben"' in page.text
    assert 'value="ana"' not in page.text
    assert world.all_rows() == before
    page = world.client.post(world.path("dana", "reassign"), data={"to": "ben"})
    assert page.status_code == 200
    assert "The lead is offered to Ben" in page.text
    assert _rep_of(world, "dana") == "ben"
    kind, number = world.custodian("dana")
    assert kind == "offer"
    assert world.value("SELECT state FROM message WHERE send_key = :key", key=f"brief:{number}") == "planned"
    states = "SELECT count(*) FROM offer WHERE lead_id = :id AND state = 'offered'"
    assert world.value(states, id=world.ids["dana"]) == 1


def test_a_lead_is_not_passed_to_an_absent_colleague(sqlite_world: World) -> None:
    world, day = sqlite_world, sqlite_world.clock.now().date()
    roster.add_leave(world.ctx, "ben", day, day, None, world.clock.now())
    before = world.all_rows()
    page = world.client.post(world.path("dana", "reassign"), data={"to": "ben"})
    assert page.status_code == 422
    assert "Ben has no capacity today, or is away." in page.text
    assert world.all_rows() == before


def test_a_lead_that_asked_to_be_called_in_a_quarter_is_nurtured_until_then_and_offered_again(world: World) -> None:
    page = world.client.get(world.path("dana", "call_back_later"))
    assert "In Q2 2026" in page.text
    assert "In Q1 2027" in page.text
    page = world.client.post(world.path("dana", "call_back_later"), data={"when": "2026-07-01"})
    assert page.status_code == 200
    assert "offered again on Wednesday 1 July 2026" in page.text
    assert world.custodian("dana")[0] == "track"
    assert str(world.value("SELECT call_on FROM lead WHERE id = :id", id=world.ids["dana"])) == "2026-07-01"
    for now in (advance_clock(world, hours=1), datetime(2026, 6, 30, 23, tzinfo=UTC)):
        run_once.run_once(world.ctx, now)
        assert world.custodian("dana")[0] == "track"
    run_once.run_once(world.ctx, datetime(2026, 7, 1, 0, tzinfo=UTC))
    assert world.custodian("dana")[0] == "offer"
    reason = world.value(
        "SELECT handoff_reason FROM offer WHERE lead_id = :id AND state = 'offered'", id=world.ids["dana"]
    )
    assert reason == "asked to be called on 2026-07-01"


@pytest.mark.parametrize(
    ("action", "fields", "problem"),
    [
        ("reassign", {}, "Choose a colleague"),
        ("reassign", {"to": "ana"}, "Choose a colleague"),
        ("reassign", {"to": "zoe"}, "Choose a colleague"),
        ("call_back_later", {}, "Choose a quarter"),
        ("call_back_later", {"when": "2026-05-05"}, "Choose a quarter"),
        ("call_back_later", {"when": "2026-04-01", "when-day": "2026-05-05"}, "Choose a quarter"),
        ("call_back_later", {"when": "day", "when-day": "soon"}, "enter a date such as 2027-03-31"),
        ("call_back_later", {"when-day": "2026-01-05"}, "Choose a day from tomorrow on"),
        ("call_back_later", {"when-day": "2045-01-05"}, "at most ten years away"),
    ],
)
def test_an_ambiguous_answer_shows_the_form_again_and_changes_nothing(
    sqlite_world: World, action: str, fields: dict[str, str], problem: str
) -> None:
    before = sqlite_world.all_rows()
    page = sqlite_world.client.post(sqlite_world.path("dana", action), data=fields)
    assert page.status_code == 422
    assert problem in page.text
    assert 'role="alert"' in page.text
    assert sqlite_world.all_rows() == before


def test_a_link_that_is_forged_foreign_or_for_something_else_changes_nothing(sqlite_world: World) -> None:
    world = sqlite_world
    own = {action: world.token("dana", action) for action in ANSWERS}
    before = world.all_rows()
    for action, fields in ANSWERS.items():
        bad = ["x" * 22, own[action][:-1], own[action] + "A", own[action].swapcase(), world.token("mia", "preferences")]
        bad += [token for other, token in own.items() if other != action]
        bad += [world.token("dana", "workspace")]
        for token in bad:
            path = f"/{PATHS[action]}/{token}"
            assert world.client.get(path).status_code == 404
            assert world.client.post(path, data=fields).status_code == 404
    for token in own.values():
        assert world.client.get(f"/i/{token}").status_code == 404
        assert world.client.post(f"/i/{token}", data={"do": "claim", "lead": "1"}).status_code == 404
    assert world.all_rows() == before


@pytest.mark.parametrize("first", ANSWERS)
def test_after_any_answer_every_link_of_the_brief_shows_it_and_changes_nothing(sqlite_world: World, first: str) -> None:
    world = sqlite_world
    assert world.client.post(world.path("dana", first), data=ANSWERS[first]).status_code == 200
    before = world.all_rows()
    advance_clock(world, days=1)
    expected = {"accept": "accepted", "reject": "given back", "reassign": "passed on", "call_back_later": "later"}[
        first
    ]
    for action, fields in ANSWERS.items():
        form, answered = (
            world.client.get(world.path("dana", action)),
            world.client.post(world.path("dana", action), data=fields),
        )
        if first == "accept":
            assert form.status_code == 200
            assert "How does it stand?" in form.text
        for page in (answered,) if first == "accept" else (form, answered):
            assert page.status_code == 409
            assert expected in page.text
            assert "Nothing was changed." in page.text
    assert world.all_rows() == before
