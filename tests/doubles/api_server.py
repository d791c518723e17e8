"""Base of the doubles of JSON APIs: a loopback server with scripted faults and a log of effects."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import orjson

FaultKind = Literal["pass", "status", "hang", "reset", "kill", "expire"]
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of the next write, before its effect or *after* it. *pid* is the process to kill."""

    what: FaultKind
    after: bool = False
    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    pid: int | None = None


class Effect(NamedTuple):
    """The effect of a write: record, key and state of the hand-off."""

    what: str
    id: str
    key: str
    handoff_key: str
    handoff_status: str


class Answer(NamedTuple):
    """A response."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Call(NamedTuple):
    """One request. A *body* that is neither JSON nor a form stays bytes."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


class ApiDouble:
    """An API on loopback: `with SalesforceDouble() as double:`; its API is at `double.url`.

    *effects* lists the effects of writes in order, whether or not the caller got a response. *lock* guards all state.
    *instead* is what a proxy before it answers to every request.
    """

    instead: Answer | None = None

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.effects: list[Effect] = []
        self.calls: list[tuple[str, str]] = []
        self._faults: deque[Fault] = deque()

    def __enter__(self) -> Self:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                double._serve(self)

            do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - names required by http.server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add_fault(self, *faults: Fault) -> None:
        """Replace the faults; each write takes the next one."""
        with self.lock:
            self._faults = deque(faults)

    def answer(self, call: Call) -> Answer:
        """Handle *call*. Subclasses implement the API."""
        raise NotImplementedError

    def expire(self) -> None:
        """Refuse the issued token from now on."""
        raise NotImplementedError

    def writes(self, call: Call) -> bool:
        """Return whether *call* is a write."""
        raise NotImplementedError

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        call = _call(handler)
        with self.lock:
            self.calls.append((call.method, call.path))
            if self.instead is not None:
                self._send(handler, self.instead)
                return
            fault = self._faults.popleft() if self._faults and self.writes(call) else None
            if fault is not None and fault.what == "expire":
                self.expire()
                fault = None
            if fault is None or fault.what == "pass":
                self._send(handler, self.answer(call))
                return
            if fault.after:
                self.answer(call)
        self._play(handler, fault)

    def _play(self, handler: BaseHTTPRequestHandler, fault: Fault) -> None:
        handler.close_connection = True
        match fault.what:
            case "status":
                headers = (*fault.headers, ("Connection", "close"))
                self._send(handler, Answer(fault.status, fault.body, headers))
                return
            case "hang":  # until the client gives up
                with suppress(OSError):
                    handler.connection.recv(1)
                return
            case "kill":
                assert fault.pid is not None
                os.kill(fault.pid, signal.SIGKILL)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        html = isinstance(answer.body, str)
        body = answer.body.encode() if html else b"" if answer.body is None else orjson.dumps(answer.body)
        try:
            handler.send_response(answer.status)
            for name, value in answer.headers:
                handler.send_header(name, value)
            handler.send_header("Content-Type", "text/html" if html else "application/json;charset=UTF-8")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:  # the client was killed
            handler.close_connection = True


def _call(handler: BaseHTTPRequestHandler) -> Call:
    size = int(handler.headers.get("Content-Length") or 0)
    raw = handler.rfile.read(size)
    parts = urlsplit(handler.path)
    form = "x-www-form-urlencoded" in handler.headers.get("Content-Type", "")
    body: Any = dict(parse_qsl(raw.decode())) if form else _json_or_bytes(raw)
    query = {name: ",".join(values) for name, values in parse_qs(parts.query).items()}
    headers = {name.lower(): value for name, value in handler.headers.items()}
    return Call(handler.command, unquote(parts.path), query, body, headers)


def _json_or_bytes(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return raw
