"""Build the console: sign-in pages, and the pages in NiceGUI, which is loaded when the first user opens one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from nurture.clock import Clock
from nurture.console import exports
from nurture.console.access import oidc_sign_in, sign_in
from nurture.console.access.guard import SessionGuard
from nurture.console.access.oidc import OidcProvider
from nurture.console.actions import MoveClock
from nurture.console.importing import file_routes, uploads
from nurture.console.reports import table_routes
from nurture.console.site import Site
from nurture.errors import DatabaseUnavailable, format_error_chain
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from nurture.web.templates import Templates

_CLEANING_SECONDS: Final = 3_600
_log: Final = logging.getLogger(__name__)


class DeferredPages:
    """The pages, built when the first request comes: NiceGUI takes 80 MB, which a console that nobody opens saves."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = asyncio.Lock()
        self._app: ASGIApp | None = None
        self._opened = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one web socket."""
        async with self._lock:
            if self._app is None:
                self._app = await self._open()
        await self._app(scope, receive, send)

    async def _open(self) -> ASGIApp:
        def build() -> FastAPI:
            from nurture.console.nicegui_app import build_pages  # noqa: PLC0415 - see the class

            return build_pages(self._site)

        app = await self._site.in_thread(build)
        await self._opened.enter_async_context(app.router.lifespan_context(app))
        return app

    async def close(self) -> None:
        """Stop what the pages started."""
        await self._opened.aclose()


def create_console(
    ctx: AppContext,
    clock: Clock,
    *,
    url: str = "",
    move_clock: MoveClock | None = None,
    oidc: OidcProvider | None = None,
    settings: Settings | None = None,
) -> FastAPI:
    """Return the console. *url* is its public address, "" if browsers reach it directly.

    *move_clock* is given for a practice world alone; *oidc* is whom users may sign in with besides a password, and
    *settings* are what a page shows to admins.
    """
    site = Site(ctx, clock, Templates(clock), url, move_clock, settings)
    pages = DeferredPages(site)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        cleaning = asyncio.create_task(_remove_expired_uploads(site))
        yield
        cleaning.cancel()
        await pages.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    app.state.site = site
    app.state.sign_ins = sign_in.SignIns(oidc)
    app.state.receiving = file_routes.Receiving()
    app.include_router(sign_in.router)
    app.include_router(oidc_sign_in.router)
    app.include_router(exports.router)
    app.include_router(file_routes.router)
    app.include_router(table_routes.router)
    app.mount("/", pages)
    for error_type in (HTTPException, DatabaseUnavailable, Exception):
        app.add_exception_handler(error_type, _error_response)
    app.add_middleware(SessionGuard, site=site)
    return app


async def _remove_expired_uploads(site: Site) -> None:
    while True:
        try:
            await site.in_thread(lambda: uploads.remove_expired(site.ctx.spool, site.real_now()))
        except OSError as error:
            _log.warning("uploads_not_removed: %s", format_error_chain(error))
        await asyncio.sleep(_CLEANING_SECONDS)


def _error_response(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 503
    if not isinstance(error, HTTPException | DatabaseUnavailable):
        status = 500
        _log.error("request_failed %s: %s", request.method, format_error_chain(error))
    site: Site = request.app.state.site
    return site.templates.error_page(status)
