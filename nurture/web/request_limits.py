"""Middleware for every request: limits, security headers, and error pages without details."""

import logging
from collections.abc import Mapping
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nurture.errors import format_error_chain
from nurture.web import errors, routes
from nurture.web.templates import Templates
from nurture.web.throttling import Allowance, Body, BodyBudget, OverBudget, RateLimiter, client_key

HSTS_SECONDS: Final = 365 * 24 * 3600

_log: Final = logging.getLogger(__name__)

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Referrer-Policy": "no-referrer",  # the URL holds the token: it must not leak to other sites
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class RequestLimits:
    """Limits requests and adds security headers to responses.

    A body is read only when the application asks for it, after it has checked tokens, keys and signatures.
    *secure* adds HSTS, which makes browsers use https only.
    """

    def __init__(
        self,
        app: ASGIApp,
        templates: Templates,
        *,
        allowances: Mapping[str, Allowance] = routes.ALLOWANCES,
        secure: bool = False,
    ) -> None:
        self._app = app
        self._templates = templates
        self._budgets = {name: BodyBudget(allowance) for name, allowance in allowances.items()}
        self._rates = {
            name: RateLimiter(allowance.per_second, allowance.burst)
            for name, allowance in allowances.items()
            if allowance.per_second
        }
        self._log_rate = RateLimiter(1 / 60, 1)
        self._headers = {
            **SECURITY_HEADERS,
            **({"Strict-Transport-Security": f"max-age={HSTS_SECONDS}"} if secure else {}),
            "Content-Security-Policy": (
                "default-src 'none'; base-uri 'none'; form-action 'self'; "
                f"frame-ancestors 'none'; style-src '{templates.style_hash}'"
            ),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal response_started
            if message["type"] == "http.response.start":
                response_started = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)  # the pixel sets a less strict policy
            await send(message)

        try:
            await self._limit_and_forward(scope, receive, send_with_headers)
        except ClientDisconnect:
            _log.info("client_disconnected")
        except Exception as error:  # noqa: BLE001 - no message may reach the log
            # Log the route, not the path, which holds a token.
            route = getattr(scope.get("route"), "path", "no route")
            _log.error("request_failed %s %s: %s", scope["method"], route, format_error_chain(error))
            if not response_started:
                shown = errors.error_for_status(500).response(scope["path"], self._templates)
                await shown(scope, receive, send_with_headers)

    async def _limit_and_forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = routes.route_policy(scope["path"]) or routes.RoutePolicy()
        client = client_key(scope["client"][0] if scope.get("client") else None)
        wait = self._retry_after(policy, client)
        is_too_large = scope["method"] == "POST" and _declared_length(scope) > policy.max_bytes
        if wait or is_too_large:
            error = errors.too_many(429, wait) if wait else errors.too_large(policy.max_bytes)
            await error.response(scope["path"], self._templates)(scope, receive, send)
        elif scope["method"] != "POST":
            await self._app(scope, _without_body(receive), send)
        else:
            budget = self._budgets[policy.group]
            with budget.body(client) as body:
                deadline = anyio.current_time() + budget.allowance.body_timeout
                limited = _limit_body(receive, body, policy.max_bytes, deadline)
                await self._app(scope, limited, send)

    def _retry_after(self, policy: routes.RoutePolicy, client: str) -> float:
        rate = self._rates.get(policy.group)
        wait = rate.seconds_until_allowed(client, anyio.current_time()) if rate is not None else 0
        if wait and not self._log_rate.seconds_until_allowed(policy.group, anyio.current_time()):
            _log.warning("too_many_requests", extra={"group": policy.group})
        return wait


def _declared_length(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


def _without_body(receive: Receive) -> Receive:
    """Return a receive channel without a body: bodies of methods other than POST are ignored."""
    sent = False

    async def empty() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    return empty


def _limit_body(receive: Receive, body: Body, max_bytes: int, deadline: float) -> Receive:
    """Return a receive channel limited to *max_bytes*, to *deadline* and to the budget of *body*."""
    ended = False

    async def limited() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        try:
            with body.wait_for_data(deadline):
                message = await receive()
            size = len(message.get("body", b""))
            if body.size + size > max_bytes:
                raise errors.too_large(max_bytes)
            body.reserve(size)
        except TimeoutError:
            raise errors.error_for_status(408) from None
        except OverBudget:
            raise errors.too_many(503, 10) from None
        ended = not message.get("more_body", False)
        return message

    return limited
