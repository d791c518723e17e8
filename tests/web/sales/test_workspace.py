"""The workspace of a rep: its content and its actions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.clock import VirtualClock
from nurture.domain.lead import PausedBy
from nurture.errors import NotFound
from nurture.journey import run_once
from nurture.journey.handoff import responses, roster, workspace, workspace_links
from nurture.journey.tracks import manual
from tests.journey.observe import add_leads, recorded_statements
from tests.web.world import NOW, World, advance_clock


def _workspace_path(world: World) -> str:
    return world.path("dana", "workspace")


def _submit(world: World, status: int = 200, **fields: object) -> str:
    page = world.client.post(_workspace_path(world), data={name: str(value) for name, value in fields.items()})
    assert page.status_code == status
    return page.text


def _give_back(world: World, reason: str = "not-now") -> None:
    assert world.client.post(world.path("dana", "reject"), data={"reason": reason}).status_code == 200


def test_the_workspace_shows_open_offers_and_viewing_changes_nothing(world: World) -> None:
    before = world.all_rows()
    page = world.client.get(_workspace_path(world))
    assert page.status_code == 200
    assert "1 to answer, 0 to follow up, 0 in work, 0 former leads on tracks." in page.text
    assert "Dana Miller" in page.text
    assert "Acme &amp; Sons &lt;Ltd&gt;" in page.text
    assert "Answer by Tuesday 6 January 2026, 08:00 (UTC)" in page.text
    assert "Erik" not in page.text  # he is offered to Ben
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in page.headers
    assert world.all_rows() == before


def test_an_offer_is_answered_from_the_workspace_in_every_way(sqlite_world: World) -> None:
    world = sqlite_world
    offer = world.custodian("dana")[1]
    page = world.client.get(f"{_workspace_path(world)}/{offer}")
    for expected in ("Accept this lead", "Give the lead back", "Pass the lead on", "Have them called then"):
        assert expected in page.text
    unclear = world.client.post(f"{_workspace_path(world)}/{offer}", data={"do": "reject"})
    assert unclear.status_code == 422
    assert "<details open><summary>Give it back" in unclear.text
    assert world.custodian("dana") == ("offer", offer)
    page = world.client.post(f"{_workspace_path(world)}/{offer}", data={"do": "call_back_later", "when": "2026-04-01"})
    assert page.status_code == 200
    assert f'href="../{world.token("dana", "workspace")}"' in page.text
    assert world.custodian("dana")[0] == "track"
    assert world.client.get(f"{_workspace_path(world)}/{offer}").status_code == 409


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30, "%00"])
def test_an_offer_of_another_rep_is_not_found(sqlite_world: World, number: str) -> None:
    before = sqlite_world.all_rows()
    for one in (number, sqlite_world.custodian("erik")[1]):
        path = f"{_workspace_path(sqlite_world)}/{one}"
        assert sqlite_world.client.get(path).status_code == 404
        fields = {"do": "accept", "answer": "accept"}
        assert sqlite_world.client.post(path, data=fields).status_code == 404
    assert sqlite_world.all_rows() == before


def test_an_accepted_lead_needs_follow_up_until_its_rep_reaches_it(world: World) -> None:
    offer = f"{_workspace_path(world)}/{world.custodian('dana')[1]}"
    accepted = world.client.post(offer, data={"do": "accept", "answer": "accept"})
    assert f'href="../{world.token("dana", "workspace")}"' in accepted.text
    assert "0 to answer, 1 to follow up" in world.client.get(_workspace_path(world)).text
    page_text = _submit(world, do="reached", lead=world.ids["dana"])
    assert "Recorded: you contacted them" in page_text
    page = world.client.get(_workspace_path(world)).text
    assert "0 to answer, 0 to follow up" in page
    assert "Contacted." in page
    assert world.custodian("dana") == ("rep", "ana")


def test_a_reps_latest_rating_of_an_accepted_lead_is_used(world: World) -> None:
    offer = world.custodian("dana")[1]
    _submit(world, 409, do="vote", offer=offer, useful="yes")
    world.client.post(world.path("dana", "accept"), data={"answer": "accept"})
    for word, useful in (("no", False), ("yes", True)):
        _submit(world, do="vote", offer=offer, useful=word)
        assert bool(world.value("SELECT useful FROM offer_rating WHERE offer_id = :id", id=int(offer))) is useful
        assert f"You said {word}." in world.client.get(_workspace_path(world)).text
    assert world.value("SELECT count(*) FROM offer_rating") == 1


def test_a_returned_lead_can_be_held_and_resumed(world: World) -> None:
    _give_back(world)
    page = world.client.get(_workspace_path(world)).text
    assert "you gave it back on 05 Jan 2026 (Not now); now on the track keep" in page
    assert "Paused for a month" in _submit(world, do="hold", lead=world.ids["dana"], **{"for": "30"})
    assert "paused until 04 Feb 2026" in world.client.get(_workspace_path(world)).text
    advance_clock(world, hours=1)
    assert "Its track continues" in _submit(world, do="resume", lead=world.ids["dana"])
    assert world.value("SELECT paused_until FROM lead WHERE id = :id", id=world.ids["dana"]) is None


def test_a_pause_that_the_lead_asked_for_is_not_ended_by_a_rep(sqlite_world: World) -> None:
    world = sqlite_world
    _give_back(world)
    until = NOW + timedelta(days=200)
    manual.pause(world.ctx, world.ids["dana"], until, world.clock.now(), paused_by=PausedBy.PREFERENCE_PAGE)
    _submit(world, 409, do="resume", lead=world.ids["dana"])
    _submit(world, do="hold", lead=world.ids["dana"], **{"for": "14"})
    assert str(world.value("SELECT paused_until FROM lead WHERE id = :id", id=world.ids["dana"]))[:10] == (
        f"{until:%Y-%m-%d}"
    )
    for days in (14, 90):
        _submit(world, do="hold", lead=world.ids["dana"], **{"for": str(days)})
        _submit(world, 409, do="resume", lead=world.ids["dana"])


def test_a_rep_can_expedite_the_next_email(sqlite_world: World) -> None:
    world = sqlite_world
    _give_back(world)  # thirty days without mail, then ten more until the first email
    assert "as soon as possible" in _submit(world, do="expedite", lead=world.ids["dana"])
    touch_count = "SELECT count(*) FROM message WHERE lead_id = :id AND kind = 'touch'"
    assert world.value(touch_count, id=world.ids["dana"]) == 0
    for _ in range(2):
        run_once.run_once(world.ctx, advance_clock(world, hours=1))
        if not world.value(touch_count, id=world.ids["dana"]):
            _submit(world, do="expedite", lead=world.ids["dana"])
    run_once.run_once(world.ctx, advance_clock(world, minutes=5))
    assert world.value(touch_count, id=world.ids["dana"]) == 1


def test_a_rep_claims_a_lead_off_its_track_and_is_offered_it_at_once(world: World) -> None:
    _give_back(world)
    assert "The lead is offered to you" in _submit(world, do="claim", lead=world.ids["dana"])
    kind, number = world.custodian("dana")
    assert kind == "offer"
    assert world.value("SELECT rep FROM offer WHERE id = :id", id=int(number)) == "ana"
    assert "1 to answer" in world.client.get(_workspace_path(world)).text
    before = world.all_rows()
    _submit(world, 409, do="claim", lead=world.ids["dana"])
    assert world.all_rows() == before


@pytest.mark.parametrize("do", ["reached", "hold", "resume", "expedite", "claim", "vote"])
def test_a_rep_cannot_act_on_leads_of_others(sqlite_world: World, do: str) -> None:
    world = sqlite_world
    before = world.all_rows()
    offer = world.custodian("erik")[1]
    for lead in (world.ids["mia"], world.ids["erik"], 0, "9" * 40, "-1", "x", ""):
        _submit(world, 409, do=do, lead=lead, offer=offer, useful="yes", **{"for": "14"})
    _submit(world, 400, do="anything", lead=world.ids["dana"])
    assert world.all_rows() == before


def test_a_link_expires_and_can_be_revoked_at_once(sqlite_world: World) -> None:
    world = sqlite_world
    other = workspace_links.create(world.ctx, "ben", world.clock.now())
    assert world.client.get(_workspace_path(world)).status_code == 200
    assert workspace_links.revoke(world.ctx, "ana", world.clock.now()) == (1, 4)
    assert world.client.get(_workspace_path(world)).status_code == 404
    assert world.client.post(_workspace_path(world), data={"do": "claim", "lead": "1"}).status_code == 404
    assert world.client.get(f"/i/{other.token}").status_code == 200
    advance_clock(world, days=30)
    assert world.client.get(f"/i/{other.token}").status_code == 404
    with pytest.raises(NotFound, match=r"no rep 'zoe' in the policy\. Reps: ana, ben"):
        workspace_links.create(world.ctx, "zoe", world.clock.now())


def test_a_workspace_costs_as_many_statements_for_two_hundred_leads_as_for_one(sqlite_world: World) -> None:
    world = sqlite_world
    with recorded_statements(world.ctx.database) as few:
        workspace.load_workspace(world.ctx, "ana", world.clock.now())
    ids = add_leads(world.ctx, 300, NOW, full_name="One", demo_requested=True)
    with world.ctx.database.write() as tx:
        for kept, (first, last) in {
            "kind = 'rep', ref = 'ana'": (ids[0], ids[149]),
            "kind = 'track', ref = 'keep'": (ids[150], ids[-1]),
        }.items():
            wanted = f"UPDATE custody SET {kept}, version = version + 1 WHERE lead_id BETWEEN {first} AND {last}"
            tx.exec_driver_sql(wanted)
        tx.exec_driver_sql(
            "INSERT INTO offer (lead_id, rep, rule, handoff_reason, routing_reason, policy_version, state, "
            "offered_at, expires_at, answered_at, escalation_level, round, priority, hot) "
            "SELECT id, 'ana', '', '', '', 1, 'rejected', created_at, created_at, created_at, 0, 1, 0, 0 "
            f"FROM lead WHERE id >= {ids[150]}"
        )
    with recorded_statements(world.ctx.database) as many:
        full = workspace.load_workspace(world.ctx, "ana", world.clock.now())
    assert len(many) == len(few) <= 8
    rows = (full.offered, full.in_hand, full.on_tracks, full.past_leads)
    assert sum(map(len, rows)) <= workspace.MAX_ROWS
    assert full.is_full


def test_a_rep_is_listed_with_open_and_overdue_leads(world: World) -> None:
    def workload() -> tuple[int, int, int]:
        ana = next(one for one in roster.load_roster(world.ctx, world.clock.now()) if one.id == "ana")
        return ana.open_offers, ana.overdue_offers, ana.to_follow_up

    assert workload() == (1, 0, 0)
    advance_clock(world, days=2)
    assert workload() == (1, 1, 0)
    world.clock = VirtualClock(NOW)
    responses.accept(world.ctx, int(world.custodian("dana")[1]), NOW)
    assert workload() == (0, 0, 0)
    advance_clock(world, days=3)
    assert workload() == (0, 0, 1)


def test_the_workspace_is_filtered_and_sorted_and_leads_to_each_brief(sqlite_world: World) -> None:
    world = sqlite_world
    offer = world.custodian("dana")[1]
    assert "Dana Miller" not in world.client.get(f"{_workspace_path(world)}?show=hot").text
    responses.accept(world.ctx, int(offer), world.clock.now())
    for query in ("", "?sort=due", "?sort=company&show=all", "?sort=<b>&show=%22"):
        page = world.client.get(f"{_workspace_path(world)}{query}")
        assert page.status_code == 200
        assert f'href="{world.token("dana", "workspace")}/{offer}"' in page.text
        assert "<b>" not in page.text


def test_the_order_of_heat_puts_overdue_then_hot_then_priority_first() -> None:
    cards = [
        workspace.LeadCard(1, 1, "A", "Zed", "", priority=5.0),
        workspace.LeadCard(2, 2, "B", "Yak", "", hot=True),
        workspace.LeadCard(3, 3, "C", "Xen", "", state="overdue"),
        workspace.LeadCard(4, 4, "D", "Abc", "", priority=9.0),
    ]
    assert [one.lead_id for one in workspace.DEFAULT_VIEW.select(cards)] == [3, 2, 4, 1]
    assert [one.lead_id for one in workspace.WorkspaceView("hot").select(cards)] == [2]
    assert [one.lead_id for one in workspace.WorkspaceView("all", "company").select(cards)] == [4, 3, 2, 1]
