"""Run Prefect's server for `nurture up`, locked by a secret."""

import hmac
import subprocess
import sys
from base64 import b64encode
from typing import Final

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_PUBLIC_PATHS: Final = frozenset({"/api/health", "/api/ready"})


class RequireSecret:
    """Middleware that requires the secret before any other check.

    Prefect checks it too, but after its CSRF check, whose error response allows every origin to read it.
    """

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._expected = b"Basic " + b64encode(secret.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request or respond 401. A web socket is forwarded: Prefect checks its first message."""
        if scope["type"] == "http" and not self._is_allowed(scope):
            await JSONResponse({"exception_message": "Unauthorized"}, 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if not path.startswith("/api/") or path in _PUBLIC_PATHS or scope["method"] == "OPTIONS":
            return True
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        return hmac.compare_digest(given, self._expected)


def serve() -> None:
    """Run the server with the address and secret of Prefect's settings."""
    settings = get_current_settings()
    api = settings.server.api
    if api.auth_string is None:
        raise SystemExit("Prefect's server is not started without a secret.")
    if not (settings.home / "prefect.db").exists():
        # In a process of its own, as the memory of the first migration, 30 MB, is not given back before its end.
        subprocess.run([sys.executable, "-m", "flows.children", "prefect-tables"], check=True)
    uvicorn.run(
        RequireSecret(create_app(final=True), api.auth_string.get_secret_value()),
        host=api.host,
        port=api.port,
        timeout_keep_alive=api.keepalive_timeout,
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
        log_level="warning",
    )
