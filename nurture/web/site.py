"""The public web application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from nurture.clock import Clock
from nurture.errors import DatabaseUnusable, NotFound
from nurture.journey.house import House
from nurture.store import clocks

from . import access, handoffs, unsubscribing
from .access import Site, TheSite, admit
from .gate import Gate
from .look import Look

Page = Callable[..., Response]

_PAGE_OF: Final[Mapping[int, str]] = {400: "unreadable.html", 404: "not-found.html", 405: "not-allowed.html"}


def health(site: TheSite) -> JSONResponse:
    """Say whether the database answers."""
    try:
        clocks.open_mode(site.house.database)
    except DatabaseUnusable:
        return JSONResponse({"status": "closed", "database": "unusable"}, status_code=503)
    return JSONResponse({"status": "ok", "database": "ok"})


_ROUTES: Final[Sequence[tuple[str, Page, Page | None]]] = (
    (access.ACCEPT, handoffs.ask_accept, handoffs.accept),
    (access.REJECT, handoffs.ask_reject, handoffs.reject),
    (access.UNSUBSCRIBE, unsubscribing.ask, unsubscribing.unsubscribe),
    (access.HEALTH, health, None),
    (access.HEALTHZ, health, None),
)
"""What each path shows, and what a POST to it does."""


def create_app(house: House, clock: Clock) -> FastAPI:
    """Build the application; it opens the database only when somebody asks for something."""
    look = Look()
    app = FastAPI(
        title="nurture",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(admit)],
    )
    app.state.site = Site(house, clock, look)
    for path, look_at, act in _ROUTES:
        app.add_api_route(path, look_at, methods=["GET", "HEAD"])
        if act is not None:
            app.add_api_route(path, act, methods=["POST"])
    app.add_exception_handler(HTTPException, _refused)
    for missing in (NotFound, RequestValidationError):
        app.add_exception_handler(missing, _missing)
    app.add_exception_handler(DatabaseUnusable, _closed)
    app.add_middleware(Gate, look=look)
    return app


def _page(request: Request, name: str, status: int, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    site: Site = request.app.state.site
    return site.look.page(name, status=status, headers=headers)


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = error.headers if isinstance(error, HTTPException) else None
    return _page(request, _PAGE_OF.get(status, "not-found.html"), status, headers)


def _missing(request: Request, _error: Exception) -> Response:
    return _page(request, "not-found.html", 404)


def _closed(request: Request, _error: Exception) -> Response:
    return _page(request, "closed.html", 503, {"Retry-After": "60"})
