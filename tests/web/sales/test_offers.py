"""Reps answer offers by the links in the brief."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.db.engine import Database
from nurture.journey.handoff import reassign, sweep, workspace_links
from nurture.mail.notifiers.apprise_notifier import AppriseNotifier
from tests.doubles.chat_server import ChatServer
from tests.journey.builders import START, add_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.handoff.test_sla_sweep import PEOPLE, escalation_rules
from tests.journey.observe import one, rows
from tests.web.world import BASE, NOW, World, advance_clock


def test_the_accept_page_shows_lead_reason_and_rep_and_changes_nothing(world: World) -> None:
    before = world.all_rows()
    page = world.client.get(world.path("dana", "accept"))
    assert page.status_code == 200
    for expected in ("Dana Miller", "Acme &amp; Sons &lt;Ltd&gt;", "Hello Ana", "demo_requested", "Accept this lead"):
        assert expected in page.text
    assert world.all_rows() == before


def test_accepting_passes_the_lead_to_the_rep(world: World) -> None:
    page = world.client.post(world.path("dana", "accept"), data={"answer": "accept"})
    assert page.status_code == 200
    assert "Dana Miller is yours, Ana" in page.text
    assert "get in touch by <strong>Wednesday 7 January 2026, 12:00 (UTC)" in page.text
    assert "Wednesday 7 January 2026" in page.text  # two days to follow up
    assert world.custodian("dana") == ("rep", "ana")
    assert world.value("SELECT state FROM offer WHERE lead_id = :id", id=world.ids["dana"]) == "accepted"


def test_the_reject_page_lists_the_reasons_of_the_policy(world: World) -> None:
    before = world.all_rows()
    page = world.client.get(world.path("dana", "reject"))
    assert page.status_code == 200
    for code, label in (("not-now", "Not now"), ("wrong-person", "Has no say"), ("bad-fit", "Nothing for them")):
        assert f'value="{code}" required> <span>{label} ' in page.text
    assert world.all_rows() == before


def test_rejecting_recycles_the_lead_by_the_policy_of_the_reason(world: World) -> None:
    page = world.client.post(world.path("dana", "reject"), data={"reason": "not-now", "decides_on": ""})
    assert page.status_code == 200
    assert "it is enrolled on the track keep after 30 days without mail" in page.text
    assert world.custodian("dana") == ("track", "keep")
    assert world.value("SELECT reason FROM offer WHERE lead_id = :id", id=world.ids["dana"]) == "not-now"


def test_a_date_that_the_rep_enters_is_stored_with_the_lead(world: World) -> None:
    page = world.client.post(world.path("dana", "reject"), data={"reason": "not-now", "decides_on": "2026-09-30"})
    assert "Wednesday 30 September 2026" in page.text
    stated = world.value("SELECT decides_on FROM lead WHERE id = :id", id=world.ids["dana"])
    assert str(stated) == "2026-09-30"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "Choose the reason"),
        ({"reason": "because"}, "Choose the reason"),
        ({"reason": "Not now"}, "Choose the reason"),
        ({"reason": "not-now", "decides_on": "soon"}, "Enter the date as"),
        ({"reason": "not-now", "decides_on": "2026-02-30"}, "Enter the date as"),
        ({"reason": "not-now", "decides_on": "2025-12-31"}, "Choose a date from today on"),
        ({"reason": "not-now", "decides_on": "9999-12-31"}, "Choose a date from today on"),
    ],
)
def test_an_invalid_answer_shows_the_form_again_and_changes_nothing(
    sqlite_world: World, fields: dict[str, str], problem: str
) -> None:
    before = sqlite_world.all_rows()
    page = sqlite_world.client.post(sqlite_world.path("dana", "reject"), data=fields)
    assert page.status_code == 422
    assert problem in page.text
    assert 'role="alert"' in page.text
    assert sqlite_world.all_rows() == before


def test_the_form_keeps_its_input_when_it_is_shown_again(sqlite_world: World) -> None:
    fields = {"reason": "bad-fit", "decides_on": '"><b>soon'}
    page = sqlite_world.client.post(sqlite_world.path("dana", "reject"), data=fields)
    assert 'value="bad-fit" required checked' in page.text
    assert 'value="&#34;&gt;&lt;b&gt;soon"' in page.text


def test_a_post_without_the_button_does_not_accept(sqlite_world: World) -> None:
    before = sqlite_world.all_rows()
    page = sqlite_world.client.post(sqlite_world.path("dana", "accept"))
    assert page.status_code == 400
    assert "Accept this lead" in page.text
    assert sqlite_world.all_rows() == before


def test_giving_back_is_final_and_both_links_show_answer_and_time(world: World) -> None:
    fields = {"answer": "accept", "reason": "bad-fit"}
    assert world.client.post(world.path("dana", "reject"), data=fields).status_code == 200
    before = world.all_rows()
    advance_clock(world, days=3)
    for other in ("accept", "reject"):
        for page in (
            world.client.get(world.path("dana", other)),
            world.client.post(world.path("dana", other), data=fields),
        ):
            assert page.status_code == 409
            assert "Monday 5 January 2026, 12:00 (UTC)" in page.text
            assert "given back" in page.text
    assert world.all_rows() == before


def test_a_returned_lead_is_not_named_on_the_page(sqlite_world: World) -> None:
    sqlite_world.client.post(sqlite_world.path("dana", "reject"), data={"reason": "bad-fit"})
    page = sqlite_world.client.get(sqlite_world.path("dana", "accept"))
    assert "Dana" not in page.text
    assert "Acme" not in page.text


def test_an_expired_offer_cannot_be_answered(world: World) -> None:
    sweep.hand_off(world.ctx, advance_clock(world, days=2))
    before = world.all_rows()
    page = world.client.post(world.path("dana", "accept"), data={"answer": "accept"})
    assert page.status_code == 409
    assert "This offer has expired" in page.text
    assert world.all_rows() == before


def test_a_rep_who_left_cannot_accept_by_an_old_link(sqlite_world: World) -> None:
    ctx, offer = sqlite_world.ctx, int(sqlite_world.custodian("dana")[1])
    rep = sqlite_world.value("SELECT rep FROM offer WHERE id = :id", id=offer)
    rules = sample_rules()
    old = f"email: {rep}@house.example, "
    assert old in rules["sales/policy.yaml"]
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
        old, f"{old}left_on: {NOW.date() - timedelta(days=1)}, "
    )
    publish_approved(ctx, rules, NOW)
    page = sqlite_world.client.post(sqlite_world.path("dana", "accept"), data={"answer": "accept"})
    assert page.status_code == 409
    assert "This offer was withdrawn" in page.text
    assert sqlite_world.custodian("dana") == ("offer", str(offer))


def test_an_old_link_does_not_say_that_the_rep_passed_on_what_somebody_else_took(sqlite_world: World) -> None:
    offer = int(sqlite_world.custodian("dana")[1])
    rep = sqlite_world.value("SELECT rep FROM offer WHERE id = :id", id=offer)
    reassign.reassign(sqlite_world.ctx, offer, "ben" if rep == "ana" else "ana", NOW, by="by lena")
    page = sqlite_world.client.post(sqlite_world.path("dana", "accept"), data={"answer": "accept"})
    assert page.status_code == 409
    assert "This lead was already given to another rep" in page.text
    assert "passed it on" not in page.text


def test_one_of_two_concurrent_answers_is_refused(world: World) -> None:
    answers = [("accept", {"answer": "accept"}), ("call_back_later", {"when": "2026-04-01"})] * 3

    def post(answer: tuple[str, dict[str, str]]) -> int:
        status: int = world.client.post(world.path("dana", answer[0]), data=answer[1]).status_code
        return status

    with ThreadPoolExecutor(len(answers)) as pool:
        statuses = sorted(pool.map(post, answers))
    assert statuses == [200] + [409] * 5
    moves = "SELECT count(*) FROM journal WHERE lead_id = :id AND event IN ('accepted', 'recycled')"
    assert world.value(moves, id=world.ids["dana"]) == 1


def test_the_offer_can_be_accepted_to_the_last_second(sqlite_world: World) -> None:
    sqlite_world.clock.advance_to(NOW + timedelta(hours=19, minutes=59))
    sweep.hand_off(sqlite_world.ctx, sqlite_world.clock.now())
    page = sqlite_world.client.post(sqlite_world.path("dana", "accept"), data={"answer": "accept"})
    assert page.status_code == 200


def test_the_links_of_a_brief_open_its_one_lead_and_lead_to_no_other_page(world: World) -> None:
    for purpose, fields in (
        ("call_back_later", {"when": ""}),
        ("reassign", {"to": ""}),
        ("reject", {"reason": ""}),
        ("accept", {"answer": "accept"}),
    ):
        path = world.path("dana", purpose)
        for page in (world.client.get(path), world.client.post(path, data=fields), world.client.get(path)):
            assert page.status_code in (200, 409, 422)
            assert not re.search(rf"href=[^>]*[/.]{workspace_links.PATH}/", page.text)
            assert "Erik" not in page.text
    assert world.value("SELECT count(*) FROM workspace_link") == 2  # those of the fixture


def test_no_mail_or_notice_to_sales_brings_a_link_to_the_page_of_a_rep(sqlite_db: Database, tmp_path: Path) -> None:
    rules = escalation_rules(PEOPLE.replace("manager: lena}", "manager: lena, notify: [sales]}"))
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    ctx.base_url = BASE
    lead = add_lead(ctx, email="dana@people.example", title="Head", demo_requested=True)
    with ChatServer() as server:
        ctx.notifiers = {"sales": AppriseNotifier("sales", SecretStr(f"json://127.0.0.1:{server.port}?rto=5"))}
        run_at(ctx, START, START + timedelta(hours=3), START + timedelta(hours=5))
        (notice,) = server.received
    assert f"{BASE}/a/" in notice["message"]
    sent = "SELECT count(*) FROM message WHERE lead_id = :id AND kind IN ('brief', 'sla', 'notice')"
    assert one(ctx, sent, id=lead) == 4  # brief, notice, reminder, escalation to the manager
    mails = [file.read_bytes() for file in (tmp_path / "maildir" / "new").iterdir()]
    sent_texts = [*mails, notice["message"].encode()]
    page = f"example.com/{workspace_links.PATH}/".encode()
    (escalation,) = [each for each in sent_texts if page in each.replace(b"=\n", b"")]
    assert b"To: Lena" in escalation
    assert rows(ctx, "SELECT rep FROM workspace_link") == [("lena",)]  # who is no rep: it opens the page of her team


def test_an_escalation_to_a_rep_who_manages_others_brings_no_link_to_that_reps_page(
    sqlite_db: Database, tmp_path: Path
) -> None:
    ctx = make_context(
        sqlite_db, tmp_path, rules=escalation_rules(PEOPLE.replace("manager: lena}", "manager: ben}", 1))
    )
    ctx.base_url = BASE
    lead = add_lead(ctx, email="dana@people.example", title="Head", demo_requested=True)
    run_at(ctx, START, START + timedelta(hours=3), START + timedelta(hours=5))
    assert one(ctx, "SELECT rep FROM message WHERE lead_id = :id AND email = 'escalate'", id=lead) == "ben"
    assert one(ctx, "SELECT count(*) FROM workspace_link") == 0


def test_revoking_ends_the_links_of_a_rep_and_of_the_open_offers(world: World) -> None:
    actions = ("accept", "reject", "reassign", "call_back_later", "workspace")
    assert workspace_links.revoke(world.ctx, "ana", NOW) == (1, 4)
    for action in actions:
        assert world.client.get(world.path("dana", action)).status_code == 404
        assert world.client.post(world.path("dana", action), data={"answer": "accept"}).status_code == 404
        assert world.client.get(world.path("erik", action)).status_code == 200
    kind, number = world.custodian("dana")
    assert kind == "offer"
    made = workspace_links.create(world.ctx, "ana", NOW)
    page = world.client.post(f"/i/{made.token}/{number}", data={"do": "accept", "answer": "accept"})
    assert page.status_code == 200
    assert f"../{made.token}" in page.text
    assert world.custodian("dana") == ("rep", "ana")
    assert workspace_links.revoke(world.ctx, "ana", NOW) == (1, 0)
