"""What holds for every request, whatever answers it: small bodies, strict headers, no trace of a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nurture.errors import traced

from . import access, problems
from .look import Look

MOST_HELD: Final = 64 * 1024 * 1024
"""Bytes of all bodies that are being read or answered at one time."""

MOST_SECONDS: Final = 15.0
"""How long a body may take to come in."""

_log: Final = logging.getLogger(__name__)

_HEADERS: Final[Mapping[str, str]] = {
    "Referrer-Policy": "no-referrer",  # the address is the key: it must not travel to other sites
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class _TooLarge(Exception):
    pass


class _TooMany(Exception):
    """All bodies together are too large."""


class Gate:
    """Stands before the application: reads the whole body, or none of it, and signs every answer."""

    def __init__(self, app: ASGIApp, look: Look) -> None:
        self._app = app
        self._look = look
        self._held = 0
        self._headers = {
            **_HEADERS,
            "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'self'; "
            f"frame-ancestors 'none'; style-src '{look.style_hash}'",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def signed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)  # a picture may be less strict about who shows it
            await send(message)

        try:
            await self._answer(scope, receive, signed)
        except Exception as error:  # noqa: BLE001 - whatever it was, its message stays out of the log
            # The route, not the path: that holds a token, which is a key.
            route = getattr(scope.get("route"), "path", "no route")
            _log.error("request_failed %s %s: %s", scope["method"], route, traced(error))
            if not begun:
                await self._broken(scope)(scope, receive, signed)

    def _page(self, name: str, status: int) -> Response:
        return self._look.page(name, status=status, headers={"Connection": "close"})

    def _broken(self, scope: Scope) -> Response:
        if scope["path"].startswith(access.API):
            return problems.of_status(500).response()
        return self._look.page("broken.html", status=500)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = access.policy_at(scope["path"]) or access.Policy()
        if isinstance(policy, access.Program):
            if _announced(scope) > policy.most_bytes:
                await problems.too_large(policy.most_bytes).response()(scope, receive, send)
            else:
                await self._app(scope, _bounded(receive, policy.most_bytes), send)
            return
        if policy.streamed and scope["method"] == "POST":
            if _announced(scope) > policy.most_bytes:
                await self._page("too-large.html", 413)(scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._held += size
            if self._held > MOST_HELD:
                raise _TooMany

        try:
            body, refusal = await self._read(scope, receive, policy.most_bytes, hold)
            await (refusal or self._app)(scope, _replay(body, receive), send)
        finally:
            self._held -= held

    async def _read(
        self, scope: Scope, receive: Receive, most: int, hold: Callable[[int], None]
    ) -> tuple[bytes, Response | None]:
        """Return the body, or why it is not taken."""
        try:
            with anyio.fail_after(MOST_SECONDS):
                return await _body(scope, receive, most, hold), None
        except _TooLarge:
            if scope["path"].startswith(access.API):
                return b"", problems.too_large(most).response()
            return b"", self._page("too-large.html", 413)
        except _TooMany:
            refusal = self._page("closed.html", 503)
            refusal.headers["Retry-After"] = "10"
            return b"", refusal
        except TimeoutError:
            return b"", self._page("too-slow.html", 408)


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


def _bounded(receive: Receive, most: int) -> Receive:
    """Return a channel that brings *most* bytes at most, in time; whoever reads it gets a Problem else."""
    left = most
    until = anyio.current_time() + MOST_SECONDS

    async def bounded() -> Message:
        nonlocal left
        if left == _ENDED:
            return await receive()
        try:
            with anyio.fail_after(max(until - anyio.current_time(), 0)):
                message = await receive()
        except TimeoutError:
            raise problems.too_slow() from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise problems.too_large(most)
        if not message.get("more_body", False):
            left = _ENDED
        return message

    return bounded


_ENDED: Final = -1


async def _body(scope: Scope, receive: Receive, most: int, hold: Callable[[int], None]) -> bytes:
    """Return the body of a POST; what other methods bring along is not looked at."""
    if scope["method"] != "POST":
        return b""
    if _announced(scope) > most:
        raise _TooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part = message.get("body", b"")
        hold(len(part))
        body += part
        if len(body) > most:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that brings *body* once, and then what the real one brings."""
    brought = False

    async def replayed() -> Message:
        nonlocal brought
        if not brought:
            brought = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed
