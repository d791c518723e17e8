"""SendGrid's Inbound Parse: a signed mail is processed before the answer; other requests change nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from time import monotonic
from typing import Any

import httpx
import orjson
import pytest

from nurture.journey.engagement import replies
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import MailReader
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.web.app import create_app
from nurture.web.routes import HEALTH, MAX_MAIL_BYTES
from nurture.web.webhooks import DiskBudget
from tests.doubles.sendgrid_events import INBOUND_PATH as INBOUND
from tests.doubles.sendgrid_events import SIGNATURE, TIMESTAMP, Signer, webhooks
from tests.journey.builders import add_lead, run_at
from tests.mail.inbound.hostile_mails import MAILS
from tests.mail.inbound.replying import TO, mail
from tests.mail.inbound.test_reader import LITTLE_MEMORY
from tests.web.serving import serve_in_thread
from tests.web.world import BASE, NOW, TestClient, World, advance_clock

SIGNER, OTHER = Signer(), Signer()
BOUNDARY = "xYzZY"


@pytest.fixture
def client(world: World) -> TestClient:
    """A SendGrid double that posts replies to the endpoint."""
    app = create_app(world.ctx, world.clock, webhooks=webhooks(inbound=[SIGNER]))
    return TestClient(app, base_url=BASE, raise_server_exceptions=False)


@pytest.fixture
def address(world: World, tmp_path: Any) -> str:
    """The Reply-To address of a sent mail."""
    world.ctx.reply_domain = "in.example.com"
    world.ctx.provider = MaildirProvider(tmp_path / "sent")
    add_lead(world.ctx, at=NOW, email="una@people.example", title="Head of stores")
    run_at(world.ctx, NOW, advance_clock(world, hours=1, minutes=30), advance_clock(world, hours=1))
    for file in (tmp_path / "sent" / "new").iterdir():
        sent = message_from_bytes(file.read_bytes(), policy=policy.default)
        if "una@" in str(sent["To"]):
            return str(sent["Reply-To"].addresses[0].addr_spec)
    raise AssertionError("no mail went out")


def form(**fields: bytes) -> bytes:
    parts = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
        % (
            BOUNDARY.encode(),
            name.replace("_", "-").encode(),
            b'; filename="a.pdf"' if name.startswith("attachment") and name[-1].isdigit() else b"",
            value,
        )
        for name, value in fields.items()
    )
    return parts + f"--{BOUNDARY}--\r\n".encode()


def _attachments(world: World) -> list[str]:
    (found,) = replies.list_replies(world.ctx, world.value("SELECT lead_id FROM reply"), 1)
    return list(found.attachments)


def post(client: TestClient, body: bytes, signer: Signer | None = SIGNER) -> Any:
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return client.post(INBOUND, content=body, headers=(signer.headers(body) if signer else {}) | kind)


def reply_texts(world: World) -> list[str]:
    return world.all_rows()["reply"]


def test_a_raw_mail_is_processed(world: World, client: TestClient, address: str) -> None:
    envelope = orjson.dumps({"to": [address.upper()], "from": "una@people.example"})
    answer = post(client, form(email=mail("Call me", to="undisclosed"), envelope=envelope))
    assert (answer.status_code, answer.json()) == (200, {"mails": 1, "matched": 1, "new": 1})
    assert world.value("SELECT text FROM reply") == "Call me"
    assert post(client, form(email=mail("Call me", to=address))).json()["new"] == 0


def test_a_parsed_mail_is_processed_in_any_charset(world: World, client: TestClient, address: str) -> None:
    body = form(
        headers=b"Message-ID: <7@people.example>\r\nFrom: una@people.example\r\n",
        to=address.encode(),
        subject="Größe".encode("latin-1"),
        text="Rufen Sie an, über Mittag".encode("latin-1"),
        charsets=b'{"text":"x-unheard-of","subject":"iso-8859-1"}',
        envelope=b'{"to":["someone@else.example"],"from":"una@people.example"}',
        attachments=b"1",
        attachment1=b"%PDF" * 1000,
    )
    assert post(client, body).json()["new"] == 1
    assert world.value("SELECT text FROM reply") == "Rufen Sie an, über Mittag"
    assert _attachments(world) == ["a.pdf"]


def test_an_unsigned_mail_changes_nothing(world: World, client: TestClient, address: str) -> None:
    before = world.all_rows()
    body = form(email=mail("stop", to=address))
    assert post(client, body, None).status_code == 401
    assert post(client, body, OTHER).status_code == 401
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    bent = client.post(INBOUND, content=body + b" ", headers=SIGNER.headers(body) | kind)
    assert bent.status_code == 401
    assert world.all_rows() == before


def test_a_body_that_cannot_be_signed_is_not_even_read(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        raise AssertionError("somebody reads it")
        yield b""

    for headers in ({}, {SIGNATURE: "c2ln"}, {SIGNATURE: "c2ln", TIMESTAMP: "soon"}):
        assert client.post(INBOUND, content=endless(), headers=headers).status_code == 401


def test_unverified_bodies_on_disk_stay_within_the_budget(world: World, address: str) -> None:
    app = create_app(world.ctx, world.clock, webhooks=webhooks(inbound=[SIGNER]))
    client = TestClient(app, base_url=BASE, raise_server_exceptions=False)
    body = form(email=mail("Call me", to=address))
    app.state.inbound_disk_budget = DiskBudget(len(body))
    with app.state.inbound_disk_budget.reserve() as take:
        assert take(1)
        answer = post(client, body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert reply_texts(world) == []
    assert post(client, body).json()["new"] == 1


def test_without_a_key_the_endpoint_is_closed(world: World, address: str) -> None:
    shut = TestClient(create_app(world.ctx, world.clock), base_url=BASE, raise_server_exceptions=False)
    assert post(shut, form(email=mail("stop", to=address))).status_code == 404
    assert reply_texts(world) == []


def test_a_mail_that_is_too_large_is_refused_while_it_streams(world: World, client: TestClient, address: str) -> None:
    brought = 0

    def pieces() -> Any:
        nonlocal brought
        for _ in range(64):
            brought += 1024 * 1024
            yield b"x" * (1024 * 1024)

    answer = client.post(INBOUND, content=pieces(), headers=SIGNER.headers(b""))
    assert answer.status_code == 413
    announced = client.post(INBOUND, content=b"x", headers={"Content-Length": str(MAX_MAIL_BYTES + 1)})
    assert announced.status_code == 413
    assert reply_texts(world) == []


@pytest.mark.parametrize("body", [b"", b"nonsense", form(), form(charsets=b"{}"), form(email=b"x")[:-9]])
def test_a_signed_body_that_is_no_mail_is_refused(world: World, client: TestClient, body: bytes) -> None:
    assert post(client, body).status_code == 400
    assert reply_texts(world) == []


@pytest.fixture
def reader(world: World) -> Iterator[MailReader]:
    """The process that reads mail, which a test may stop."""
    world.ctx.mail_reader = MailReader()
    yield world.ctx.mail_reader
    world.ctx.mail_reader.close()


def test_pages_answer_while_a_mail_is_read_and_it_is_stored_by_then(
    world: World, address: str, reader: MailReader
) -> None:
    app = create_app(world.ctx, world.clock, webhooks=webhooks(inbound=[SIGNER]))
    body = form(email=mail("Call me", to=address))
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with serve_in_thread(app, "127.0.0.1", 0) as port, ThreadPoolExecutor(1) as others:
        base = f"http://127.0.0.1:{port}"
        reader.read(RawMail({"email": mail("first")}), NOW.date())
        assert reader.pid is not None
        os.kill(reader.pid, signal.SIGSTOP)
        try:
            posted = others.submit(
                httpx.post, base + INBOUND, content=body, headers=SIGNER.headers(body) | kind, timeout=60
            )
            deadline = monotonic() + 60
            while world.value("SELECT count(*) FROM inbound_mail") != 1:
                assert monotonic() < deadline
            assert httpx.get(base + HEALTH, timeout=60).json()["status"] == "ok"
            assert not posted.done()
        finally:
            os.kill(reader.pid, signal.SIGCONT)
        assert posted.result(60).json() == {"mails": 1, "matched": 1, "new": 1}
    assert world.value("SELECT count(*) FROM inbound_mail") == 0


def test_an_unreadable_mail_is_acknowledged_and_stored(world: World, client: TestClient, address: str) -> None:
    world.ctx.mail_reader = MailReader(memory=LITTLE_MEMORY)
    raw = MAILS["one line"]().replace(TO.encode(), address.encode())
    answer = post(client, form(email=raw))
    assert (answer.status_code, answer.json()) == (200, {"mails": 1, "matched": 0, "new": 0})
    assert world.value("SELECT attempts FROM inbound_mail WHERE error IS NOT NULL") == 2
    assert post(client, form(email=mail("Call me", to=address))).json()["new"] == 1
    world.ctx.mail_reader.close()


def test_an_unrelated_mail_is_not_stored(world: World, client: TestClient, reader: MailReader) -> None:
    raw = mail("Buy this", to="anything@in.example.com", sender="a@stranger.example")
    answer = post(client, form(email=raw))
    assert (answer.status_code, answer.json()) == (200, {"mails": 1, "matched": 0, "new": 0})
    assert reader.pid is None


@pytest.mark.parametrize("piece", [b"\r", b"\r\n--", b"\r\n--xYzZ", b"\n\n"])
def test_a_file_of_near_boundaries_is_passed_over(world: World, client: TestClient, address: str, piece: bytes) -> None:
    files = {"attachment1": piece * (4_000_000 // len(piece)), "attachment2": b"%PDF"}
    raw_mail = mail("Call me", to=address)
    assert post(client, form(**files, headers=raw_mail.partition(b"\r\n\r\n")[0], text=b"Call me")).json()["new"] == 1
    assert _attachments(world) == ["a.pdf", "a.pdf"]
