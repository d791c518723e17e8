"""Build the web application."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nurture import __version__
from nurture.clock import Clock
from nurture.errors import DatabaseUnavailable, NotFound
from nurture.journey.engagement.click_buffer import ClickRecorder
from nurture.mail.providers.registry import OpenWebhooks
from nurture.runtime.context import AppContext
from nurture.web import errors, routes, status
from nurture.web.api import endpoints, openapi
from nurture.web.api.signal_batcher import SignalBatcher
from nurture.web.auth import authorize
from nurture.web.background import EventWorker
from nurture.web.errors import WebError
from nurture.web.public import clicks, link_pages, preference_center
from nurture.web.request_limits import RequestLimits
from nurture.web.sales import offers, queues, workspace
from nurture.web.site import Site, Watching
from nurture.web.templates import Templates
from nurture.web.throttling import Allowance, RateLimiter, TokenRateLimits
from nurture.web.webhooks import MAX_CONCURRENT_BATCHES, MAX_ON_DISK, DiskBudget, receive_events, receive_mail

RouteFunction = Callable[..., Response | Awaitable[Response]]


_ROUTES: Final[Sequence[tuple[str, RouteFunction | None, RouteFunction | None]]] = (
    (routes.ACCEPT, offers.show_offer_form, offers.submit_offer_form),
    (routes.REJECT, offers.show_offer_form, offers.submit_offer_form),
    (routes.REASSIGN, offers.show_offer_form, offers.submit_offer_form),
    (routes.CALL_BACK_LATER, offers.show_offer_form, offers.submit_offer_form),
    (routes.WORKSPACE, workspace.show_workspace, workspace.submit_action),
    (routes.WORKSPACE_QUEUES, queues.show_own_queues, queues.submit_own_decision),
    (routes.WORKSPACE_OFFER, workspace.show_offer, workspace.answer_offer),
    (routes.UNSUBSCRIBE, link_pages.show_unsubscribe, link_pages.submit_unsubscribe),
    (routes.CLICK, clicks.follow_link, None),
    (routes.OPEN, clicks.open_pixel, None),
    (routes.EVENTS, None, receive_events),
    (routes.PREFERENCES, preference_center.show_preferences, preference_center.apply_choice),
    (routes.QUESTION, link_pages.show_question, link_pages.submit_answer),
    (routes.CONFIRM, link_pages.show_consent, link_pages.show_consent),
    (routes.QUEUES, queues.show_queues, queues.submit_decision),
    (routes.INBOUND, None, receive_mail),
    (routes.HEALTH, status.health, None),
    (routes.HEALTHZ, status.health, None),
    (routes.LIVE, status.live, None),
    (routes.READY, status.ready, None),
    (routes.METRICS, status.metrics, None),
    (routes.OPENAPI, endpoints.show_openapi, None),
    (routes.DOCS, endpoints.show_docs, None),
)
"""Each path with its GET and POST functions."""


def create_app(
    ctx: AppContext,
    clock: Clock,
    *,
    webhooks: OpenWebhooks | None = None,
    watching: Watching | None = None,
    allowances: Mapping[str, Allowance] = routes.ALLOWANCES,
    token_rate_limits: TokenRateLimits | None = None,
) -> FastAPI:
    """Return the application. It opens the database on the first request.

    *webhooks* are the webhooks of providers that are open, by default none; *watching* is what `/metrics` needs.
    *allowances* limit each group of routes, *token_rate_limits* the items that an API token posts in an hour.
    """
    templates = Templates(clock)
    app = FastAPI(
        title="nurture",
        version=__version__,
        description=openapi.DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(authorize)],
    )
    app.state.site = Site(
        ctx,
        clock,
        templates,
        ClickRecorder(ctx, clock),
        EventWorker(ctx, clock),
        SignalBatcher(ctx, clock),
        token_rate_limits or TokenRateLimits(ctx),
        webhooks or OpenWebhooks(),
        watching or Watching(),
    )
    for path, get_endpoint, post_endpoint in _ROUTES:
        if get_endpoint is not None:
            app.add_api_route(path, get_endpoint, methods=["GET", "HEAD"], include_in_schema=False)
        if post_endpoint is not None:
            app.add_api_route(path, post_endpoint, methods=["POST"], include_in_schema=False)
    for path, route in endpoints.BATCHES.items():
        app.add_api_route(path, endpoints.post_batch, methods=["POST"], **openapi.describe(path, route))
    app.state.mail_limiter = anyio.CapacityLimiter(2)  # each holds an email in memory
    app.state.inbound_disk_budget = DiskBudget(MAX_ON_DISK)
    token_allowance = allowances[routes.API_CALLS]
    app.state.token_rate = RateLimiter(token_allowance.per_second, token_allowance.burst)
    app.state.event_limiter = anyio.CapacityLimiter(MAX_CONCURRENT_BATCHES)
    app.state.batch_limiters = {
        "signals": anyio.CapacityLimiter(endpoints.MAX_CONCURRENT_SIGNAL_BATCHES),
        "others": anyio.CapacityLimiter(endpoints.MAX_CONCURRENT_BATCHES),
    }
    for error_type in (HTTPException, WebError, NotFound, RequestValidationError, DatabaseUnavailable):
        app.add_exception_handler(error_type, _error_response)
    secure = ctx.base_url.startswith("https:")
    app.add_middleware(RequestLimits, templates=templates, allowances=allowances, secure=secure)
    return app


def _error_response(request: Request, error: Exception) -> Response:
    match error:
        case WebError():
            shown = error
        case HTTPException():
            shown = errors.error_for_status(error.status_code, error.headers)
        case DatabaseUnavailable():
            shown = errors.error_for_status(503, {"Retry-After": "60"})
        case _:
            shown = errors.error_for_status(404)
    return shown.response(request.url.path, request.app.state.site.templates)
