"""Clients that hold bodies and connections open cannot prevent an opt-out."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from nurture.journey.intake.api import tokens as api_tokens
from nurture.web.app import create_app
from nurture.web.routes import ALLOWANCES, API_CALLS, INBOUND_MAIL, LEADS, OPT_OUTS, PAGES, SIGNALS
from tests.doubles.sendgrid_events import INBOUND_PATH as INBOUND
from tests.doubles.sendgrid_events import PATH as EVENTS
from tests.doubles.sendgrid_events import Signer, webhooks
from tests.web.serving import serve_in_thread
from tests.web.world import NOW, ONE_CLICK, World

SIGNER = Signer()
ONE_CLICK_BODY = b"List-Unsubscribe=One-Click"
HeldRequest = tuple[str, str, bytes]
"""A path, more header lines, and the part of the body that is sent."""


def _app(world: World, *signers: Signer, **allowances: Any) -> FastAPI:
    open_ones = webhooks(events=signers, inbound=signers)
    return create_app(world.ctx, world.clock, webhooks=open_ones, allowances={**ALLOWANCES, **allowances})


@contextmanager
def holding(port: int, held: Sequence[HeldRequest]) -> Iterator[list[socket.socket]]:
    """Keep requests open whose bodies never end."""
    with ExitStack() as stack:
        sockets = []
        for path, lines, body in held:
            sockets.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)))
            sockets[-1].sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body)
        yield sockets


def _length(size: int) -> str:
    return f"Content-Length: {size}\r\n"


def _signed(size: int) -> str:
    lines = "".join(f"{name}: {value}\r\n" for name, value in SIGNER.headers(b"other").items())
    return _length(size) + lines


def _stop(port: int, path: str) -> int:
    answer = httpx.post(f"http://127.0.0.1:{port}{path}", data=ONE_CLICK, timeout=60)
    return answer.status_code


def _status(one: socket.socket) -> bytes:
    """Return the status of an answer; b"" if the connection ends without one."""
    received = b""
    try:
        while b"\r\n\r\n" not in received and (part := one.recv(4096)):
            received += part
    except ConnectionError:
        pass
    return received[9:12]


def _push(one: socket.socket, size: int) -> None:
    """Send *size* bytes in pieces. Raises ConnectionError once the server has closed the connection."""
    for _ in range(0, size, 1_000):
        one.sendall(b"x" * 1_000)
        if select.select([one], [], [], 0)[0] and not one.recv(4096):
            raise ConnectionError
    while one.recv(4096):  # all was written to buffers before the server closed: wait for it
        pass
    raise ConnectionError


def test_an_opt_out_is_accepted_at_once_while_attackers_hold_unfinished_bodies(world: World) -> None:
    held = [(EVENTS, _length(2_097_152), b"x" * 2_097_151)] * 32 + [("/u/x", _length(60), b"y" * 20)]
    with serve_in_thread(_app(world), "127.0.0.1", 0) as port, holding(port, held):
        assert _stop(port, world.path("mia", "unsubscribe")) == 200
    assert world.value("SELECT count(*) FROM suppression") == 1


@pytest.mark.parametrize(
    "lines", [_signed(2_097_152), _signed(0).replace(_length(0), "Transfer-Encoding: chunked\r\n")]
)
def test_possibly_signed_bodies_are_dropped_before_signed_ones(sqlite_world: World, lines: str) -> None:
    world = sqlite_world
    part = b"x" * 1_900_000
    body = b"%x\r\n%b\r\n" % (len(part), part) if "chunked" in lines else part
    good = b"[]"
    with (
        serve_in_thread(_app(world, SIGNER), "127.0.0.1", 0) as port,
        holding(port, [(EVENTS, lines, body)] * 32) as held,
    ):
        assert _stop(port, world.path("mia", "unsubscribe")) == 200
        answer = httpx.post(f"http://127.0.0.1:{port}{EVENTS}", content=good, headers=SIGNER.headers(good), timeout=60)
        assert answer.status_code == 200
        assert _status(held[0]) == b"503"


def test_unfinished_opt_outs_are_dropped_for_new_ones(sqlite_world: World) -> None:
    few = replace(ALLOWANCES[OPT_OUTS], max_bodies=8, max_bodies_per_address=4)
    path = sqlite_world.path("mia", "unsubscribe")
    with (
        serve_in_thread(_app(sqlite_world, **{OPT_OUTS: few}), "127.0.0.1", 0) as port,
        holding(port, [(path, _length(60), b"y" * 20)] * 5) as held,
    ):
        assert _status(held[0]) == b"503"
        assert _stop(port, path) == 200


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        (EVENTS, "", b"404"),
        (INBOUND, "", b"404"),
        (LEADS, "Authorization: Bearer nrt_unknown\r\n", b"401"),
        (SIGNALS, "", b"401"),
        ("/u/unknown", "", b"404"),
        ("/p/unknown", "", b"404"),
        ("/a/unknown", "", b"404"),
        ("/i/unknown", "", b"404"),
        ("/nowhere", "", b"404"),
        ("/health", "", b"405"),
    ],
)
@pytest.mark.parametrize(
    "body", [_length(2_000), _length(2_000) + "Expect: 100-continue\r\n", "Transfer-Encoding: chunked\r\n"]
)
def test_an_unauthenticated_request_is_refused_before_its_body(
    sqlite_world: World, path: str, lines: str, status: bytes, body: str
) -> None:
    with (
        serve_in_thread(_app(sqlite_world), "127.0.0.1", 0) as port,
        holding(port, [(path, lines + body, b"")]) as (one,),
    ):
        assert _status(one) == status


@pytest.mark.parametrize("path", [EVENTS, INBOUND])
def test_a_body_without_a_plausible_signature_is_not_read(sqlite_world: World, path: str) -> None:
    with (
        serve_in_thread(_app(sqlite_world, SIGNER), "127.0.0.1", 0) as port,
        holding(port, [(path, _length(2_000), b"x" * 100)]) as (one,),
    ):
        assert _status(one) == b"401"


def test_a_slow_body_is_disconnected_on_any_route(sqlite_world: World) -> None:
    world = sqlite_world
    token = api_tokens.create_token(world.ctx, "site", ["signals:write"], NOW)
    hasty = {name: replace(one, body_timeout=0.2) for name, one in ALLOWANCES.items()}
    known = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    held = [
        (world.path("mia", "unsubscribe"), _length(60), b"y"),
        (world.path("dana", "reject"), "Transfer-Encoding: chunked\r\n", b"1\r\ny\r\n"),
        (EVENTS, _signed(2_000), b"y"),
        (SIGNALS, known + _length(2_000), b"y"),
    ]
    app = _app(world, SIGNER, **hasty)
    with serve_in_thread(app, "127.0.0.1", 0, header_timeout=0.2) as port, holding(port, held) as sockets:
        for one in sockets:
            assert _status(one) == b"408"
            while one.recv(4096):  # the rest of the body has a time limit too
                pass


def test_idle_connections_are_closed_for_new_ones(sqlite_world: World) -> None:
    path = sqlite_world.path("mia", "unsubscribe")
    held = [(path, _length(60), b"y")] * 20 + [("/u/x", "", b"")] * 20
    with serve_in_thread(_app(sqlite_world), "127.0.0.1", 0, max_connections=24) as port, ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(20)]
        stack.enter_context(holding(port, held))
        assert _stop(port, path) == 200
        assert _status(silent[0]) == b""


def test_behind_a_trusted_proxy_each_client_has_its_own_share(sqlite_world: World) -> None:
    world = sqlite_world
    few = replace(ALLOWANCES[OPT_OUTS], max_bodies=8, max_bodies_per_address=4)
    path = world.path("mia", "unsubscribe")
    strangers = [(path, f"X-Forwarded-For: 2001:db8::{number}\r\n{_length(60)}", b"y") for number in range(8)]
    other = (path, f"X-Forwarded-For: 203.0.113.7\r\n{_length(len(ONE_CLICK_BODY))}", ONE_CLICK_BODY[:-1])
    app = _app(world, **{OPT_OUTS: few})
    with serve_in_thread(app, "127.0.0.1", 0, trusted=["127.0.0.1"]) as port, holding(port, [other]) as (reader,):
        with holding(port, strangers) as held:
            assert _status(held[0]) == b"503"  # they share one network
        reader.sendall(ONE_CLICK_BODY[-1:])
        assert _status(reader) == b"200"


def test_pipelined_and_later_requests_of_a_connection_are_answered_in_turn(sqlite_world: World) -> None:
    path = sqlite_world.path("mia", "unsubscribe").encode()
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    stop = b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path,
        form,
        len(ONE_CLICK_BODY),
        ONE_CLICK_BODY,
    )
    unknown = stop.replace(path, b"/u/unknown")
    with serve_in_thread(_app(sqlite_world), "127.0.0.1", 0) as port:
        with socket.create_connection(("127.0.0.1", port), 30) as one:
            one.sendall(unknown + stop + unknown + stop)
            received = b""
            while received.count(b"HTTP/1.1 ") < 4 or received.count(b"You are unsubscribed") < 2:
                part = one.recv(65_536)
                assert part, received
                received += part
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"404", b"200"] * 2


def test_bytes_after_an_answer_are_discarded_up_to_a_limit(sqlite_world: World) -> None:
    with (
        serve_in_thread(_app(sqlite_world), "127.0.0.1", 0) as port,
        holding(port, [(EVENTS, _length(2_000_000), b"")]) as (one,),
    ):
        assert _status(one) == b"404"
        with pytest.raises(ConnectionError):
            _push(one, 1_900_000)


def test_a_throttled_client_gets_a_retry_after_and_may_still_opt_out(sqlite_world: World) -> None:
    world = sqlite_world
    slow = {name: replace(ALLOWANCES[name], per_second=0.001, burst=3) for name in (PAGES, INBOUND_MAIL)}
    with serve_in_thread(_app(world, **slow), "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}"
        statuses = [httpx.get(f"{url}{world.path('dana', 'accept')}").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        answer = httpx.get(f"{url}/nowhere")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 1_000
        assert "Nothing was changed" in answer.text
        with ThreadPoolExecutor(8) as pool:
            path = world.path("mia", "unsubscribe")
            assert set(pool.map(lambda _: _stop(port, path), range(40))) == {200}
        assert httpx.get(f"{url}/health").status_code == 200


def test_a_token_that_asks_too_often_is_refused_and_others_are_not(sqlite_world: World) -> None:
    world = sqlite_world
    app = _app(world, **{API_CALLS: replace(ALLOWANCES[API_CALLS], per_second=0.001, burst=2)})
    tokens = [api_tokens.create_token(world.ctx, name, ["signals:write"], NOW) for name in ("one", "two")]
    item = {"lead": {"id": world.ids["mia"]}, "kind": "visited", "occurred_at": NOW.isoformat()}

    def post(token: str, client: int) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": f"203.0.113.{client}"}
        return httpx.post(f"http://127.0.0.1:{port}{SIGNALS}", json={"signals": [item]}, headers=headers)

    with serve_in_thread(app, "127.0.0.1", 0, trusted=["127.0.0.1"]) as port:
        assert [post(tokens[0], client).status_code for client in range(3)] == [202, 202, 429]
        assert 0 < int(post(tokens[0], 4).headers["retry-after"]) <= 1_000
        assert [post(tokens[1], client).status_code for client in (5, 5, 5)] == [202, 202, 429]
