"""A lead unsubscribes by the link in the mail or by one-click unsubscribe."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.journey.consent import opt_in
from nurture.journey.consent.suppression import ALL_MAIL
from nurture.journey.delivery import run
from nurture.journey.erasure import erase
from nurture.reporting.explain import explain
from tests.web.world import NOW, ONE_CLICK, World, advance_clock

pytestmark = pytest.mark.quick

_SUPPRESSED = (
    "SELECT count(*) FROM suppression JOIN lead ON lead.address_id = suppression.address_id "
    "WHERE lead.id = :id AND action = 'suppress' AND scope = 'global'"
)
_SIGNALS = "SELECT count(*) FROM signal WHERE lead_id = :id AND kind = 'unsubscribed'"
_BOUNDARY = "0f9b"
_MULTIPART = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--{_BOUNDARY}--\r\n'
)


def test_opening_the_link_changes_nothing(world: World) -> None:
    before = world.all_rows()
    for method in ("GET", "HEAD", "GET", "OPTIONS", "PUT", "DELETE", "PATCH"):
        page = world.client.request(method, world.path("mia", "unsubscribe"))
        assert page.status_code == (200 if method in ("GET", "HEAD") else 405)
    page = world.client.get(world.path("mia", "unsubscribe"))
    assert "m•••@people.example" in page.text
    assert "mia@people.example" not in page.text
    assert world.all_rows() == before


def test_the_button_stops_all_mail_to_the_address(world: World) -> None:
    page = world.client.post(world.path("mia", "unsubscribe"), data=ONE_CLICK)
    assert page.status_code == 200
    assert "You are unsubscribed" in page.text
    assert world.value(_SUPPRESSED, id=world.ids["mia"]) == 1
    assert world.value(_SUPPRESSED, id=world.ids["noor"]) == 0
    assert "already stopped" in world.client.get(world.path("mia", "unsubscribe")).text


def test_one_click_of_a_mail_program_works_urlencoded_and_multipart(world: World) -> None:
    for who, body, kind in (
        ("mia", "List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        ("noor", _MULTIPART, f'multipart/form-data; boundary="{_BOUNDARY}"'),
    ):
        answer = world.client.post(
            world.path(who, "unsubscribe"), content=body, headers={"Content-Type": kind}, follow_redirects=False
        )
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert world.value(_SUPPRESSED, id=world.ids[who]) == 1


def test_one_click_accepts_any_media_type(sqlite_world: World) -> None:
    for who, kind in (("mia", "text/plain;charset=UTF-8"), ("noor", "")):
        path, headers = sqlite_world.path(who, "unsubscribe"), {"Content-Type": kind}
        refused = sqlite_world.client.post(path, content=b"&" * 5_000, headers=headers)
        assert refused.status_code == 400
        assert sqlite_world.value(_SUPPRESSED, id=sqlite_world.ids[who]) == 0
        answer = sqlite_world.client.post(path, content=b"List-Unsubscribe=One-Click", headers=headers)
        assert answer.status_code == 200
        assert sqlite_world.value(_SUPPRESSED, id=sqlite_world.ids[who]) == 1


def test_repeats_count_once_and_are_all_confirmed(world: World) -> None:
    for _ in range(3):
        page = world.client.post(world.path("mia", "unsubscribe"), data=ONE_CLICK)
        assert page.status_code == 200
        advance_clock(world, hours=1)
    assert world.value(_SIGNALS, id=world.ids["mia"]) == 1
    assert world.value(_SUPPRESSED, id=world.ids["mia"]) == 1


def test_a_lead_that_opted_in_again_can_opt_out_by_the_same_link(world: World) -> None:
    world.client.post(world.path("mia", "unsubscribe"), data=ONE_CLICK)
    evidence = "asked for it again on the phone"
    opt_in.opt_in(world.ctx, "mia@people.example", ALL_MAIL, evidence, advance_clock(world, days=1))
    assert "already stopped" not in world.client.get(world.path("mia", "unsubscribe")).text
    world.client.post(world.path("mia", "unsubscribe"), data=ONE_CLICK)
    assert "already stopped" in world.client.get(world.path("mia", "unsubscribe")).text


def test_the_signal_names_the_touch_that_it_answers(sqlite_world: World) -> None:
    sqlite_world.client.post(sqlite_world.path("mia", "unsubscribe"), data=ONE_CLICK)
    with sqlite_world.ctx.database.read() as tx:
        row = tx.execute(
            text("SELECT track, step, source, message_id IS NOT NULL FROM signal WHERE kind = 'unsubscribed'")
        ).one()
    assert tuple(row) == ("welcome", "01-hello", "link", 1)


def test_no_message_is_sent_after_the_click(sqlite_world: World) -> None:
    for who in ("mia", "noor"):
        sqlite_world.client.post(sqlite_world.path(who, "unsubscribe"), data=ONE_CLICK)
    sent = "SELECT count(*) FROM message WHERE kind = 'touch' AND state = 'accepted'"
    before = sqlite_world.value(sent)
    for _ in range(12):
        run.deliver(sqlite_world.ctx, VirtualClock(advance_clock(sqlite_world, days=1)))
    assert sqlite_world.value(sent) == before


def test_an_invalid_post_shows_the_button_again(sqlite_world: World) -> None:
    before = sqlite_world.all_rows()
    for fields in ({}, {"List-Unsubscribe": "no"}, {"unsubscribe": "One-Click"}):
        page = sqlite_world.client.post(sqlite_world.path("mia", "unsubscribe"), data=fields)
        assert page.status_code == 400
        assert "</button>" in page.text
    assert sqlite_world.all_rows() == before


def test_of_an_erased_lead_s_links_only_the_one_to_unsubscribe_answers(world: World) -> None:
    before = {purpose: world.path("mia", purpose) for purpose in ("unsubscribe", "preferences")}
    erase.erase_person(world.ctx, "mia@people.example", NOW)
    kept = world.all_rows()
    assert world.client.get(before["unsubscribe"]).status_code == 200
    assert world.client.post(before["unsubscribe"], data=ONE_CLICK).status_code == 200
    assert world.client.get(before["preferences"]).status_code == 404
    assert world.all_rows() == kept


def test_the_page_offers_less_email_which_the_caps_honor_and_the_history_explains(world: World) -> None:
    page = world.client.get(world.path("mia", "unsubscribe")).text
    assert re.findall(r'name="less" value="(\w+)"', page) == ["30", "60", "pause"]
    answer = world.client.post(world.path("mia", "unsubscribe"), data={"less": "30"})
    assert answer.status_code == 200
    assert "<h1>At most one a month, from now on</h1>" in answer.text
    assert world.value(_SUPPRESSED, id=world.ids["mia"]) == 0
    explanation = explain(world.ctx, world.ids["mia"], NOW)
    assert explanation.touch_interval_days == 30
    assert "one email in 30 days at most, on the unsubscribe page" in str(explanation)
    assert world.value("SELECT count(*) FROM lead WHERE touch_interval_days IS NOT NULL") == 1
    page = world.client.get(world.path("mia", "unsubscribe")).text
    assert re.findall(r'name="less" value="(\w+)"', page) == ["60", "pause"]


def test_a_pause_instead_of_unsubscribing_can_be_ended_on_the_preference_page(world: World) -> None:
    answer = world.client.post(world.path("mia", "unsubscribe"), data={"less": "pause"})
    assert "<h1>No email before " in answer.text
    assert world.value("SELECT paused_by FROM lead WHERE id = :id", id=world.ids["mia"]) == "preference-page"
    assert 'value="pause"' not in world.client.get(world.path("mia", "unsubscribe")).text
    assert "End the pause now" in world.client.get(world.path("mia", "preferences")).text


def test_a_form_that_asks_for_less_and_for_none_stops_all_mail(sqlite_world: World) -> None:
    sqlite_world.client.post(sqlite_world.path("mia", "unsubscribe"), data={"less": "30", **ONE_CLICK})
    assert sqlite_world.value(_SUPPRESSED, id=sqlite_world.ids["mia"]) == 1
    before = sqlite_world.all_rows()
    for fields in ({"less": "30"}, {"less": "pause"}):
        assert sqlite_world.client.post(sqlite_world.path("mia", "unsubscribe"), data=fields).status_code == 400
    assert "less instead" not in sqlite_world.client.get(sqlite_world.path("mia", "unsubscribe")).text
    assert sqlite_world.all_rows() == before


def test_only_frequencies_of_the_page_can_be_chosen_and_none_is_more_than_now(sqlite_world: World) -> None:
    sqlite_world.client.post(sqlite_world.path("mia", "unsubscribe"), data={"less": "60"})
    before = sqlite_world.all_rows()
    for value in ("30", "14", "any", "", "1000", "-1"):
        page = sqlite_world.client.post(sqlite_world.path("mia", "unsubscribe"), data={"less": value})
        assert page.status_code == 400
    assert sqlite_world.all_rows() == before
