"""The page of a person's queues: what it shows, and its decisions."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from nurture.journey import run_once
from nurture.journey.handoff import responses, workspace_links
from nurture.journey.handoff.waiting.lists import load_waiting
from nurture.reporting import explain
from nurture.runtime import public_links
from nurture.runtime.public_links import LinkSpec
from tests.web.world import BASE, NOW, World, advance_clock


@pytest.fixture
def path(world: World) -> str:
    """Return the page of ana's queues: she gave Dana back, and got an email about it the next morning."""
    responses.reject(world.ctx, int(world.custodian("dana")[1]), "please-check", NOW, note="A <b>second</b> Dana?")
    return queues_path(world)


def queues_path(world: World) -> str:
    """Return the path in the email that ana gets the next morning about what waits."""
    run_once.run_once(world.ctx, NOW + timedelta(days=1))
    advance_clock(world, days=1)
    mail = world.value("SELECT max(id) FROM message WHERE kind = 'waiting' AND rep = 'ana' AND state = 'accepted'")
    link = public_links.make_link(LinkSpec(public_links.QUEUES, world.ids["dana"], mail))
    with world.ctx.database.write() as tx:
        public_links.store_links(tx, [link], NOW)
    return link.url(BASE).removeprefix(BASE)


def _submit(world: World, path: str, status: int = 200, **fields: object) -> str:
    page = world.client.post(path, data={"lead": str(world.ids["dana"]), **{k: str(v) for k, v in fields.items()}})
    assert page.status_code == status
    return page.text


def test_the_page_shows_what_waits_and_viewing_changes_nothing(world: World, path: str) -> None:
    before = world.all_rows()
    page = world.client.get(path)
    assert page.status_code == 200
    assert "1 lead, 0 for too long." in page.text
    assert "Acme &amp; Sons &lt;Ltd&gt;" in page.text
    assert re.search("in Needs a look since Monday 5 January 2026, 12:00", page.text)
    assert "Ana gave it back: Please check: A &lt;b&gt;second&lt;/b&gt; Dana? (05 Jan 2026)" in page.text
    assert world.all_rows() == before


def test_a_weekly_review_keeps_why_the_lead_is_in_its_queue(world: World, path: str) -> None:
    for days in (7, 14):
        advance_clock(world, days=7)
        run_once.run_once(world.ctx, NOW + timedelta(days=days + 1))
    reason = "ana rejected: please-check (Please check)"
    with world.ctx.database.read() as tx:
        policy = world.ctx.definitions.current(tx).policy
        (lead,) = load_waiting(tx, policy, world.ctx.holidays, NOW, person="ana", limit=9).leads
    assert lead.reason == reason
    explained = explain.explain(world.ctx, world.ids["dana"], NOW + timedelta(days=15))
    assert explained.next_action == f"review it: overdue; {reason}"
    assert explained.notes == ("A <b>second</b> Dana? (ana, please-check)",)


def test_a_lead_is_given_to_a_rep(world: World, path: str) -> None:
    assert "Choose a rep." in _submit(world, path, 422, do="assign", to="nobody")
    assert "It is offered to the rep" in _submit(world, path, do="assign", to="ben")
    assert world.custodian("dana")[0] == "offer"
    assert "Nothing was changed" in _submit(world, path, 409, do="discard", reason="late")
    assert world.custodian("dana")[0] == "offer"


def test_a_lead_goes_back_or_ends_only_with_a_reason(world: World, path: str) -> None:
    assert "Write the reason" in _submit(world, path, 422, do="discard", reason="  ")
    assert world.custodian("dana") == ("queue", "needs-a-look")
    _submit(world, path, do="nurture", reason="wants to read first")
    assert world.custodian("dana")[0] == "track"


def test_the_workspace_of_an_owner_has_the_queues_too(world: World, path: str) -> None:
    link = workspace_links.create(world.ctx, "ana", NOW + timedelta(days=1)).url(BASE).removeprefix(BASE)
    page = world.client.get(f"{link}/queues")
    assert "1 lead, 0 for too long." in page.text
    assert "Ana rejected: please-check" in page.text
    stranger = workspace_links.create(world.ctx, "ben", NOW + timedelta(days=1)).url(BASE).removeprefix(BASE)
    assert "0 leads, 0 for too long." in world.client.get(f"{stranger}/queues").text
    _submit(world, f"{stranger}/queues", 409, do="discard", reason="not mine")
    assert world.custodian("dana") == ("queue", "needs-a-look")
    assert "It is discarded" in _submit(world, f"{link}/queues", do="discard", reason="a second record")
    assert world.custodian("dana")[0] == "closed"


def test_a_lead_of_nobodys_queue_is_left_alone(world: World, path: str) -> None:
    before = world.all_rows()
    for lead in (world.ids["erik"], 10**9):
        page = world.client.post(path, data={"lead": str(lead), "do": "discard", "reason": "x"})
        assert page.status_code == 409
    assert world.client.post(path, data={"lead": "x", "do": "discard"}).status_code == 400
    assert world.client.post(path, data={"lead": "1", "do": "erase"}).status_code == 400
    assert world.all_rows() == before


def test_a_link_in_an_old_email_opens_nothing(world: World, path: str) -> None:
    advance_clock(world, days=31)
    assert world.client.get(path).status_code == 404
