"""SendGrid's Event Webhook: signed batches are stored before the answer; other requests change nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.engagement import provider_events
from nurture.mail.providers.sendgrid.signature import MAX_CLOCK_SKEW
from nurture.web.app import create_app
from nurture.web.background import EventWorker
from nurture.web.webhooks import MAX_CONCURRENT_BATCHES
from tests.doubles.sendgrid_events import KINDS, SIGNATURE, TIMESTAMP, Signer, encode_events, event, webhooks
from tests.doubles.sendgrid_events import PATH as EVENTS
from tests.web.serving import serve_in_thread
from tests.web.world import BASE, NOW, TestClient, World

SIGNER = Signer()
OTHER = Signer()
ORIGIN = "0badcafe"


def client_of(world: World, *keys: Signer) -> TestClient:
    world.ctx.installation_id = ORIGIN
    app = create_app(world.ctx, world.clock, webhooks=webhooks(events=keys))
    return TestClient(app, base_url=BASE, raise_server_exceptions=False)


@pytest.fixture
def client(world: World) -> TestClient:
    """A SendGrid double that posts to the endpoint."""
    return client_of(world, SIGNER)


def arg(world: World, who: str = "mia") -> str:
    key = world.value("SELECT send_key FROM message WHERE lead_id = :id AND kind = 'touch'", id=world.ids[who])
    return f"{ORIGIN}:{key}"


def batch(world: World, *kinds: str) -> bytes:
    sent_events = [event(kind, arg(world), NOW - timedelta(minutes=3), email="mia@people.example") for kind in kinds]
    return encode_events(sent_events)


def post(client: TestClient, body: bytes, headers: dict[str, str] | None = None) -> Any:
    return client.post(EVENTS, content=body, headers=SIGNER.headers(body) if headers is None else headers)


def test_a_signed_batch_is_stored_and_applied(world: World, client: TestClient) -> None:
    answer = post(client, batch(world, "delivered", "spamreport"))
    assert (answer.status_code, answer.json()) == (200, {"events": 2, "new": True})
    assert world.value("SELECT count(*) FROM raw_batch WHERE processed_at IS NOT NULL") == 1
    assert world.value("SELECT state FROM message WHERE lead_id = :id", id=world.ids["mia"]) == "complained"
    assert world.value("SELECT source FROM suppression") == "complaint"


def test_the_same_batch_again_is_acknowledged_and_changes_nothing(world: World, client: TestClient) -> None:
    body = batch(world, *KINDS)
    post(client, body)
    before = world.all_rows()
    for timestamp in ("1767601800", "1767601801", "1"):  # SendGrid retries for a day
        answer = post(client, body, SIGNER.headers(body, timestamp))
        assert (answer.status_code, answer.json()["new"]) == (200, False)
    assert world.all_rows() == before


def test_without_a_key_the_endpoint_is_closed_and_nothing_is_stored(world: World) -> None:
    before = world.all_rows()
    body = batch(world, "delivered")
    assert post(client_of(world), body).status_code == 404
    assert world.all_rows() == before


@pytest.mark.parametrize("provider", ["smtp", "maildir", "elsewhere", "SENDGRID", "sendgrid%2Fevents", ".."])
def test_only_a_provider_that_posts_events_has_an_endpoint(sqlite_world: World, provider: str) -> None:
    before, body = sqlite_world.all_rows(), batch(sqlite_world, "delivered")
    path = EVENTS.replace("sendgrid", provider)
    answer = client_of(sqlite_world, SIGNER).post(path, content=body, headers=SIGNER.headers(body))
    assert answer.status_code == 404
    assert sqlite_world.all_rows() == before


def test_two_keys_are_accepted_during_rotation(world: World) -> None:
    client = client_of(world, OTHER, SIGNER)
    body = batch(world, "delivered")
    assert post(client, body).status_code == 200
    assert post(client, body, OTHER.headers(body)).status_code == 200
    assert post(client_of(world, OTHER), body).status_code == 401


def test_a_signed_batch_with_a_future_time_is_refused(sqlite_world: World) -> None:
    client, before = client_of(sqlite_world, SIGNER), sqlite_world.all_rows()
    body, now = batch(sqlite_world, "bounce"), int(NOW.timestamp())
    for ahead in (int(MAX_CLOCK_SKEW.total_seconds()) + 1, 10**12, 10**19):
        assert post(client, body, SIGNER.headers(body, f"{now + ahead}")).status_code == 401
    assert sqlite_world.all_rows() == before
    assert post(client, body, SIGNER.headers(body, f"{now + int(MAX_CLOCK_SKEW.total_seconds())}")).is_success


def _mangled(body: bytes) -> Iterator[tuple[bytes, list[tuple[str, str]]]]:
    good = SIGNER.headers(body)
    signature, timestamp = (SIGNATURE, good[SIGNATURE]), (TIMESTAMP, good[TIMESTAMP])
    yield body, []
    yield body, [signature]
    yield body, [timestamp]
    yield body, [signature, signature, timestamp]
    yield body, [signature, timestamp, timestamp]
    yield body, list(OTHER.headers(body).items())
    yield body, [(SIGNATURE, ""), timestamp]
    yield body, [(SIGNATURE, "x" * 5_000), timestamp]
    yield body, [(SIGNATURE, good[SIGNATURE][:-1]), timestamp]
    yield body, [(SIGNATURE, f"{good[SIGNATURE]}, {good[SIGNATURE]}"), timestamp]
    yield body, [signature, (TIMESTAMP, "")]
    yield body, [signature, (TIMESTAMP, "soon")]
    yield body, [signature, (TIMESTAMP, f"{int(good[TIMESTAMP]) + 1}")]
    yield body + b" ", [signature, timestamp]
    yield body[:-1], [signature, timestamp]
    yield b"", [signature, timestamp]
    yield orjson.dumps(orjson.loads(body)), [signature, timestamp]
    yield body.replace(b"mia@", b"noor@"), [signature, timestamp]


def test_nothing_that_is_not_signed_changes_anything(sqlite_world: World) -> None:
    client = client_of(sqlite_world, SIGNER)
    before = sqlite_world.all_rows()
    for body, headers in _mangled(batch(sqlite_world, "bounce")):
        answer = client.post(EVENTS, content=body, headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["cache-control"] == "no-store"
    assert sqlite_world.all_rows() == before


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"nonsense", b"\xff", b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 5_000]
)
def test_a_signed_body_that_is_no_batch_is_refused_and_not_stored(sqlite_world: World, body: bytes) -> None:
    before = sqlite_world.all_rows()
    answer = post(client_of(sqlite_world, SIGNER), body)
    assert answer.status_code == 400
    assert sqlite_world.all_rows() == before


def test_an_empty_batch_is_acknowledged(sqlite_world: World) -> None:
    before = sqlite_world.all_rows()
    assert post(client_of(sqlite_world, SIGNER), b"[]").json() == {"events": 0, "new": False}
    assert sqlite_world.all_rows() == before


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_two_megabytes_is_refused_before_it_is_read(sqlite_world: World, announced: bool) -> None:
    taken = 0

    def parts() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield b" " * 1024 * 1024

    before = sqlite_world.all_rows()
    body: Any = b" " * (2 * 1024 * 1024 + 1) if announced else parts()
    headers = SIGNER.headers(b"")
    answer = client_of(sqlite_world, SIGNER).post(EVENTS, content=body, headers=headers)
    assert answer.status_code == 413
    assert sqlite_world.all_rows() == before


def test_the_largest_batch_of_sendgrid_is_accepted(sqlite_world: World) -> None:
    body = encode_events([event("processed", f"elsewhere:{number}", NOW) for number in range(2_400)])
    assert 700_000 < len(body) < 1_000_000
    assert post(client_of(sqlite_world, SIGNER), body).json() == {"events": 2_400, "new": True}
    assert sqlite_world.value("SELECT count(*) FROM provider_event") == 2_400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_a_post_is_accepted(sqlite_world: World, method: str) -> None:
    before = sqlite_world.all_rows()
    body = batch(sqlite_world, "delivered")
    answer = client_of(sqlite_world, SIGNER).request(method, EVENTS, content=body, headers=SIGNER.headers(body))
    assert answer.status_code == 405
    assert sqlite_world.all_rows() == before


def test_without_a_usable_database_the_provider_is_asked_to_retry(empty_db: Database, sqlite_world: World) -> None:
    sqlite_world.ctx.database = empty_db
    body = b'[{"event":"delivered"}]'
    assert post(client_of(sqlite_world, SIGNER), body).status_code == 503


def test_a_concurrent_batch_is_applied_by_the_request_that_is_applying(sqlite_world: World) -> None:
    world = sqlite_world
    world.ctx.installation_id = ORIGIN
    applying = EventWorker(world.ctx, world.clock)
    provider_events.receive(world.ctx, "sendgrid", batch(world, "delivered"), NOW)
    applying._busy.acquire()
    applying.run()
    assert world.value("SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 1
    applying._busy.release()
    threads = [threading.Thread(target=applying.run) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert world.value("SELECT count(*) FROM raw_batch WHERE processed_at IS NULL") == 0


def test_a_batch_that_cannot_be_applied_now_is_left_to_the_sweep(
    empty_db: Database, sqlite_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ctx = sqlite_world.ctx
    ctx.database = empty_db
    with caplog.at_level(logging.WARNING):
        EventWorker(ctx, VirtualClock(NOW)).run()
    assert [record.message for record in caplog.records] == ["provider_events_deferred"]


def test_batches_that_wait_for_the_database_do_not_block_redirects(sqlite_world: World) -> None:
    client = client_of(sqlite_world, SIGNER)
    sent_events = [
        event("open", arg(sqlite_world), NOW, f"id-{number}", ip=f"192.0.2.{number}") for number in range(30)
    ]
    bodies = [encode_events([one]) for one in sent_events]
    link = f"{sqlite_world.path('mia', 'click')}/1"
    with (
        serve_in_thread(client.app, "127.0.0.1", 0) as port,  # type: ignore[arg-type]
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as web,
        ThreadPoolExecutor(len(bodies)) as many,
    ):
        with sqlite_world.ctx.database.write():
            posted = [many.submit(web.post, EVENTS, content=body, headers=SIGNER.headers(body)) for body in bodies]
            storing = client.app.state.event_limiter.statistics  # type: ignore[attr-defined]
            while storing().tasks_waiting < len(bodies) - MAX_CONCURRENT_BATCHES:
                threading.Event().wait(0.01)
            assert web.get(link).status_code == 302
            assert not any(one.done() for one in posted)
        assert {one.result().status_code for one in posted} == {200}
