"""Serve the web application on one port, with a graceful shutdown."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from nurture.errors import Misconfigured
from nurture.runtime.stop_signals import stop_on_signal
from nurture.web.connections import HEADER_TIMEOUT, ConnectionSlots, TimeLimitedProtocol, connection_capacity

MAX_SOCKET_MESSAGE = 1_000_000  # bytes
SHUTDOWN_SECONDS = 4  # seconds that running requests may take to finish


def serve(
    app: FastAPI,
    host: str,
    port: int,
    *,
    trusted: Sequence[str] = (),
    on_listening: Callable[[int], None] | None = None,
    web_sockets: bool = False,
) -> None:
    """Serve *app* until SIGINT or SIGTERM, then finish running requests, release the port and return.

    *web_sockets*: *app* also serves web sockets, and has start-up and shutdown steps. X-Forwarded-For and -Proto are
    used only from *trusted* addresses and networks. *on_listening* gets the port as soon as connections are
    accepted. Call it in the main thread of a process.
    Raises Misconfigured if the port is taken.
    """
    running = run_in_thread(app, host, port, trusted, web_sockets=web_sockets)
    with stop_on_signal() as stop, running as (thread, bound_port):
        if on_listening is not None:
            on_listening(bound_port)
        while thread.is_alive() and not stop.wait(1):
            pass


@contextmanager
def run_in_thread(
    app: FastAPI,
    host: str,
    port: int,
    trusted: Sequence[str] = (),
    header_timeout: float = HEADER_TIMEOUT,
    max_connections: int = 0,
    *,
    web_sockets: bool = False,
) -> Iterator[tuple[threading.Thread, int]]:
    """Serve *app* in a thread while the block runs; yield the thread and the port (any free one for 0).

    *max_connections* limits open connections; 0 allows as many as the process can open.
    Raises Misconfigured if the port is taken.
    """
    with _listen(host, port) as listener:
        server = _build_server(app, trusted, header_timeout, max_connections, web_sockets=web_sockets)
        sockets = {"sockets": [listener]}
        thread = threading.Thread(target=server.run, kwargs=sockets, name="nurture-web", daemon=True)
        thread.start()
        try:
            yield thread, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(SHUTDOWN_SECONDS * 2)


def _build_server(
    app: FastAPI, trusted: Sequence[str], header_timeout: float, max_connections: int, *, web_sockets: bool
) -> uvicorn.Server:
    protocol = type(
        "Protocol",
        (TimeLimitedProtocol,),
        {"header_timeout": header_timeout, "slots": ConnectionSlots(max_connections or connection_capacity(), trusted)},
    )
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol,
            lifespan="on" if web_sockets else "off",
            ws="websockets-sansio" if web_sockets else "none",
            ws_max_size=MAX_SOCKET_MESSAGE,
            log_level="error",  # a warning per invalid request would let attackers fill the disk
            access_log=False,  # paths hold tokens
            proxy_headers=bool(trusted),
            forwarded_allow_ips=list(trusted),
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """Open the port; connections queue until the server accepts them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1_024)
    except OSError as error:
        raise Misconfigured(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. "
            "Change NURTURE_WEB_HOST or NURTURE_WEB_PORT (NURTURE_CONSOLE_... for the console), "
            "or stop the program that uses the port."
        ) from error
    with listener:
        yield listener
