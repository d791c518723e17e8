"""The server starts on a port, and stops cleanly."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
from contextlib import ExitStack

import httpx
import pytest
from fastapi import FastAPI, Request

from nurture.errors import Misconfigured
from nurture.web.app import create_app
from nurture.web.server import serve
from tests.web.serving import serve_in_thread
from tests.web.world import World


def test_pages_are_served_while_the_block_runs_and_the_port_is_free_after(sqlite_world: World) -> None:
    app = create_app(sqlite_world.ctx, sqlite_world.clock)
    with serve_in_thread(app, "127.0.0.1", 0) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/healthz").json() == {"status": "ok", "database": "ok"}
        answer = client.get(sqlite_world.path("mia", "unsubscribe"))
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert client.head(sqlite_world.path("mia", "unsubscribe")).content == b""
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_client_with_an_unfinished_head_is_disconnected_and_others_are_not(sqlite_world: World) -> None:
    app = create_app(sqlite_world.ctx, sqlite_world.clock)
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    with serve_in_thread(app, "127.0.0.1", 0, header_timeout=1) as port, ExitStack() as opened:
        nothing, begun, other = (
            opened.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(3)
        )
        begun.sendall(ask)
        for _ in range(2):
            other.sendall(ask)
            other.sendall(b"\r\n")
            answer = http.client.HTTPResponse(other)
            answer.begin()
            assert (answer.status, json.load(answer)["status"]) == (200, "ok")
        other.sendall(ask)
        assert [line.recv(1) for line in (nothing, begun, other)] == [b"", b"", b""]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_and_the_process_continues(sqlite_world: World, number: int) -> None:
    app = create_app(sqlite_world.ctx, sqlite_world.clock)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers = []

    def ask_then_signal() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            answers.append(client.get(f"http://127.0.0.1:{port}/healthz").status_code)
        signal.raise_signal(number)

    before = signal.getsignal(number)
    asking = threading.Thread(target=ask_then_signal)
    asking.start()
    serve(app, "127.0.0.1", port)
    asking.join()
    assert answers == [200]
    assert signal.getsignal(number) is before


def test_a_port_in_use_is_named_with_a_remedy(sqlite_world: World) -> None:
    app = create_app(sqlite_world.ctx, sqlite_world.clock)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(Misconfigured, match=f"port {port}.*NURTURE_WEB_PORT"),
            serve_in_thread(app, "127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize(
    ("trusted", "forwarded_for", "seen"),
    [
        (("127.0.0.1",), "203.0.113.7", ("203.0.113.7", "https")),
        (("127.0.0.0/8",), "198.51.100.9, 203.0.113.7", ("203.0.113.7", "https")),
        (("127.0.0.1", "203.0.113.7"), "198.51.100.9, 203.0.113.7", ("198.51.100.9", "https")),
        (("10.0.0.1",), "203.0.113.7", ("127.0.0.1", "http")),
        ((), "203.0.113.7", ("127.0.0.1", "http")),
    ],
)
def test_forwarded_addresses_are_accepted_from_trusted_proxies_only(
    trusted: tuple[str, ...], forwarded_for: str, seen: tuple[str, str]
) -> None:
    app = FastAPI()

    @app.get("/")
    def who(request: Request) -> list[str | None]:
        return [request.client.host if request.client else None, request.url.scheme]

    with serve_in_thread(app, "127.0.0.1", 0, trusted=trusted) as port:
        answer = httpx.get(
            f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": forwarded_for, "X-Forwarded-Proto": "https"}
        )
    assert tuple(answer.json()) == seen
