from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from nurture.clock import VirtualClock
from nurture.db import last_rounds
from nurture.db.engine import Database
from nurture.runtime.context import AppContext
from nurture.web.app import create_app
from nurture.web.site import Watching
from tests.journey.builders import START, add_lead, make_context

TOKEN = "scrape-me"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    return make_context(sqlite_db, tmp_path)


def _client(ctx: AppContext, token: str = TOKEN, host: str = "203.0.113.5") -> TestClient:
    app = create_app(ctx, VirtualClock(START), watching=Watching(token))
    return TestClient(app, base_url="https://nurture.example.com", client=(host, 5_000))


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
def test_the_state_is_shown_to_this_machine_and_to_who_has_the_token(ctx: AppContext, path: str) -> None:
    assert _client(ctx).get(path).status_code == 404
    assert _client(ctx).get(path, headers={"Authorization": "Bearer guessed"}).status_code == 404
    assert _client(ctx, token="").get(path, headers={"Authorization": "Bearer "}).status_code == 404
    assert _client(ctx).get(path, headers=BEARER).status_code == 200
    assert _client(ctx, host="127.0.0.1").get(path).status_code == 200
    through_proxy = {"X-Forwarded-For": "198.51.100.7"}
    assert _client(ctx, host="127.0.0.1").get(path, headers=through_proxy).status_code == 404


def test_everybody_may_see_that_the_process_lives(ctx: AppContext) -> None:
    assert _client(ctx).get("/health/live").json() == {"status": "ok"}


def test_ready_tells_ages_and_problems_and_stays_ready_with_them(ctx: AppContext) -> None:
    with ctx.database.write() as tx:
        last_rounds.note_success(tx, "advance", START)
        last_rounds.note_failure(tx, last_rounds.INBOX, START, "the password is wrong")
    answer = _client(ctx).get("/health/ready", headers=BEARER)
    assert answer.status_code == 200
    body = answer.json()
    assert body["seconds_since"]["advance"] == 0
    assert body["seconds_since"]["event"] is None
    assert "inbox" in [one["key"] for one in body["problems"]]


def test_metrics_are_in_the_format_of_prometheus_and_name_no_person(ctx: AppContext) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    add_lead(ctx, email="mia@canary.example", title="Head")
    with ctx.database.write() as tx:
        last_rounds.note_success(tx, "advance", START)
    text = _client(ctx).get("/metrics", headers=BEARER).text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["nurture_round_age_seconds", "advance"] == 0
    assert found["nurture_stage_due", "intake"] == 1
    assert found["nurture_stage_due", "deliver"] == 0
    assert found["nurture_mail_unknown",] == 0
    assert "canary" not in text
