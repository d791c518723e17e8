"""The page of a manager: team, leads by deadline, what is late, queues, and a policy that waits for approval."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import NotFound
from nurture.journey.handoff import follow_up, responses, workspace_links
from nurture.publishing import publish
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import one, recorded_statements
from tests.web.world import BASE, NOW, TestClient, VirtualClock, create_app

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _rules() -> dict[str, str]:
    rules = sample_rules()
    policy = rules["sales/policy.yaml"].replace(
        "reps:", "managers: [{id: lena, name: Lena Voss, email: lena@house.example}]\nreps:"
    )
    rules["sales/policy.yaml"] = policy.replace("capacity: 5}", "capacity: 50, manager: lena}")
    return rules


def _page(client: TestClient, path: str) -> str:
    page = client.get(path)
    assert page.status_code == 200
    return re.sub(r"<[^>]+>", " ", page.text.partition("<main>")[2])


def test_a_manager_sees_team_deadlines_breaches_queues_and_a_pending_policy(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=_rules())
    ctx.base_url, ctx.spool = BASE, tmp_path / "spool"
    for name in ("Dana Miller", "Erik Holm", "Kim <b>Park"):
        add_lead(ctx, full_name=name, company="Acme", demo_requested=True)
    add_lead(ctx, email=None, full_name="Nobody Known")
    run_at(ctx, START)
    responses.accept(ctx, 1, START)
    follow_up.record_follow_up(ctx, one(ctx, "SELECT lead_id FROM offer WHERE id = 1"), "call", START)
    path = f"/{workspace_links.PATH}/{workspace_links.create(ctx, 'lena', START).token}"
    client = TestClient(create_app(ctx, VirtualClock(NOW)), base_url=BASE, raise_server_exceptions=False)
    text = _page(client, path)
    assert "2 reps, 3 leads with them, 0 late; 1 lead in queues." in text
    assert "No address 1 0" in " ".join(text.split())
    assert "waits for approval" not in text
    late = TestClient(create_app(ctx, VirtualClock(START + 3 * DAY)), base_url=BASE)
    assert "answer overdue" in _page(late, path)
    changed = _rules()
    changed["sales/policy.yaml"] = changed["sales/policy.yaml"].replace("accept_within: 1 day", "accept_within: 2 days")
    publish.publish(ctx, changed, NOW)
    assert "Version 2 of the policy waits for approval" in _page(client, path)
    assert "<b>Park" not in client.get(path).text
    assert client.post(path, data={"do": "reached", "lead": "1"}).status_code == 409
    assert "nurture " not in _page(client, path)


def test_a_manager_opens_the_leads_of_the_team_and_gives_them_to_other_reps_and_no_more(
    db: Database, tmp_path: Path
) -> None:
    rules = _rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
        "managers: [", "managers: [{id: omar, name: Omar, email: omar@house.example}, "
    )
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.base_url, ctx.spool = BASE, tmp_path / "spool"
    for name in ("Dana Miller", "Erik Holm"):
        add_lead(ctx, full_name=name, company="Acme", demo_requested=True)
    run_at(ctx, START)
    responses.accept(ctx, 1, START)
    path = f"/{workspace_links.PATH}/{workspace_links.create(ctx, 'lena', START).token}"
    client = TestClient(create_app(ctx, VirtualClock(NOW)), base_url=BASE, raise_server_exceptions=False)
    links = re.findall(r'href="([^"]+)">(Dana Miller|Erik Holm)</a>', client.get(path).text)
    assert len(links) == 2
    for link, name in links:
        page = _page(client, f"/{workspace_links.PATH}/{link}")
        assert name in page
        assert "Why you" not in page
    ben_is_first = one(ctx, "SELECT rep FROM offer WHERE id = 1") == "ben"
    other = "ana" if ben_is_first else "ben"
    for action in ("", "accept", "reject", "close", "contacted", "no_mail", "call_back_later"):
        form = {"do": action, "answer": "accept", "reason": "not-now", "outcome": "won"}
        assert client.post(f"{path}/2", data=form).status_code == 400
    assert client.post(f"{path}/1", data={"do": "reassign", "to": "nobody"}).status_code == 422
    done = client.post(f"{path}/1", data={"do": "reassign", "to": other})
    assert "The lead is offered to" in done.text
    assert one(ctx, "SELECT state || ' ' || reason FROM offer WHERE id = 1") == "reassigned by lena"
    assert one(ctx, "SELECT state FROM offer WHERE id = 2") == "offered"
    assert client.post(f"{path}/1", data={"do": "reassign", "to": other}).status_code == 409
    stranger = f"/{workspace_links.PATH}/{workspace_links.create(ctx, 'omar', START).token}"
    assert client.get(f"{stranger}/2").status_code == 404
    assert client.post(f"{stranger}/2", data={"do": "reassign", "to": "ana"}).status_code == 404
    assert client.get(f"{path}/99").status_code == 404


def test_a_manager_who_is_also_a_rep_has_both_pages(sqlite_db: Database, tmp_path: Path) -> None:
    rules = _rules()
    ana, ben = rules["sales/policy.yaml"].split("{id: ben")
    rules["sales/policy.yaml"] = ana + "{id: ben" + ben.replace("manager: lena}", "manager: ana}")
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    ctx.base_url, ctx.spool = BASE, tmp_path / "spool"
    client = TestClient(create_app(ctx, VirtualClock(NOW)), base_url=BASE)
    path = f"/{workspace_links.PATH}/{workspace_links.create(ctx, 'ana', START).token}"
    assert "Ana, your leads" in _page(client, path)
    assert "Ana, your team" in _page(client, f"{path}?show=team")
    plain = f"/{workspace_links.PATH}/{workspace_links.create(ctx, 'ben', START).token}"
    assert "Ben, your leads" in _page(client, f"{plain}?show=team")
    with pytest.raises(NotFound):
        workspace_links.create(ctx, "zoe", START)


def test_the_page_costs_as_many_statements_for_many_leads_as_for_one(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path, rules=_rules())
    ctx.base_url, ctx.spool = BASE, tmp_path / "spool"
    client = TestClient(create_app(ctx, VirtualClock(NOW)), base_url=BASE)
    path = f"/{workspace_links.PATH}/{workspace_links.create(ctx, 'lena', START).token}"

    def cost(count: int) -> int:
        for _ in range(count):
            add_lead(ctx, demo_requested=True)
        run_at(ctx, START)
        client.get(path)
        with recorded_statements(ctx.database) as executed:
            client.get(path)
        return len(executed)

    assert cost(1) == cost(6)
