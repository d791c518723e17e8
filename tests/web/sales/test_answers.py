"""The other answers to a hand-off: pass it on, or have the lead called later. What no link may do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nurture.journey import run_once
from nurture.journey.handoff import roster
from nurture.runtime.public_links import PATHS
from tests.web.world import World, later

WAYS = {
    "accept": {"answer": "accept"},
    "reject": {"reason": "not-now"},
    "reassign": {"to": "ben"},
    "later": {"when": "2026-04-01"},
}


def _rep_of(world: World, who: str) -> str:
    rep: str = world.value(
        "SELECT rep FROM offer WHERE lead_id = :id ORDER BY id DESC LIMIT 1", id=world.ids[who]
    )
    return rep


def test_passing_on_asks_the_colleague_instead_with_a_brief_of_its_own(world: World) -> None:
    assert _rep_of(world, "dana") == "ana"
    before = world.everything()
    page = world.client.get(world.path("dana", "reassign"))
    assert page.status_code == 200
    assert 'value="ben"' in page.text
    assert 'value="ana"' not in page.text
    assert world.everything() == before
    page = world.client.post(world.path("dana", "reassign"), data={"to": "ben"})
    assert page.status_code == 200
    assert "Ben is asked now" in page.text
    assert _rep_of(world, "dana") == "ben"
    kind, number = world.custodian("dana")
    assert kind == "offer"
    assert world.value("SELECT state FROM message WHERE send_key = :key", key=f"brief:{number}") == "planned"
    states = "SELECT count(*) FROM offer WHERE lead_id = :id AND state = 'offered'"
    assert world.value(states, id=world.ids["dana"]) == 1


def test_a_colleague_who_is_away_is_not_asked(sqlite_world: World) -> None:
    world, day = sqlite_world, sqlite_world.clock.now().date()
    roster.add_leave(world.house, "ben", day, day, None, world.clock.now())
    before = world.everything()
    page = world.client.post(world.path("dana", "reassign"), data={"to": "ben"})
    assert page.status_code == 422
    assert "Ben has no room today, or is away." in page.text
    assert world.everything() == before


def test_a_lead_that_asked_to_be_called_in_a_quarter_is_nurtured_until_then_and_offered_again(
    world: World,
) -> None:
    page = world.client.get(world.path("dana", "later"))
    assert "In Q2 2026" in page.text
    assert "In Q1 2027" in page.text
    page = world.client.post(world.path("dana", "later"), data={"when": "2026-07-01"})
    assert page.status_code == 200
    assert "offered again on Wednesday 1 July 2026" in page.text
    assert world.custodian("dana")[0] == "track"
    assert str(world.value("SELECT call_on FROM lead WHERE id = :id", id=world.ids["dana"])) == "2026-07-01"
    for moment in (later(world, hours=1), datetime(2026, 6, 30, 23, tzinfo=UTC)):
        run_once.tick(world.house, moment)
        assert world.custodian("dana")[0] == "track"
    run_once.tick(world.house, datetime(2026, 7, 1, 0, tzinfo=UTC))
    assert world.custodian("dana")[0] == "offer"
    because = world.value(
        "SELECT because FROM offer WHERE lead_id = :id AND state = 'offered'", id=world.ids["dana"]
    )
    assert because == "asked to be called on 2026-07-01"


@pytest.mark.parametrize(
    ("way", "fields", "fault"),
    [
        ("reassign", {}, "Choose a colleague"),
        ("reassign", {"to": "ana"}, "Choose a colleague"),
        ("reassign", {"to": "zoe"}, "Choose a colleague"),
        ("later", {}, "Choose a quarter"),
        ("later", {"when": "2026-05-05"}, "Choose a quarter"),
        ("later", {"when": "2026-04-01", "when-day": "2026-05-05"}, "Choose a quarter"),
        ("later", {"when": "day", "when-day": "soon"}, "Write the date as"),
        ("later", {"when-day": "2026-01-05"}, "Choose a day from tomorrow on"),
        ("later", {"when-day": "2045-01-05"}, "at most ten years away"),
    ],
)
def test_an_unclear_answer_is_asked_for_again_and_changes_nothing(
    sqlite_world: World, way: str, fields: dict[str, str], fault: str
) -> None:
    before = sqlite_world.everything()
    page = sqlite_world.client.post(sqlite_world.path("dana", way), data=fields)
    assert page.status_code == 422
    assert fault in page.text
    assert 'role="alert"' in page.text
    assert sqlite_world.everything() == before


def test_a_link_that_is_forged_foreign_or_for_something_else_changes_nothing(sqlite_world: World) -> None:
    world = sqlite_world
    own = {way: world.token("dana", way) for way in WAYS}
    before = world.everything()
    for way, fields in WAYS.items():
        bad = [
            "x" * 22,
            own[way][:-1],
            own[way] + "A",
            own[way].swapcase(),
            world.token("mia", "preferences"),
        ]
        bad += [token for other, token in own.items() if other != way]
        bad += [world.token("dana", "desk")]
        for token in bad:
            path = f"/{PATHS[way]}/{token}"
            assert world.client.get(path).status_code == 404
            assert world.client.post(path, data=fields).status_code == 404
    for token in own.values():
        assert world.client.get(f"/i/{token}").status_code == 404
        assert world.client.post(f"/i/{token}", data={"do": "pull", "lead": "1"}).status_code == 404
    assert world.everything() == before


@pytest.mark.parametrize("first", WAYS)
def test_after_any_answer_every_link_of_the_brief_says_what_happened_and_changes_nothing(
    sqlite_world: World, first: str
) -> None:
    world = sqlite_world
    assert world.client.post(world.path("dana", first), data=WAYS[first]).status_code == 200
    before = world.everything()
    later(world, days=1)
    said = {"accept": "accepted", "reject": "given back", "reassign": "passed on", "later": "later"}[first]
    for way, fields in WAYS.items():
        for page in (
            world.client.get(world.path("dana", way)),
            world.client.post(world.path("dana", way), data=fields),
        ):
            assert page.status_code == 409
            assert said in page.text
            assert "Nothing was changed now" in page.text
    assert world.everything() == before
