"""The webhook is open only to the credentials in the settings, and only while they are set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from nurture.db.engine import Database
from nurture.mail.providers.postmark.payload import split_message_id
from nurture.mail.providers.registry import open_webhooks
from nurture.settings import Settings
from nurture.web.app import create_app
from tests.doubles.postmark import CREDENTIALS, PATH, auth_headers, encode, event
from tests.web.world import BASE, NOW, TestClient, World, open_world

ORIGIN = "0badcafe"
NEXT = "postmark:another-long-password"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    """An installation that has just sent its email."""
    world = open_world(db, tmp_path)
    yield world
    world.close()


def client_of(world: World, credentials: str | None = CREDENTIALS) -> TestClient:
    world.ctx.installation_id = ORIGIN
    settings = Settings(postmark_webhook_auth=SecretStr(credentials) if credentials else None)
    app = create_app(world.ctx, world.clock, webhooks=open_webhooks(settings))
    return TestClient(app, base_url=BASE, raise_server_exceptions=False)


def body_of(world: World, record_type: str, **fields: Any) -> bytes:
    key = world.value("SELECT send_key FROM message WHERE lead_id = :id AND kind = 'touch'", id=world.ids["mia"])
    at = NOW - timedelta(minutes=3)
    address = "Email" if record_type in ("Bounce", "SpamComplaint") else "Recipient"
    fields = {address: "mia@people.example", **fields}
    return encode(event(record_type, split_message_id(f"{ORIGIN}:{key}"), at, **fields))


def test_an_event_is_stored_and_applied_and_answered_with_200(world: World) -> None:
    client = client_of(world)
    for record_type, state in (("Delivery", "delivered"), ("Bounce", "bounced"), ("SpamComplaint", "complained")):
        answer = client.post(PATH, content=body_of(world, record_type), headers=auth_headers())
        assert (answer.status_code, answer.json()) == (200, {"events": 1, "new": True})
        assert world.value("SELECT state FROM message WHERE lead_id = :id", id=world.ids["mia"]) == state
    assert world.value("SELECT count(*) FROM suppression") == 2


def test_an_opt_out_at_postmark_stops_email_here(world: World) -> None:
    body = body_of(world, "SubscriptionChange")
    assert client_of(world).post(PATH, content=body, headers=auth_headers()).status_code == 200
    assert world.value("SELECT source FROM suppression") == "provider"


def test_the_same_event_again_changes_nothing(world: World) -> None:
    client, body = client_of(world), body_of(world, "Bounce")
    client.post(PATH, content=body, headers=auth_headers())
    before = world.all_rows()
    assert client.post(PATH, content=body, headers=auth_headers()).json() == {"events": 1, "new": False}
    assert world.all_rows() == before


def test_wrong_credentials_change_nothing(world: World) -> None:
    right = auth_headers()["Authorization"]
    basic = [auth_headers(f"postmark:{password}") for password in ("wrong-horse-battery", "", "correct-horse-batter")]
    wrong = [
        [],
        *(list(one.items()) for one in (*basic, auth_headers(CREDENTIALS + "x"), auth_headers(""))),
        [("Authorization", right), ("Authorization", right)],
        [("Authorization", right.replace("Basic", "Bearer"))],
        [("Authorization", f"Basic {CREDENTIALS}")],
        [("Authorization", right.replace(" ", "  "))],
        [("Authorization", "Basic")],
        [("Authorization", "Basic " + "A" * 5_000)],
    ]
    client, body, before = client_of(world), body_of(world, "Bounce"), world.all_rows()
    for headers in wrong:
        assert client.post(PATH, content=body, headers=headers).status_code == 401, headers
    assert world.all_rows() == before


def test_without_credentials_in_the_settings_there_is_no_route(world: World) -> None:
    body = body_of(world, "Bounce")
    assert client_of(world, None).post(PATH, content=body, headers=auth_headers()).status_code == 404
    assert client_of(world).post(PATH.replace("events", "inbound"), content=body).status_code == 404


def test_two_credentials_are_accepted_while_they_are_changed(world: World) -> None:
    client = client_of(world, f"{CREDENTIALS} {NEXT}")
    for credentials in (CREDENTIALS, NEXT):
        body = body_of(world, "Delivery", Tag=credentials)
        assert client.post(PATH, content=body, headers=auth_headers(credentials)).status_code == 200


@pytest.mark.parametrize("value", ["postmark", "postmark:short", ":long-enough-password", f"{CREDENTIALS} " * 3])
def test_credentials_that_are_too_weak_or_too_many_are_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValidationError, match="16 characters") as refused:
        Settings(postmark_webhook_auth=SecretStr(value))
    assert "long-enough" not in str(refused.value)


def test_a_body_that_is_no_event_is_refused_and_not_stored(world: World) -> None:
    client, before = client_of(world), world.all_rows()
    for body in (b"", b"[]", b"nonsense"):
        assert client.post(PATH, content=body, headers=auth_headers()).status_code == 400
    assert world.all_rows() == before
