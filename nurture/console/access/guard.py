"""Middleware in front of every page and socket of the console: sign-in, origin, and headers."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nurture.console.access.oidc import CALLBACK_PATH
from nurture.console.access.sessions import User
from nurture.console.site import Site
from nurture.web.request_limits import HSTS_SECONDS, SECURITY_HEADERS

USER: Final = "nurture.user"
"""The key of the signed-in user in the scope of a request."""

PUBLIC_PATHS: Final = ("/sign-in", "/sign-in/oidc", CALLBACK_PATH, "/health")
INVITATION_PATH: Final = "/invitation/"
_STATIC_PATH: Final = "/_nicegui/"
_PONG: Final = "3"
"""What a browser answers to the ping of Engine.IO, every few seconds and without a person."""

_PONG_CHECK_SECONDS: Final = 15.0
"""After a pong the session is read again if it was not for so long; after anything else always."""

_POLICY_VIOLATION: Final = 1008  # the WebSocket close code for "your session does not allow this"

# Vue compiles the templates of components in the browser, and NiceGUI's page starts with an inline script.
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class SessionGuard:
    """Lets only signed-in users through, and only requests that pages of ours sent.

    A web socket must name our origin. The session is read again for each message that arrives on it, so that a
    session which was ended does nothing more; the socket is closed then.
    """

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site
        form_policy = (
            "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
            f"style-src '{site.templates.style_hash}'"
        )
        headers = {**SECURITY_HEADERS, "Referrer-Policy": "same-origin"}  # a form without an origin is refused
        self._page_headers = {**headers, "Content-Security-Policy": _PAGE_POLICY}
        self._form_headers = {**headers, "Content-Security-Policy": form_policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or one web socket until it closes."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope.pop(USER, None)
        headers = Headers(scope=scope)
        is_public = scope["path"] in PUBLIC_PATHS or scope["path"].startswith(INVITATION_PATH)
        own_headers = self._form_headers if is_public else self._page_headers
        sent = _with_headers(send, self._headers(own_headers, scope))
        if not self._comes_from_us(scope, headers):
            await _refuse(scope, receive, sent, PlainTextResponse("This request comes from another site.", 403))
            return
        token = _read_cookie(headers, self._site.cookie_name(scope["scheme"]))
        user = await self._site.authenticate(token) if token else None
        scope[USER] = user
        if user is None and not is_public:
            await _refuse(scope, receive, sent, _to_sign_in(scope))
            return
        if scope["type"] == "websocket":
            await self._app(scope, self._recheck(receive, token, user), send)
        else:
            await self._app(scope, receive, sent)

    def _comes_from_us(self, scope: Scope, headers: Headers) -> bool:
        """Return whether a socket or a change names our origin; who only reads a page may come from anywhere."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return True
        return self._site.is_own_origin(headers.get("origin", ""), scope["scheme"], headers.get("host", ""))

    def _headers(self, headers: Mapping[str, str], scope: Scope) -> dict[str, str]:
        secure = self._site.is_secure(scope["scheme"])
        found = {**headers, **({"Strict-Transport-Security": f"max-age={HSTS_SECONDS}"} if secure else {})}
        if scope["path"].startswith(_STATIC_PATH):
            del found["Cache-Control"]  # the files of the library, which have its version in their path
        return found

    def _recheck(self, receive: Receive, token: str, user: User | None) -> Receive:
        """Return *receive*, which reads the session again and closes the socket once it has ended or changed."""
        checked_at = anyio.current_time()

        async def checked() -> Message:
            nonlocal checked_at
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            is_pong = message.get("text") == _PONG
            if is_pong and anyio.current_time() - checked_at < _PONG_CHECK_SECONDS:
                return message
            checked_at = anyio.current_time()
            if await self._site.authenticate(token) != user:
                return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION, "reason": "signed out"}
            return message

        return checked


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = MutableHeaders(scope=message)
            for name, value in headers.items():
                own[name] = value
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
    else:
        await response(scope, receive, send)


def _to_sign_in(scope: Scope) -> Response:
    if scope.get("method") not in ("GET", "HEAD") or scope["path"].startswith("/_nicegui"):
        return PlainTextResponse("Sign in first.", 401)
    query = scope["query_string"].decode("latin-1")
    target = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse("/sign-in" if target == "/" else f"/sign-in?next={quote(target)}", 303)


def _read_cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""
