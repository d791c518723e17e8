"""A tracked link redirects to its mailed destination only, after the click is stored."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.errors import NotFound
from nurture.journey.engagement import click_buffer, clicks
from nurture.mail.rendering.compile import CompiledEmail
from nurture.publishing import publish
from nurture.runtime import public_links
from nurture.runtime.published import PublishedDefinitions
from nurture.web.app import create_app
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.web.world import BASE, NOW, TestClient, World, advance_clock

GUIDE = "https://www.example.com/guide"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"
_CLICKS = "SELECT count(*) FROM signal WHERE kind = 'clicked'"


def fetch(world: World, path: str, method: str = "GET", agent: str = BROWSER, **headers: str) -> Any:
    sent = {"user-agent": agent, **headers}
    return world.client.request(method, path, headers=sent, follow_redirects=False)


def flush_clicks(world: World) -> None:
    """Wait until all recorded clicks have had their effect."""
    world.client.app.state.site.click_recorder.close()  # type: ignore[attr-defined]


class Unreadable(PublishedDefinitions):
    """Published definitions that no longer compile."""

    def email(self, *_: object, **__: object) -> CompiledEmail:
        raise NotFound("gone")


def click(world: World, who: str, number: object = 1) -> str:
    return f"{world.path(who, 'click')}/{number}"


def tracking_rows(world: World) -> list[tuple[object, ...]]:
    query = (
        "SELECT signal.lead_id, signal.step, signal.link, signal.verdict, tracking_request.method,"
        " tracking_request.agent_type, tracking_request.honeypot FROM signal JOIN tracking_request ON"
        " tracking_request.signal_id = signal.id ORDER BY signal.id"
    )
    with world.ctx.database.read() as tx:
        return [tuple(row) for row in tx.execute(text(query))]


def test_a_click_is_redirected_and_recorded_with_its_details(world: World) -> None:
    answer = fetch(world, click(world, "mia"))
    assert (answer.status_code, answer.headers["location"]) == (302, GUIDE)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    flush_clicks(world)
    assert [row[:6] for row in tracking_rows(world)] == [
        (world.ids["mia"], "01-hello", GUIDE, "human", "GET", "browser")
    ]
    assert world.value("SELECT applied_at FROM signal WHERE kind = 'clicked'") is not None


def test_a_head_request_is_redirected_and_recorded_as_head(sqlite_world: World) -> None:
    answer = fetch(sqlite_world, click(sqlite_world, "mia"), "HEAD")
    assert (answer.status_code, answer.headers["location"]) == (302, GUIDE)
    flush_clicks(sqlite_world)
    assert [row[3:5] for row in tracking_rows(sqlite_world)] == [("bot", "HEAD")]


def test_the_query_of_a_mail_program_changes_nothing(sqlite_world: World) -> None:
    answer = fetch(sqlite_world, f"{click(sqlite_world, 'mia')}?utm_source=x&url=https://evil.example/&n=2")
    assert answer.headers["location"] == GUIDE


def test_a_click_on_the_honeypot_link_is_recorded_as_such(world: World) -> None:
    page = fetch(world, click(world, "mia", 0))
    assert page.status_code == 200
    assert "location" not in page.headers
    advance_clock(world, seconds=3)
    fetch(world, click(world, "mia"))
    flush_clicks(world)
    assert [row[2:4] for row in tracking_rows(world)] == [(None, "bot"), (GUIDE, "suspect")]
    assert bool(tracking_rows(world)[0][6])


@pytest.mark.parametrize("number", ["2", "01", "+1", "1.0", "1)", "999", "1000", "99999", "100000", "-1", "a"])
def test_an_unknown_link_number_is_not_found(sqlite_world: World, number: str) -> None:
    before = sqlite_world.all_rows()
    nobody = fetch(sqlite_world, "/c/AAAAAAAAAAAAAAAAAAAAAA/1")
    page = fetch(sqlite_world, click(sqlite_world, "mia", number))
    assert (page.status_code, page.text) == (404, nobody.text)
    flush_clicks(sqlite_world)
    assert sqlite_world.all_rows() == before


def test_a_damaged_or_foreign_token_is_not_found(world: World) -> None:
    before = world.all_rows()
    token = world.token("mia", "click")
    others = [world.token("mia", "unsubscribe"), world.token("dana", "accept"), world.token("dana", "reject")]
    for wrong in (token[:-1], token[1:], token.swapcase(), token + "A", token[::-1], *others):
        for path in (f"/c/{wrong}/1", f"/c/{wrong}/0", f"/o/{wrong}.gif"):
            assert fetch(world, path).status_code == 404
    for letter in "uar":
        for method in ("GET", "POST"):
            assert fetch(world, f"/{letter}/{token}", method).status_code == 404
    assert fetch(world, f"/o/{token}.gif").status_code == 404
    flush_clicks(world)
    assert world.all_rows() == before


def test_a_click_belongs_to_the_recipient_of_the_mail(sqlite_world: World) -> None:
    for who in ("noor", "mia", "noor"):
        fetch(sqlite_world, click(sqlite_world, who))
        advance_clock(sqlite_world, minutes=1)
    flush_clicks(sqlite_world)
    assert [row[0] for row in tracking_rows(sqlite_world)] == [sqlite_world.ids[who] for who in ("noor", "mia", "noor")]


def use_client_address(world: World, address: str) -> None:
    """Send all later requests from *address*."""
    world.client = TestClient(world.client.app, base_url=BASE, client=(address, 50_000))


def test_no_ip_address_of_a_visitor_is_stored(sqlite_world: World) -> None:
    use_client_address(sqlite_world, "8.8.8.8")
    fetch(sqlite_world, click(sqlite_world, "mia"))
    flush_clicks(sqlite_world)
    assert sqlite_world.value("SELECT ip_hash FROM tracking_request") != ""
    kept = repr(sqlite_world.all_rows())
    for sent in ("8.8.8.8", "Chrome", sqlite_world.token("mia", "click")):
        assert sent not in kept


def test_client_addresses_are_distinguished_as_far_as_they_are_known(sqlite_world: World) -> None:
    near = "2001:4860:4860::1", "2001:4860:4860::2:3"
    for address in ("8.8.8.8", "8.8.8.8", "1.1.1.1", *near, "10.0.0.7", "127.0.0.1"):
        use_client_address(sqlite_world, address)
        fetch(sqlite_world, click(sqlite_world, "mia"))
        advance_clock(sqlite_world, minutes=1)
    flush_clicks(sqlite_world)
    with sqlite_world.ctx.database.read() as tx:
        marks = list(tx.execute(text("SELECT ip_hash FROM tracking_request ORDER BY signal_id")).scalars())
    assert marks[0] == marks[1]
    assert marks[3] == marks[4]
    assert len(set(marks[:5])) == 3
    assert "" not in marks[:5]
    assert marks[5:] == ["", ""]


def test_links_work_after_the_track_is_changed_or_deleted(sqlite_world: World) -> None:
    rules = sample_rules()
    rules["tracks/welcome/01-hello.md"] = rules["tracks/welcome/01-hello.md"].replace("/guide", "/other")
    publish.publish(sqlite_world.ctx, rules, advance_clock(sqlite_world, minutes=1))
    sqlite_world.ctx.definitions = Unreadable()
    with sqlite_world.ctx.database.write() as tx:
        tx.execute(text("UPDATE lead SET fields = '{}', address_id = NULL, consent_basis = NULL"))
    assert fetch(sqlite_world, click(sqlite_world, "mia")).headers["location"] == GUIDE


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "https:///x", "ftp://www.example.com"])
def test_a_destination_that_was_tampered_with_is_no_destination(sqlite_world: World, url: str) -> None:
    with sqlite_world.ctx.database.write() as tx:
        tx.execute(text("UPDATE link_destination SET url = :url"), {"url": url})
    assert fetch(sqlite_world, click(sqlite_world, "mia")).status_code == 404


def test_a_click_is_redirected_while_the_database_is_busy_and_stored_later(sqlite_world: World) -> None:
    with sqlite_world.ctx.database.write():  # SQLite has only one write lock
        answer = fetch(sqlite_world, click(sqlite_world, "mia"))
        assert (answer.status_code, answer.headers["location"]) == (302, GUIDE)
        assert len(click_buffer.list_spooled(sqlite_world.ctx.spool)) == 1
    flush_clicks(sqlite_world)
    assert [row[:3] for row in tracking_rows(sqlite_world)] == [(sqlite_world.ids["mia"], "01-hello", GUIDE)]
    assert click_buffer.list_spooled(sqlite_world.ctx.spool) == []


def test_clicks_spooled_by_a_killed_server_are_stored_at_the_next_start(sqlite_world: World, tmp_path: Path) -> None:
    ctx = sqlite_world.ctx
    ctx.spool = tmp_path / "left"
    message_id = sqlite_world.value("SELECT id FROM message WHERE lead_id = :id", id=sqlite_world.ids["mia"])
    with ctx.database.read() as tx:
        kept = public_links.find_token(tx, sqlite_world.token("mia", "click"), public_links.CLICK)
    assert kept is not None
    assert kept.message_id == message_id
    recorded = clicks.build_click(kept, GUIDE, NOW, method="GET", source_hash="0badcafe", agent=BROWSER)
    click_buffer.spool_click(ctx.spool, recorded)
    click_buffer.spool_click(ctx.spool, recorded)
    app = create_app(ctx, VirtualClock(NOW))
    app.state.site.click_recorder.close()
    assert click_buffer.list_spooled(ctx.spool) == []
    assert sqlite_world.value(_CLICKS) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    token=st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=40),
    number=st.text(st.sampled_from("0123456789-+ e.%\u0663"), max_size=12),
    query=st.dictionaries(st.sampled_from(["url", "n", "to"]), st.text(max_size=20)),
)
def test_no_request_is_redirected_to_a_destination_that_was_not_mailed(
    sqlite_world: World, token: str, number: str, query: dict[str, str]
) -> None:
    for who in (token, sqlite_world.token("mia", "click")):
        answer = sqlite_world.client.get(f"/c/{who}/{number}", params=query, follow_redirects=False)
        assert answer.status_code in (200, 302, 404)
        assert answer.headers.get("location", GUIDE) == GUIDE


def test_a_destination_written_for_one_lead_works_in_its_mail_only(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    rules["tracks/welcome/01-hello.md"] += "\n[yours](https://www.example.com/for/{{ lead.company | urlencode }})\n"
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.base_url, ctx.spool = BASE, tmp_path / "spool"
    for company in ("Acme & Sons", "Bolt"):
        add_lead(ctx, title="Head of planning", company=company)
    run_at(ctx, START, START + timedelta(hours=2))
    client = TestClient(create_app(ctx, VirtualClock(NOW)), base_url=BASE)
    mails = [file.read_text() for file in sorted((tmp_path / "maildir" / "new").iterdir())]
    tokens = [re.findall(r"/c/([\w-]+)/1000", mail.replace("=\n", ""))[0] for mail in mails]
    found = [client.get(f"/c/{token}/1000", follow_redirects=False).headers["location"] for token in tokens]
    assert sorted(found) == ["https://www.example.com/for/Acme%20%26%20Sons", "https://www.example.com/for/Bolt"]
    client.app.state.site.click_recorder.close()  # type: ignore[attr-defined]
    with db.read() as tx:
        named = set(tx.execute(text("SELECT link FROM signal WHERE kind = 'clicked'")).scalars())
    assert named == {"https://www.example.com/for/{{ lead.company | urlencode }}"}


def test_opens_are_recorded_with_consent_and_only_by_day(db: Database, tmp_path: Path) -> None:
    ctx = make_context(db, tmp_path)
    ctx.base_url, ctx.spool = BASE, tmp_path / "spool"
    yes = add_lead(ctx, email="yes@people.example", title="Head of planning")
    add_lead(ctx, email="no@people.example", title="Head of stock")
    clicks.set_open_tracking(ctx, yes, granted=True, source="form", now=START)
    run_at(ctx, START, START + timedelta(hours=2))
    mails = [file.read_text() for file in (tmp_path / "maildir" / "new").iterdir()]
    pixels = [re.findall(r"/o/([\w-]+)\.gif", mail.replace("=\n", "")) for mail in mails]
    (token,) = [found for of_mail in pixels for found in of_mail]
    clock = VirtualClock(NOW)
    client = TestClient(create_app(ctx, clock), base_url=BASE)

    def opened(agent: str = BROWSER) -> object:
        answer = client.get(f"/o/{token}.gif", headers={"user-agent": agent})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        client.app.state.site.click_recorder.close()  # type: ignore[attr-defined]
        with db.read() as tx:
            assert tx.execute(text("SELECT count(*) FROM signal")).scalar() == 0
            return str(tx.execute(text("SELECT last_open_on FROM open_tracking_consent")).scalar())

    def consent_state() -> tuple[object, ...]:
        return clicks.load_open_consent(ctx, yes)[3:]

    assert opened("Mozilla/5.0") == str(NOW.date())
    assert consent_state() == ("bot", "user agent of a mail program's proxy")
    opened("")
    assert consent_state() == ("suspect", "no user agent")
    opened("Mozilla/5.0")
    assert consent_state()[0] == "suspect"
    opened()
    assert consent_state() == ("human", "")
    assert opened("") == str(NOW.date())
    assert consent_state() == ("human", "")
    clicks.set_open_tracking(ctx, yes, granted=False, source="page", now=NOW)
    clock.advance_to(NOW + timedelta(days=1))
    assert opened() == "None"
    assert consent_state() == (None, None)


def test_a_link_with_utm_parameters_leads_there_and_is_named_without_them(world: World) -> None:
    with world.ctx.database.write() as tx:
        tx.execute(
            text("UPDATE link_destination SET url = :url, name = :name"),
            {"url": f"{GUIDE}?utm_source=x", "name": GUIDE},
        )
    assert fetch(world, click(world, "mia")).headers["location"] == f"{GUIDE}?utm_source=x"
    flush_clicks(world)
    assert [row[2] for row in tracking_rows(world)] == [GUIDE]
