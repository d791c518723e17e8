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
from nurture.db import clock_row
from nurture.errors import DatabaseUnusable, NotFound
from nurture.journey.engagement.click_buffer import Guestbook
from nurture.mail.providers.sendgrid.signature import Keyring
from nurture.runtime.context import House
from nurture.web import auth, errors
from nurture.web.api import endpoints
from nurture.web.api.ceilings import Ceilings
from nurture.web.api.signal_batcher import Taking
from nurture.web.auth import Site, TheSite, admit
from nurture.web.errors import Problem
from nurture.web.limits import Allowance, Rate
from nurture.web.public import ask_lead, clicks, preference_center, unsubscribe
from nurture.web.request_limits import Gate
from nurture.web.sales import offers, workspace
from nurture.web.templates import Look
from nurture.web.webhooks import inbound_mail, provider_events
from nurture.web.webhooks.event_worker import Applying

Page = Callable[..., Response | Awaitable[Response]]


def health(site: TheSite) -> JSONResponse:
    """Say whether the database answers."""
    try:
        clock_row.open_mode(site.house.database)
    except DatabaseUnusable:
        return JSONResponse({"status": "closed", "database": "unusable"}, status_code=503)
    return JSONResponse({"status": "ok", "database": "ok"})


_ROUTES: Final[Sequence[tuple[str, Page | None, Page | None]]] = (
    (auth.ACCEPT, offers.ask, offers.act),
    (auth.REJECT, offers.ask, offers.act),
    (auth.REASSIGN, offers.ask, offers.act),
    (auth.LATER, offers.ask, offers.act),
    (auth.DESK, workspace.show, workspace.act),
    (auth.DESK_OFFER, workspace.show_offer, workspace.answer_offer),
    (auth.UNSUBSCRIBE, unsubscribe.ask, unsubscribe.unsubscribe),
    (auth.CLICK, clicks.follow, None),
    (auth.OPEN, clicks.pixel, None),
    (auth.EVENTS, None, provider_events.sendgrid_events),
    (auth.PREFERENCES, preference_center.ask, preference_center.choose),
    (auth.ASK, ask_lead.ask, ask_lead.answer),
    (auth.INBOUND, None, inbound_mail.sendgrid_inbound),
    (auth.HEALTH, health, None),
    (auth.HEALTHZ, health, None),
)
"""What each path shows, and what a POST to it does."""

_API_ROUTES: Final[Sequence[tuple[str, str, Callable[..., Any]]]] = (
    ("POST", auth.SIGNALS, endpoints.post_signals),
    ("POST", auth.LEADS, endpoints.post_leads),
    ("POST", auth.OUTCOMES, endpoints.post_outcomes),
    ("GET", auth.OPENAPI, endpoints.show_document),
    ("GET", auth.DOCS, endpoints.show_docs),
)


def create_app(
    house: House,
    clock: Clock,
    *,
    event_keys: Sequence[str] = (),
    inbound_keys: Sequence[str] = (),
    allowances: Mapping[str, Allowance] = auth.ALLOWANCES,
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
    app.state.room = inbound_mail.Room(inbound_mail.MOST_ON_DISK)
    of_tokens = allowances[auth.PROGRAMS]
    app.state.tokens = Rate(of_tokens.per_second, of_tokens.burst)
    app.state.storing = anyio.CapacityLimiter(provider_events.AT_ONCE)
    app.state.working = {
        "signals": anyio.CapacityLimiter(endpoints.SIGNALS_AT_ONCE),
        "others": anyio.CapacityLimiter(endpoints.AT_ONCE),
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
    if request.url.path.startswith(auth.API):
        problem = errors.of_status(status)
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
