"""What holds for every request, whatever answers it: limits, strict headers, no trace of a crash."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import ceil
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nurture.errors import traced
from nurture.web import auth, errors
from nurture.web.limits import Allowance, Body, Budget, Crowded, Rate, client_key
from nurture.web.templates import Look

HSTS_SECONDS: Final = 365 * 24 * 3600

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


class Gate:
    """Stands before the application: limits what comes in, and signs every answer.

    A body is read when the application asks for it: after it has looked at tokens, keys and signatures.
    *secure*: browsers are told to come by https only.
    """

    def __init__(
        self,
        app: ASGIApp,
        look: Look,
        *,
        allowances: Mapping[str, Allowance] = auth.ALLOWANCES,
        secure: bool = False,
    ) -> None:
        self._app = app
        self._look = look
        self._budgets = {name: Budget(allowance) for name, allowance in allowances.items()}
        self._rates = {
            name: Rate(allowance.per_second, allowance.burst)
            for name, allowance in allowances.items()
            if allowance.per_second
        }
        self._said = Rate(1 / 60, 1)
        self._headers = {
            **_HEADERS,
            **({"Strict-Transport-Security": f"max-age={HSTS_SECONDS}"} if secure else {}),
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
        except ClientDisconnect:
            _log.info("client_left")
        except Exception as error:  # noqa: BLE001 - whatever it was, its message stays out of the log
            # The route, not the path: that holds a token, which is a key.
            route = getattr(scope.get("route"), "path", "no route")
            _log.error("request_failed %s %s: %s", scope["method"], route, traced(error))
            if not begun:
                await self._broken(scope)(scope, receive, signed)

    def _broken(self, scope: Scope) -> Response:
        if scope["path"].startswith(auth.API):
            return errors.of_status(500).response()
        return self._look.page("broken.html", status=500)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = auth.policy_at(scope["path"]) or auth.Policy()
        client = client_key(scope["client"][0] if scope.get("client") else None)
        wait = self._wait(policy, client)
        if wait:
            await self._refuse(_refused(scope, 429, {"Retry-After": str(ceil(wait))}), scope, receive, send)
        elif scope["method"] != "POST":
            await self._app(scope, _nothing(receive), send)
        elif _announced(scope) > policy.most_bytes:
            await self._refuse(_refused(scope, 413, most=policy.most_bytes), scope, receive, send)
        else:
            budget = self._budgets[policy.group]
            with budget.body(client) as body:
                until = anyio.current_time() + budget.allowance.seconds
                limited = _limited(scope, receive, body, policy.most_bytes, until)
                await self._app(scope, limited, send)

    def _wait(self, policy: auth.Policy, client: str) -> float:
        rate = self._rates.get(policy.group)
        wait = rate.wait(client, anyio.current_time()) if rate is not None else 0
        if wait and not self._said.wait(policy.group, anyio.current_time()):
            _log.warning("too_many_requests", extra={"group": policy.group})
        return wait

    async def _refuse(
        self, why: HTTPException | errors.Problem, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if isinstance(why, errors.Problem):
            await why.response()(scope, receive, send)
        else:
            await self._look.refusal(why.status_code, why.headers)(scope, receive, send)


def _announced(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


def _nothing(receive: Receive) -> Receive:
    """Return a channel without a body: what other methods than POST bring along is not looked at."""
    brought = False

    async def empty() -> Message:
        nonlocal brought
        if not brought:
            brought = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    return empty


def _limited(scope: Scope, receive: Receive, body: Body, most: int, until: float) -> Receive:
    """Return a channel that brings *most* bytes at most, until the time is over and while there is room."""
    ended = False

    async def limited() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        try:
            with body.waiting(until):
                message = await receive()
            size = len(message.get("body", b""))
            if body.size + size > most:
                raise _refused(scope, 413, most=most)
            body.hold(size)
        except TimeoutError:
            raise _refused(scope, 408) from None
        except Crowded:
            raise _refused(scope, 503, {"Retry-After": "10"}) from None
        ended = not message.get("more_body", False)
        return message

    return limited


def _refused(
    scope: Scope, status: int, headers: dict[str, str] | None = None, *, most: int = 0
) -> HTTPException | errors.Problem:
    """Return the exception that ends a request which is not taken; *most* bytes would be."""
    if not scope["path"].startswith(auth.API):
        return HTTPException(status, headers={"Connection": "close"} if status == 413 else headers)
    match status:
        case 408:
            return errors.too_slow()
        case 413:
            return errors.too_large(most)
        case _:
            return errors.too_many(status, headers)
