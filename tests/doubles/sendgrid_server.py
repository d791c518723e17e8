"""The server behind SendGridDouble: `python -m tests.doubles.sendgrid_server --log FILE`.

It prints its port on standard output, and ends when its standard input is closed, so that it never outlives a test.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import secrets
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tests.doubles.sendgrid import REF, Account, Fault, count_lines
from tests.doubles.sendgrid_faults import FaultQueue, Limit, limit_headers
from tests.doubles.sendgrid_fields import FieldError
from tests.doubles.sendgrid_rules import MAX_BYTES, custom_args, find_errors, is_sandboxed

_REASONS: Final = {
    413: "Request Entity Too Large",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}
_ERROR_TEXTS: Final = {
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    404: "not found",
    405: "method not allowed",
    429: "too many requests",
    500: "internal server error",
}
_LISTS: Final = ("/v3/suppression/", "/v3/asm/")
_NGINX: Final = {"Server": "nginx"}
_RESET: Final = struct.pack("ii", 1, 0)
_GARBAGE: Final = b"\x16\x03\x01 220 smtp.example ESMTP\r\n\xff\xfe\x00 not what you asked for\r\n\r\n"


class Log:
    """The append-only log. Each event is written, in one write, before the response is sent."""

    def __init__(self, path: Path) -> None:
        self._seq = count_lines(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, kind: str, *events: dict[str, Any], read: float | None) -> None:
        """Append one line of *kind* for each of *events*; *read* is when the request's body was complete."""
        now = time.time()  # noqa: TID251 - a separate server has real time
        lines = []
        for event in events:
            self._seq += 1
            line = {"kind": kind, "seq": self._seq, "time": now, "read": read, **event}
            lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        content = b"".join(lines)
        if os.write(self._file, content) != len(content):
            os._exit(3)  # an incomplete log would make tests pass wrongly


class EmptyResponse:
    """A minimal response without a body, cheaper than a Response."""

    def __init__(self, status_line: str, headers: dict[str, str]) -> None:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        self._raw = f"HTTP/1.1 {status_line}\r\n{lines}Content-Length: 0\r\n\r\n".encode("ascii")
        self.keep_alive: bool | None = None

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is None:
            raise ConnectionResetError
        self.keep_alive = request.keep_alive
        request.transport.write(self._raw)

    async def write_eof(self) -> None:
        pass


Answer = web.StreamResponse | EmptyResponse


@dataclass(slots=True)
class Call:
    """A request in progress."""

    request: web.BaseRequest
    limits: dict[str, str] = field(default_factory=dict)
    payload: Any = None
    refs: list[str] = field(default_factory=list)
    read: float | None = None
    message_id: str = ""


class Api:
    """Mail Send and the control API."""

    def __init__(self, log: Log, *, bodies: bool) -> None:
        self._log = log
        self._bodies = bodies
        self._requests = self._in_flight = self._peak_concurrency = self._controls = 0
        self.connections = 0
        self._set_up(Account())
        self._script = FaultQueue()
        self._lists: dict[str, list[Any]] = {}

    def _set_up(self, account: Account) -> None:
        self._account, self._limit = account, Limit(account)

    async def answer(self, request: web.BaseRequest) -> Any:
        """Handle one request."""
        if request.path == "/_control":
            return await self._control(request)
        if request.method == "GET" and request.path.startswith(_LISTS):
            return self._list(request)
        self._requests += 1
        self._in_flight += 1
        self._peak_concurrency = max(self._peak_concurrency, self._in_flight)
        try:
            return await self._mail_send(Call(request))
        finally:
            self._in_flight -= 1

    async def _control(self, request: web.BaseRequest) -> web.Response:
        self._controls += 1
        command = orjson.loads(await request.read() or b"{}")
        if "faults" in command:
            self._script = FaultQueue([Fault(**one) for one in command["faults"]])
        if "account" in command:
            self._set_up(Account(**command["account"]))
        self._lists |= command.get("lists", {})
        seen = {
            "requests": self._requests,
            "connections": self.connections - self._controls,
            "peak_concurrency": self._peak_concurrency,
            "faults_waiting": self._script.waiting,
        }
        return web.Response(body=orjson.dumps(seen), content_type="application/json")

    def _list(self, request: web.BaseRequest) -> web.Response:
        """Return a page of the suppression list at the request's path."""
        if request.headers.get("Authorization") != f"Bearer {self._account.key}":
            return self._reject(Call(request), self._account.denied_status)
        if not self._account.can_read_suppressions:
            return self._reject(Call(request), 403)
        begin, most = int(request.query.get("offset", 0)), int(request.query.get("limit", 500))
        page = self._lists.get(request.path, [])[begin : begin + most]
        return web.Response(body=orjson.dumps(page), content_type="application/json")

    async def _mail_send(self, call: Call) -> Answer:
        refused = self._check_before_body(call)
        if refused is not None:
            return refused
        fault = self._script.on_arrival()
        if fault is not None and fault.what == "reset_mid_body":
            return await self._play(call, fault)
        try:
            body = await call.request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._reject(call, 413, "content too large")
        call.read = time.monotonic()
        unreadable = self._parse(call, body)
        fault = fault or self._script.on_refs(call.refs)
        if fault is not None and fault.what != "pass" and not fault.after:
            return await self._play(call, fault)
        refused = unreadable or self._validate(call)
        if refused is not None:
            return await self._fault_after(refused)
        accepted = self._accept(call)
        if fault is not None and fault.after:
            return await self._play(call, fault)
        return await self._fault_after(accepted)

    async def _fault_after(self, response: Answer) -> Answer:
        if self._account.latency_ms:
            await asyncio.sleep(self._account.latency_ms / 1000)
        return response

    def _check_before_body(self, call: Call) -> web.Response | None:
        """Check what is known before the body: route, key, rate limit, type, size."""
        headers = call.request.headers
        if call.request.path != "/v3/mail/send":
            return self._reject(call, 404)
        if call.request.method != "POST":
            return self._reject(call, 405)
        if headers.get("Authorization") != f"Bearer {self._account.key}":
            return self._reject(call, self._account.denied_status)
        within, call.limits = self._limit.take()
        if not within:
            return self._reject(call, 429)
        kind, _, parameters = headers.get("Content-Type", "").lower().partition(";")
        if kind.strip() != "application/json" or parameters.strip() not in ("", "charset=utf-8"):
            return self._reject(call, 415, "Content-Type should be application/json.")
        if "Content-Encoding" in headers:
            return self._reject(call, 415, "This account may not compress its requests.")
        if (call.request.content_length or 0) >= MAX_BYTES:
            return self._reject(call, 413, "content too large")
        return None

    def _parse(self, call: Call, body: bytes) -> web.Response | None:
        try:
            call.payload = orjson.loads(body)
        except orjson.JSONDecodeError:
            try:
                body.decode("utf-8")
            except UnicodeDecodeError:
                return self._reject(call, 415, "The content must be UTF-8 encoded.")
            return self._reject(call, 400, "Bad Request")
        call.refs = _refs(call.payload)
        return None

    def _validate(self, call: Call) -> web.Response | None:
        now = time.time()  # noqa: TID251 - a separate server has real time
        wrong = find_errors(call.payload, now, self._account.ip_pools)
        if wrong:
            return self._reject(call, 400, *wrong)
        if self._account.senders is not None:
            sender = call.payload["from"]["email"]
            if not {sender, sender.partition("@")[2]} & set(self._account.senders):
                message = "The from address does not match a verified Sender Identity."
                return self._reject(call, 403, FieldError("from", message))
        return None

    def _reject(self, call: Call, status: int, *given: FieldError | str) -> web.Response:
        errors = [one if isinstance(one, FieldError) else FieldError(None, one) for one in given]
        errors = errors or [FieldError(None, _ERROR_TEXTS[status])]
        described = [(one.field, one.message) for one in errors]
        self._log.write("refused", {"status": status, "refs": call.refs, "errors": described}, read=call.read)
        return _failure(status, errors, call.limits)

    def _accept(self, call: Call) -> EmptyResponse:
        call.message_id = secrets.token_urlsafe(16)
        sandboxed = is_sandboxed(call.payload)
        events = [
            {"ref": custom_args(call.payload, one).get(REF), "to": one["to"][0]["email"], "id": call.message_id}
            for one in call.payload["personalizations"]
        ]
        if self._bodies:
            for event, one in zip(events, call.payload["personalizations"], strict=True):
                event["body"] = {**call.payload, "personalizations": [one]}
        self._log.write("checked" if sandboxed else "accepted", *events, read=call.read)
        headers = {**_NGINX, "X-Message-Id": call.message_id, **call.limits}
        return EmptyResponse("200 OK" if sandboxed else "202 Accepted", headers)

    async def _play(self, call: Call, fault: Fault) -> Answer:
        self._log.write(
            "fault",
            {"what": fault.what, "after": fault.after, "status": fault.status, "refs": call.refs},
            read=call.read,
        )
        match fault.what:
            case "status":
                return await self._fault_after(_failure(fault.status, (), call.limits))
            case "too_large":
                return await self._fault_after(_failure(413, (), call.limits))
            case "too_many":
                resets = math.ceil(time.time() + fault.pause)  # noqa: TID251 - a server of its own
                limits = limit_headers(self._account.limit or 600, 0, resets)
                return await self._fault_after(_failure(429, (), limits))
            case "kill":
                _kill(fault.pid)
            case "hang":
                await asyncio.sleep(fault.pause)
            case "drip_body" | "drip_headers":
                await self._drip(call, fault)
            case "garbage":
                _write(call, _GARBAGE)
        return _close_connection(call, gently=fault.what in ("close", "garbage", "drip_body", "drip_headers"))

    async def _drip(self, call: Call, fault: Fault) -> None:
        failed = fault.status >= 300
        body = _failure(fault.status, (), {}).body if failed else b" " * 64
        assert isinstance(body, bytes)
        head = f"HTTP/1.1 {fault.status} Dripping\r\nServer: nginx\r\nContent-Length: {len(body)}\r\n"
        head += f"X-Message-Id: {call.message_id}\r\n\r\n" if call.message_id else "\r\n"
        prompt, slow = (head.encode(), body) if fault.what == "drip_body" else (b"", head.encode() + body)
        _write(call, prompt)
        for byte in slow:
            await asyncio.sleep(fault.pause)
            _write(call, bytes((byte,)))


def _refs(payload: Any) -> list[str]:
    """Return the refs in *payload*, as far as its structure allows."""
    try:
        named = (custom_args(payload, one).get(REF) for one in payload["personalizations"])
        return [ref for ref in named if isinstance(ref, str)]
    except (TypeError, KeyError, AttributeError):
        return []


def _failure(status: int, errors: Sequence[FieldError], limits: dict[str, str]) -> web.Response:
    if status in _REASONS:  # these come from a proxy, which does not return JSON
        title = f"{status} {_REASONS[status]}"
        page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        page += f"<center><h1>{title}</h1></center>\r\n"
        page += "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        return web.Response(status=status, text=page, content_type="text/html", headers={**_NGINX, **limits})
    error_list = [one.to_json() for one in errors or (FieldError(None, _ERROR_TEXTS.get(status, "error")),)]
    body = orjson.dumps({"errors": error_list})
    headers = {**_NGINX, **limits}
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _write(call: Call, raw: bytes) -> None:
    if raw and call.request.transport is not None:
        call.request.transport.write(raw)


def _close_connection(call: Call, *, gently: bool) -> web.Response:
    """Close the connection; the returned response is not sent."""
    transport = call.request.transport
    if transport is not None and gently:
        transport.close()
    elif transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    return web.Response(status=500)


def _kill(pid: int | None) -> None:
    assert pid is not None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Server(web.Server):
    """Counts connections, and accepts requests up to the size limit."""

    def __init__(self, api: Api) -> None:
        super().__init__(
            api.answer,
            request_factory=self._sized,
            handler_cancellation=True,  # stop a fault when the client disconnects
            access_log=None,
            auto_decompress=False,
            tcp_keepalive=False,
        )
        self._api = api

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        self._api.connections += 1
        super().connection_made(handler, transport)

    def _sized(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=MAX_BYTES)


async def serve(options: argparse.Namespace) -> None:
    """Serve until standard input is closed."""
    api = Api(Log(options.log), bodies=options.bodies)
    secure = None
    if options.certificate is not None:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(options.certificate, options.private_key)
    runner = web.ServerRunner(Server(api))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port, ssl_context=secure, backlog=1024).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _exit_with_parent)
    await asyncio.Event().wait()


def _exit_with_parent() -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        os._exit(0)  # do not wait for requests that hang on purpose


def main() -> None:
    parser = argparse.ArgumentParser(description="A double of SendGrid, on loopback.")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--private-key", type=Path)
    parser.add_argument("--bodies", action="store_true")
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
