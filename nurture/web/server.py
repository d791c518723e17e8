"""The server of the web application, on one port, with a clean stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from nurture.errors import Misconfigured

PATIENCE = 4  # seconds that running requests get to end
HEAD_SECONDS = 15.0
"""How long the head of a request may take to come in."""


def serve(
    app: FastAPI,
    host: str,
    port: int,
    *,
    trusted: Sequence[str] = (),
    told: Callable[[int], None] | None = None,
) -> None:
    """Serve *app* until SIGINT or SIGTERM, then end running requests, give the port back and return.

    What a request's X-Forwarded-For and -Proto say is believed only from *trusted* addresses and networks.
    *told* hears the port as soon as connections are taken. Call it in the main thread of a process. Raises
    Misconfigured if the port is taken.
    """
    with _running(app, host, port, trusted) as running:
        if told is not None:
            told(running.port)

        def stop(_number: int, _frame: object) -> None:
            running.server.should_exit = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while running.thread.is_alive():
                running.thread.join(1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def serving(
    app: FastAPI,
    host: str,
    port: int,
    *,
    trusted: Sequence[str] = (),
    head_seconds: float = HEAD_SECONDS,
) -> Iterator[int]:
    """Serve *app* in a thread for as long as the block runs; yield the port (of its own choice for 0).

    Raises Misconfigured if the port is taken.
    """
    with _running(app, host, port, trusted, head_seconds) as running:
        yield running.port


class _Running(NamedTuple):
    server: uvicorn.Server
    thread: threading.Thread
    port: int


@contextmanager
def _running(
    app: FastAPI, host: str, port: int, trusted: Sequence[str], head_seconds: float = HEAD_SECONDS
) -> Iterator[_Running]:
    with _listening(host, port) as listener:
        server = _server(app, trusted, head_seconds)
        sockets = {"sockets": [listener]}
        thread = threading.Thread(target=server.run, kwargs=sockets, name="nurture-web", daemon=True)
        thread.start()
        try:
            yield _Running(server, thread, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(PATIENCE * 2)


class _Punctual(H11Protocol):
    """Hangs up on who does not bring the head of a request in time. The gate has a time for the body."""

    head_seconds = HEAD_SECONDS
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def _look(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _server(app: FastAPI, trusted: Sequence[str], head_seconds: float) -> uvicorn.Server:
    protocol = type("Protocol", (_Punctual,), {"head_seconds": head_seconds})
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol,
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,  # paths hold tokens
            proxy_headers=bool(trusted),
            forwarded_allow_ips=list(trusted),
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=PATIENCE,
        )
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port; connections wait from now on until the server takes them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise Misconfigured(
            f"Nothing can listen on {host}, port {port}: {error.strerror or error}. "
            "Choose others with NURTURE_WEB_HOST and NURTURE_WEB_PORT, or stop what uses them."
        ) from error
    with listener:
        yield listener
