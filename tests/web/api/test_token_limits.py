"""Suppressions by API need their own scope, and each token has hourly limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from nurture.domain.signals import SUPPRESSING_KINDS, SignalKind
from nurture.journey.consent import suppression_files
from nurture.journey.intake.api import batches, tokens
from nurture.web.app import create_app
from nurture.web.routes import LEADS, SIGNALS
from nurture.web.throttling import TokenRateLimits
from tests.journey.intake.lead_files import rows_of
from tests.web.world import BASE, NOW, TestClient, World, advance_clock

STOP = "suppressions:write"
_WITHDRAWN = (
    "SELECT DISTINCT normalized FROM consent_statement JOIN address ON address.id = address_id WHERE basis IS NULL"
)


def item(lead: dict[str, Any], kind: str = "complained", **more: Any) -> dict[str, Any]:
    return {"lead": lead, "kind": kind, "occurred_at": NOW.isoformat(), **more}


def mia(kind: str = "complained", **more: Any) -> dict[str, Any]:
    return item({"email": "mia@people.example"}, kind, **more)


def client_of(world: World, **limits: int) -> TestClient:
    app = create_app(world.ctx, world.clock, token_rate_limits=TokenRateLimits(world.ctx, **limits))
    return TestClient(app, base_url=BASE)


def make(world: World, *scopes: str) -> str:
    return tokens.create_token(world.ctx, " ".join(scopes).replace(":", "-"), scopes, NOW)


def post(client: TestClient, token: str, *items: object, path: str = SIGNALS) -> Any:
    name = path.rpartition("/")[2]
    return client.post(path, json={name: list(items)}, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("kind", sorted({*SUPPRESSING_KINDS, " Unsubscribed "}))
def test_items_that_stop_mail_are_refused_without_the_scope(world: World, kind: str) -> None:
    if kind.strip() not in set(SignalKind):
        kind = kind.lower()
    answer = post(client_of(world), make(world, "signals:write"), mia("visited"), mia(kind), mia("clicked", value="/x"))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    (refused,) = answer.json()["rejected"]
    assert (refused["index"], refused["field"]) == (1, "kind")
    assert STOP in refused["reason"]
    assert f"nurture admin tokens create NAME --scope {STOP}" in refused["remedy"]
    assert list(suppression_files.list_current(world.ctx)) == []


def test_a_lead_that_opted_out_is_refused_without_the_scope_and_accepted_with_it(world: World) -> None:
    client = client_of(world)
    leads = [{"email": "mia@people.example", "opted_out": True}, {"email": "new@people.example"}]
    answer = post(client, make(world, "leads:write"), *leads, path=LEADS).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [0])
    assert rows_of(world.ctx.database, _WITHDRAWN) == []
    both = make(world, "leads:write", STOP)
    assert post(client, both, *leads, path=LEADS).json()["rejected"] == []
    assert rows_of(world.ctx.database, _WITHDRAWN) == [("mia@people.example",)]


def test_a_token_for_opt_outs_alone_may_post_nothing_else(world: World) -> None:
    client, token = client_of(world), make(world, STOP)
    answer = post(client, token, mia("visited"), mia()).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [0])
    assert "signals:write" in answer["rejected"][0]["reason"]
    assert post(client, token, {"email": "a@b.example"}, path=LEADS).status_code == 403


def test_the_answer_does_not_reveal_which_addresses_exist(world: World) -> None:
    client, token = client_of(world), make(world, STOP)
    stranger = item({"email": "Nobody@Elsewhere.example"})
    for counts in ({"new": 1, "known": 0}, {"new": 0, "known": 1}):
        for one in (mia(), stranger):
            answer = post(client, token, one).json()
            assert answer == {"received": 1, "accepted": 1, **counts, "rejected": []}
    listed = {(one.email, one.source) for one in suppression_files.list_current(world.ctx)}
    assert listed == {("mia@people.example", "complaint"), ("nobody@elsewhere.example", "complaint")}
    refused = post(client, token, item({"email": "no address"}), item({"id": 10**9})).json()["rejected"]
    assert [one["index"] for one in refused] == [0, 1]


def test_a_token_stops_mail_to_a_limited_number_of_leads_per_hour(sqlite_world: World) -> None:
    world = sqlite_world
    client, token = client_of(world, suppressions=3), make(world, "signals:write", STOP)
    others = [item({"email": f"p{number}@elsewhere.example"}) for number in range(5)]
    answer = post(client, token, mia("visited"), *others).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (4, [4, 5])
    assert "suppressions import" in answer["rejected"][0]["remedy"]
    assert post(client, token, others[0]).json()["accepted"] == 0
    assert post(client, make(world, STOP), others[4]).json()["accepted"] == 1
    reached = {one.name: one.rate_limited_at for one in tokens.list_tokens(world.ctx)}
    assert reached == {"signals-write suppressions-write": world.clock.now(), "suppressions-write": None}
    advance_clock(world, hours=1)
    assert post(client, token, others[3]).json()["accepted"] == 1


def test_a_token_posts_a_limited_number_of_items_per_hour(sqlite_world: World) -> None:
    world = sqlite_world
    client, token = client_of(world, items=3), make(world, "signals:write", "leads:write")
    advance_clock(world, minutes=20)
    visits = [mia("visited", value=str(number)) for number in range(3)]
    assert post(client, token, *visits).status_code == 202
    for path in (SIGNALS, LEADS):
        answer = post(client, token, mia("visited"), path=path)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2400")
    advance_clock(world, minutes=40)
    assert post(client, token, *visits).status_code == 202


def test_posting_without_scopes_stops_no_mail(world: World) -> None:
    items = [item({"id": number}) for number in world.ids.values()]
    done = batches.post_signals(world.ctx, items, NOW + timedelta(hours=1))
    assert (done.accepted, len(done.rejected)) == (0, len(items))
    assert list(suppression_files.list_current(world.ctx)) == []
