"""The public web application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from nurture.clock import Clock
from nurture.errors import DatabaseUnusable, NotFound
from nurture.journey.guestbook import Guestbook
from nurture.journey.house import House
from nurture.mail.sendgrid_signature import Keyring
from nurture.store import clocks

from . import (
    access,
    api,
    asking,
    clicks,
    desk,
    handoffs,
    inbound,
    preferring,
    problems,
    unsubscribing,
    webhooks,
)
from .access import Site, TheSite, admit
from .applying import Applying
from .ceilings import Ceilings
from .gate import Gate
from .limits import Allowance, Rate
from .look import Look
from .problems import Problem
from .taking import Taking

Page = Callable[..., Response | Awaitable[Response]]


def health(site: TheSite) -> JSONResponse:
    """Say whether the database answers."""
    try:
        clocks.open_mode(site.house.database)
    except DatabaseUnusable:
        return JSONResponse({"status": "closed", "database": "unusable"}, status_code=503)
    return JSONResponse({"status": "ok", "database": "ok"})


_ROUTES: Final[Sequence[tuple[str, Page | None, Page | None]]] = (
    (access.ACCEPT, handoffs.ask, handoffs.act),
    (access.REJECT, handoffs.ask, handoffs.act),
    (access.REASSIGN, handoffs.ask, handoffs.act),
    (access.LATER, handoffs.ask, handoffs.act),
    (access.DESK, desk.show, desk.act),
    (access.DESK_OFFER, desk.show_offer, desk.answer_offer),
    (access.UNSUBSCRIBE, unsubscribing.ask, unsubscribing.unsubscribe),
    (access.CLICK, clicks.follow, None),
    (access.OPEN, clicks.pixel, None),
    (access.EVENTS, None, webhooks.sendgrid_events),
    (access.PREFERENCES, preferring.ask, preferring.choose),
    (access.ASK, asking.ask, asking.answer),
    (access.INBOUND, None, inbound.sendgrid_inbound),
    (access.HEALTH, health, None),
    (access.HEALTHZ, health, None),
)
"""What each path shows, and what a POST to it does."""

_API_ROUTES: Final[Sequence[tuple[str, str, Callable[..., Any]]]] = (
    ("POST", access.SIGNALS, api.post_signals),
    ("POST", access.LEADS, api.post_leads),
    ("POST", access.OUTCOMES, api.post_outcomes),
    ("GET", access.OPENAPI, api.show_document),
    ("GET", access.DOCS, api.show_docs),
)


def create_app(
    house: House,
    clock: Clock,
    *,
    event_keys: Sequence[str] = (),
    inbound_keys: Sequence[str] = (),
    allowances: Mapping[str, Allowance] = access.ALLOWANCES,
    ceilings: Ceilings | None = None,
) -> FastAPI:
    """Build the application; it opens the database only when somebody asks for something.

    *event_keys* verify SendGrid's Event Webhook, *inbound_keys* its Inbound Parse. *allowances* limit what
    each group of routes takes, *ceilings* what each API token posts in an hour.
    """
    look = Look()
    app = FastAPI(
        title="nurture",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(admit)],
    )
    app.state.site = Site(
        house,
        clock,
        look,
        Guestbook(house, clock),
        Keyring(event_keys),
        Applying(house, clock),
        Taking(house, clock),
        ceilings or Ceilings(house),
        Keyring(inbound_keys),
    )
    for path, look_at, act in _ROUTES:
        if look_at is not None:
            app.add_api_route(path, look_at, methods=["GET", "HEAD"])
        if act is not None:
            app.add_api_route(path, act, methods=["POST"])
    for method, path, endpoint in _API_ROUTES:
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"] if method == "GET" else [method])
    app.state.reading = anyio.CapacityLimiter(2)  # each holds a mail in memory
    app.state.room = inbound.Room(inbound.MOST_ON_DISK)
    of_tokens = allowances[access.PROGRAMS]
    app.state.tokens = Rate(of_tokens.per_second, of_tokens.burst)
    app.state.storing = anyio.CapacityLimiter(webhooks.AT_ONCE)
    app.state.working = {
        "signals": anyio.CapacityLimiter(api.SIGNALS_AT_ONCE),
        "others": anyio.CapacityLimiter(api.AT_ONCE),
    }
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Problem, _told)
    for missing in (NotFound, RequestValidationError):
        app.add_exception_handler(missing, _missing)
    app.add_exception_handler(DatabaseUnusable, _closed)
    secure = house.base_url.startswith("https:")
    app.add_middleware(Gate, look=look, allowances=allowances, secure=secure)
    return app


def _page(request: Request, status: int, headers: Mapping[str, str] | None = None) -> Response:
    if request.url.path.startswith(access.API):
        problem = problems.of_status(status)
        problem.headers = {**(problem.headers or {}), **(headers or {})}
        return problem.response()
    site: Site = request.app.state.site
    return site.look.refusal(status, headers)


def _told(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = error.headers if isinstance(error, HTTPException) else None
    return _page(request, status, headers)


def _missing(request: Request, _error: Exception) -> Response:
    return _page(request, 404)


def _closed(request: Request, _error: Exception) -> Response:
    return _page(request, 503, {"Retry-After": "60"})
