"""A lead is asked for the field that routing needs, by one email and one page, and routed by its answer."""

from __future__ import annotations

import re
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.consent import suppression
from nurture.journey.routing import missing_fields
from nurture.journey.routing.replay import replay
from nurture.runtime.context import AppContext
from nurture.web.app import create_app
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import all_rows, custody, events, messages, one, rows, write
from tests.journey.routing.test_router import ruled
from tests.web.world import BASE, TestClient

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPENS = START + 2 * HOUR


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(sqlite_db, tmp_path, rules=ruled())
    ctx.base_url = BASE
    return ctx


def client_of(ctx: AppContext) -> Any:
    return TestClient(create_app(ctx, VirtualClock(OPENS)), base_url=BASE, raise_server_exceptions=False)


def question_mail(tmp_path: Path) -> Any:
    mails = [
        message_from_bytes(file.read_bytes(), policy=policy.default) for file in (tmp_path / "maildir/new").iterdir()
    ]
    (mail,) = [mail for mail in mails if "One question" in str(mail["Subject"])]
    return mail


def path_in(mail: Any) -> str:
    found = re.search(rf"{BASE}(/f/[\w-]+)", mail.get_body(("plain",)).get_content())
    assert found is not None
    return found[1]


def unrouted(ctx: AppContext, **more: Any) -> int:
    lead = add_lead(ctx, email="mia@people.example", demo_requested=True, **more)
    run_at(ctx, START)
    return lead


def test_the_lead_is_asked_once_in_its_window_and_its_answer_routes_it(ctx: AppContext, tmp_path: Path) -> None:
    lead = unrouted(ctx)
    assert custody(ctx, lead) == ("queue", "missing-field")
    assert not list((tmp_path / "maildir/new").glob("question*"))
    run_at(ctx, OPENS, OPENS + HOUR)
    assert messages(ctx, "question") == [(lead, "country", "accepted", "")]
    assert one(ctx, "SELECT send_key FROM message WHERE kind = 'question'") == f"question:{lead}:country"
    mail = question_mail(tmp_path)
    assert mail["List-Unsubscribe"]
    assert "In which country do you work?" in mail.get_body(("plain",)).get_content()

    client, path = client_of(ctx), path_in(mail)
    before = all_rows(ctx)
    for method in ("GET", "HEAD"):
        assert client.request(method, path + "?answer=DE").status_code == 200
    assert '<option value="DE">Germany</option>' in client.get(path).text
    assert all_rows(ctx) == before
    assert client.post(path, data={"answer": "Atlantis"}).status_code == 422
    assert all_rows(ctx) == before

    assert "Thank you" in client.post(path, data={"answer": "DE"}).text
    assert custody(ctx, lead) == ("queue", "hand-off")
    assert rows(ctx, "SELECT country, json_extract(fields, '$.country') FROM lead") == [("DE", "DE")]
    assert "question_answered" in events(ctx, lead)
    run_at(ctx, OPENS + 2 * HOUR)
    assert one(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "cleo"
    assert replay(ctx).differences == []
    assert rows(ctx, "SELECT field, filled_by FROM missing_field") == [("country", "lead")]


@pytest.mark.parametrize("path", ["/f/" + "x" * 22, "/f/", "/f/../f/x"])
def test_an_invalid_link_shows_no_question(ctx: AppContext, path: str) -> None:
    assert client_of(ctx).get(path).status_code == 404
    assert client_of(ctx).post(path, data={"answer": "DE"}).status_code in (404, 405)


def test_a_lead_that_opted_out_is_not_asked_but_routed(ctx: AppContext) -> None:
    lead = unrouted(ctx)
    suppression.suppress(ctx, ["mia@people.example"], START)
    run_at(ctx, OPENS)
    assert [state for _, _, state, _ in messages(ctx, "question")] == ["cancelled"]
    run_at(ctx, START + 3 * DAY, START + 3 * DAY)
    assert one(ctx, "SELECT count(*) FROM offer WHERE lead_id = :id", id=lead) == 1


def test_a_field_that_is_filled_in_another_way_routes_the_lead_and_the_question_is_dropped(ctx: AppContext) -> None:
    lead = unrouted(ctx)
    write(ctx, "UPDATE lead SET country = 'AT', updated_at = :at", at=(START + HOUR).isoformat())
    assert missing_fields.recheck_filled_fields(ctx, START + HOUR) == 1
    run_at(ctx, START + HOUR, START + HOUR)
    assert one(ctx, "SELECT rep FROM offer WHERE lead_id = :id", id=lead) == "cleo"
    run_at(ctx, OPENS)
    assert rows(ctx, "SELECT state, reason FROM message WHERE kind = 'question'") == [("cancelled", "left_track")]
    assert rows(ctx, "SELECT field, filled_by FROM missing_field") == [("country", "source")]
    assert missing_fields.recheck_filled_fields(ctx, OPENS) == 0
