"""The routes: their paths, who may use them, and the limits of their requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from starlette.routing import compile_path

from nurture.journey.handoff import workspace_links
from nurture.journey.intake.api.tokens import TokenScope
from nurture.mail.providers.spec import EVENTS_PATH, INBOUND_PATH
from nurture.runtime import public_links
from nurture.web.throttling import Allowance

READ_METHODS: Final = frozenset({"GET", "HEAD"})
WRITE_METHODS: Final = frozenset({"POST"})
MAX_FORM_BYTES: Final = 64 * 1024
"""Maximum bytes of a form; the largest form of our pages is under 1 KB."""

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Maximum bytes of an API batch."""

MAX_MAIL_BYTES: Final = 30 * 1024 * 1024
"""Maximum bytes of an inbound email; providers accept no larger one."""

_MB: Final = 1024 * 1024
PAGES: Final = "pages"
OPT_OUTS: Final = "opt-outs"
LINKS: Final = "links"
API_CALLS: Final = "api-calls"
EVENT_BATCHES: Final = "event-batches"
INBOUND_MAIL: Final = "inbound-mail"

ALLOWANCES: Final[Mapping[str, Allowance]] = {
    PAGES: Allowance(max_bytes=8 * _MB, max_bytes_per_address=2 * _MB, max_bodies=400, per_second=20, burst=1_200),
    # No rate limit: requests of others, even from the same address, must not prevent an opt-out.
    OPT_OUTS: Allowance(
        max_bytes=8 * _MB, max_bytes_per_address=4 * _MB, max_bodies=1_000, max_bodies_per_address=400, per_second=0
    ),
    # Scanners and mail proxies send the requests of many readers from one address.
    LINKS: Allowance(max_bytes=_MB, max_bytes_per_address=_MB, max_bodies=10, max_bodies_per_address=10),
    API_CALLS: Allowance(max_bytes=64 * _MB, max_bytes_per_address=32 * _MB),
    EVENT_BATCHES: Allowance(max_bytes=32 * _MB, max_bytes_per_address=16 * _MB),
    INBOUND_MAIL: Allowance(
        max_bytes=20 * MAX_MAIL_BYTES,
        max_bytes_per_address=10 * MAX_MAIL_BYTES,
        max_bodies=100,
        max_bodies_per_address=50,
        body_timeout=60,
    ),
}
"""The limits of each group of routes: unfinished request bodies, and request rate per address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePolicy:
    """The allowed methods of a route, the maximum body size, and the group whose allowance applies."""

    methods: frozenset[str] = READ_METHODS | WRITE_METHODS
    max_bytes: int = MAX_FORM_BYTES
    group: str = PAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRoute(RoutePolicy):
    """Open to everyone: the route returns no data about a person."""

    group: str = LINKS


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRoute(RoutePolicy):
    """Open to this machine, and to who presents the token of NURTURE_METRICS_TOKEN."""

    group: str = LINKS


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoute(RoutePolicy):
    """Open to a program with an API token of *scope* or *alternative_scope*, checked before the body is read."""

    scope: TokenScope
    alternative_scope: TokenScope | None = None
    methods: frozenset[str] = WRITE_METHODS
    max_bytes: int = MAX_BATCH_BYTES
    group: str = API_CALLS


@dataclass(frozen=True, slots=True)
class LinkRoute(RoutePolicy):
    """Open to a visitor with a link token of this purpose."""

    purpose: str


@dataclass(frozen=True, slots=True)
class RepRoute(RoutePolicy):
    """Open to a rep with a valid workspace token."""


@dataclass(frozen=True, slots=True)
class WebhookRoute(RoutePolicy):
    """Open to the providers in *webhooks* of the site; the route verifies each request by the provider's verifier."""

    webhooks: Literal["events", "inbound"]


def _link_path(purpose: str, end: str = "") -> str:
    return f"/{public_links.PATHS[purpose]}/{{token}}{end}"


ACCEPT: Final = _link_path(public_links.ACCEPT)
REJECT: Final = _link_path(public_links.REJECT)
REASSIGN: Final = _link_path(public_links.REASSIGN)
CALL_BACK_LATER: Final = _link_path(public_links.CALL_BACK_LATER)
WORKSPACE: Final = f"/{workspace_links.PATH}/{{token}}"
WORKSPACE_QUEUES: Final = f"/{workspace_links.PATH}/{{token}}/queues"
WORKSPACE_OFFER: Final = f"/{workspace_links.PATH}/{{token}}/{{number}}"
UNSUBSCRIBE: Final = _link_path(public_links.UNSUBSCRIBE)
CLICK: Final = _link_path(public_links.CLICK, "/{number}")
OPEN: Final = _link_path(public_links.OPEN, ".gif")
EVENTS: Final = EVENTS_PATH
PREFERENCES: Final = _link_path(public_links.PREFERENCES)
QUESTION: Final = _link_path(public_links.QUESTION)
CONFIRM: Final = _link_path(public_links.CONFIRM)
QUEUES: Final = _link_path(public_links.QUEUES)
INBOUND: Final = INBOUND_PATH
HEALTH: Final = "/health"
HEALTHZ: Final = "/healthz"  # the usual name in container orchestrators
LIVE: Final = "/health/live"
READY: Final = "/health/ready"
METRICS: Final = "/metrics"
SIGNALS: Final = "/api/signals"
LEADS: Final = "/api/leads"
OUTCOMES: Final = "/api/outcomes"
DOCS: Final = "/api/docs"
OPENAPI: Final = "/api/openapi.json"

ACCESS: Final[Mapping[str, RoutePolicy]] = {
    ACCEPT: LinkRoute(public_links.ACCEPT),
    REJECT: LinkRoute(public_links.REJECT),
    REASSIGN: LinkRoute(public_links.REASSIGN),
    CALL_BACK_LATER: LinkRoute(public_links.CALL_BACK_LATER),
    WORKSPACE: RepRoute(),
    WORKSPACE_QUEUES: RepRoute(),
    WORKSPACE_OFFER: RepRoute(),
    UNSUBSCRIBE: LinkRoute(public_links.UNSUBSCRIBE, group=OPT_OUTS),
    CLICK: LinkRoute(public_links.CLICK, methods=READ_METHODS, group=LINKS),
    OPEN: LinkRoute(public_links.OPEN, methods=READ_METHODS, group=LINKS),
    EVENTS: WebhookRoute(methods=WRITE_METHODS, max_bytes=2 * _MB, group=EVENT_BATCHES, webhooks="events"),
    PREFERENCES: LinkRoute(public_links.PREFERENCES, group=OPT_OUTS),
    QUESTION: LinkRoute(public_links.QUESTION),
    CONFIRM: LinkRoute(public_links.CONFIRM),
    QUEUES: LinkRoute(public_links.QUEUES),
    INBOUND: WebhookRoute(methods=WRITE_METHODS, max_bytes=MAX_MAIL_BYTES, group=INBOUND_MAIL, webhooks="inbound"),
    HEALTH: PublicRoute(methods=READ_METHODS),
    HEALTHZ: PublicRoute(methods=READ_METHODS),
    LIVE: PublicRoute(methods=READ_METHODS),
    READY: StatusRoute(methods=READ_METHODS),
    METRICS: StatusRoute(methods=READ_METHODS),
    SIGNALS: ApiRoute(scope=TokenScope.SIGNALS, alternative_scope=TokenScope.SUPPRESSIONS),
    LEADS: ApiRoute(scope=TokenScope.LEADS),
    OUTCOMES: ApiRoute(scope=TokenScope.OUTCOMES),
    DOCS: PublicRoute(methods=READ_METHODS),
    OPENAPI: PublicRoute(methods=READ_METHODS),
}
"""The policy of each route, by path."""

_PATTERNS: Final = tuple((compile_path(path)[0], policy) for path, policy in ACCESS.items())


def route_policy(path: str) -> RoutePolicy | None:
    """Return the policy of the route that matches *path*, None if there is none."""
    return next((policy for pattern, policy in _PATTERNS if pattern.match(path)), None)
