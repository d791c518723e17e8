"""Who may open what. A route that is not in the table here is shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Annotated, Final

import anyio
from fastapi import Depends, Request
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from nurture.clock import Clock
from nurture.journey.engagement.click_buffer import Guestbook
from nurture.journey.handoff import workspace_links
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import Caller, Scope
from nurture.mail.providers.sendgrid.signature import Keyring
from nurture.runtime import public_links
from nurture.runtime.context import House
from nurture.runtime.token_queries import Kept
from nurture.web import errors
from nurture.web.api.ceilings import Ceilings
from nurture.web.api.signal_batcher import Taking
from nurture.web.errors import Problem
from nurture.web.limits import Allowance, Rate
from nurture.web.templates import Look
from nurture.web.webhooks.event_worker import Applying

LOOK: Final = frozenset({"GET", "HEAD"})
ACT: Final = frozenset({"POST"})
SMALL: Final = 64 * 1024
"""Bytes; the largest form here is under 1 KB."""

LARGE: Final = 4 * 1024 * 1024
"""Bytes; a batch of the API."""

MOST_MAIL: Final = 30 * 1024 * 1024
"""Bytes; SendGrid takes no larger mail."""


_MB: Final = 1024 * 1024
PAGES: Final = "pages"
OPT_OUTS: Final = "opt-outs"
LINKS: Final = "links"
PROGRAMS: Final = "programs"
EVENT_BATCHES: Final = "events"
MAILS: Final = "mails"

ALLOWANCES: Final[Mapping[str, Allowance]] = {
    PAGES: Allowance(
        most_bytes=8 * _MB, address_bytes=2 * _MB, bodies=400, address_bodies=100, per_second=20, burst=1_200
    ),
    # Nobody is kept from opting out by how often others ask, be they on the same address.
    OPT_OUTS: Allowance(most_bytes=8 * _MB, address_bytes=4 * _MB, bodies=1_000, address_bodies=400),
    # Scanners and mail programs' proxies ask for many readers from one address.
    LINKS: Allowance(
        most_bytes=_MB, address_bytes=_MB, bodies=10, address_bodies=10, per_second=100, burst=6_000
    ),
    PROGRAMS: Allowance(
        most_bytes=64 * _MB,
        address_bytes=32 * _MB,
        bodies=200,
        address_bodies=100,
        per_second=100,
        burst=6_000,
    ),
    EVENT_BATCHES: Allowance(
        most_bytes=32 * _MB,
        address_bytes=16 * _MB,
        bodies=200,
        address_bodies=100,
        per_second=100,
        burst=6_000,
    ),
    MAILS: Allowance(
        most_bytes=20 * MOST_MAIL,
        address_bytes=10 * MOST_MAIL,
        bodies=100,
        address_bodies=50,
        seconds=60,
        per_second=100,
        burst=6_000,
    ),
}
"""What each group of routes may hold of bodies that strangers send, and how often one address may ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may be asked of a route, how many bytes a request may bring, and in which group's allowance."""

    methods: frozenset[str] = LOOK | ACT
    most_bytes: int = SMALL
    group: str = PAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Everybody(Policy):
    """Open to all: it tells nothing about anybody."""

    group: str = LINKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Policy):
    """Open to a program that brings an API token of this scope, or of *also*. Only then its body is read."""

    scope: Scope
    also: Scope | None = None
    methods: frozenset[str] = ACT
    most_bytes: int = LARGE
    group: str = PROGRAMS


@dataclass(frozen=True, slots=True)
class Bearer(Policy):
    """Open to whoever brings a token that was made for this purpose."""

    purpose: str


@dataclass(frozen=True, slots=True)
class Owner(Policy):
    """Open to the rep whose own link brings the token, for as long as it works."""


@dataclass(frozen=True, slots=True)
class Signed(Policy):
    """Open to whoever signs with a key that the settings name; the route looks at the signature itself."""


ACCEPT: Final = f"/{public_links.PATHS[public_links.ACCEPT]}/{{token}}"
REJECT: Final = f"/{public_links.PATHS[public_links.REJECT]}/{{token}}"
REASSIGN: Final = f"/{public_links.PATHS[public_links.REASSIGN]}/{{token}}"
LATER: Final = f"/{public_links.PATHS[public_links.LATER]}/{{token}}"
DESK: Final = f"/{workspace_links.PATH}/{{token}}"
DESK_OFFER: Final = f"/{workspace_links.PATH}/{{token}}/{{number}}"
UNSUBSCRIBE: Final = f"/{public_links.PATHS[public_links.UNSUBSCRIBE]}/{{token}}"
CLICK: Final = f"/{public_links.PATHS[public_links.CLICK]}/{{token}}/{{number}}"
OPEN: Final = f"/{public_links.PATHS[public_links.OPEN]}/{{token}}.gif"
EVENTS: Final = "/webhooks/sendgrid/events"
PREFERENCES: Final = f"/{public_links.PATHS[public_links.PREFERENCES]}/{{token}}"
ASK: Final = f"/{public_links.PATHS[public_links.ASK]}/{{token}}"
INBOUND: Final = "/webhooks/sendgrid/inbound"
HEALTH: Final = "/health"
HEALTHZ: Final = "/healthz"  # as orchestrators spell it
API: Final = "/api/"
SIGNALS: Final = "/api/signals"
LEADS: Final = "/api/leads"
OUTCOMES: Final = "/api/outcomes"
DOCS: Final = "/api/docs"
OPENAPI: Final = "/api/openapi.json"

ACCESS: Final[Mapping[str, Policy]] = {
    ACCEPT: Bearer(public_links.ACCEPT),
    REJECT: Bearer(public_links.REJECT),
    REASSIGN: Bearer(public_links.REASSIGN),
    LATER: Bearer(public_links.LATER),
    DESK: Owner(),
    DESK_OFFER: Owner(),
    UNSUBSCRIBE: Bearer(public_links.UNSUBSCRIBE, group=OPT_OUTS),
    CLICK: Bearer(public_links.CLICK, methods=LOOK, group=LINKS),
    OPEN: Bearer(public_links.OPEN, methods=LOOK, group=LINKS),
    EVENTS: Signed(methods=ACT, most_bytes=2 * _MB, group=EVENT_BATCHES),  # SendGrid's end at 768 KB
    PREFERENCES: Bearer(public_links.PREFERENCES, group=OPT_OUTS),
    ASK: Bearer(public_links.ASK),
    INBOUND: Signed(methods=ACT, most_bytes=MOST_MAIL, group=MAILS),
    HEALTH: Everybody(methods=LOOK),
    HEALTHZ: Everybody(methods=LOOK),
    SIGNALS: Program(scope=Scope.SIGNALS, also=Scope.SUPPRESSIONS),
    LEADS: Program(scope=Scope.LEADS),
    OUTCOMES: Program(scope=Scope.OUTCOMES),
    DOCS: Everybody(methods=LOOK),
    OPENAPI: Everybody(methods=LOOK),
}
"""Every route's policy, by its path."""

_PATTERNS: Final = tuple((compile_path(path)[0], policy) for path, policy in ACCESS.items())


def policy_at(path: str) -> Policy | None:
    """Return the policy of the route that answers *path*, None if there is no such route."""
    return next((policy for pattern, policy in _PATTERNS if pattern.match(path)), None)


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages work with."""

    house: House
    clock: Clock
    look: Look
    guestbook: Guestbook
    event_keys: Keyring
    applying: Applying
    taking: Taking
    ceilings: Ceilings
    inbound_keys: Keyring = field(default_factory=lambda: Keyring(()))


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who brought a good token."""

    token: str
    kept: Kept

    @property
    def offer_id(self) -> int:
        """Return the hand-off that the token answers; tokens of that purpose always have one."""
        if self.kept.offer_id is None:
            raise HTTPException(404)
        return self.kept.offer_id


async def site_of(request: Request) -> Site:
    """Return what the pages work with. It asks nobody, as those below: a thread would only cost time."""
    site: Site = request.app.state.site
    return site


@dataclass(frozen=True, slots=True)
class AtDesk:
    """A rep who brought the link to their own page."""

    token: str
    rep: str


Admitted = Visit | AtDesk | Caller | None


def admit(request: Request, site: Annotated[Site, Depends(site_of)]) -> Admitted:
    """Let a request in as ACCESS says. Raises 404, the same for every reason; Problem to a program."""
    policy = ACCESS.get(getattr(request.scope.get("route"), "path", ""))
    if policy is None or request.method not in policy.methods:
        raise HTTPException(404)
    if isinstance(policy, Everybody | Signed):
        return None
    if isinstance(policy, Program):
        return _program(request, site, policy)
    token = request.path_params.get("token", "")
    if isinstance(policy, Bearer):
        with site.house.database.read() as connection:
            kept = public_links.find(connection, token, policy.purpose)
        if kept is not None:
            return Visit(token, kept)
    if isinstance(policy, Owner):
        rep = workspace_links.find(site.house, token, site.clock.now())
        if rep is not None:
            return AtDesk(token, rep)
    raise HTTPException(404)


def _program(request: Request, site: Site, policy: Program) -> Caller:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise _unknown("No token came with the request.")
    caller = tokens.find(site.house, token.strip(), site.clock.now())
    if caller is None:
        raise _unknown("This token was never made here, or it was revoked.", ', error="invalid_token"')
    scope = policy.scope
    if not {scope, policy.also} & caller.scopes:
        raise Problem(
            403,
            "Not allowed",
            f"The token {caller.name!r} is not made for this: it needs the scope {scope}.",
            f"Make one that is: nurture admin tokens create NAME --scope {scope}",
            {"WWW-Authenticate": f'Bearer realm="nurture", error="insufficient_scope", scope="{scope}"'},
        )
    return caller


def _unknown(detail: str, error: str = "") -> Problem:
    remedy = "Send the header `Authorization: Bearer TOKEN`. `nurture admin tokens create` makes a token."
    return Problem(401, "Not known", detail, remedy, {"WWW-Authenticate": f'Bearer realm="nurture"{error}'})


async def visit_of(visit: Annotated[Admitted, Depends(admit)]) -> Visit:
    """Return who visits; for routes that a token opens."""
    if not isinstance(visit, Visit):
        raise HTTPException(404)
    return visit


async def caller_of(request: Request, caller: Annotated[Admitted, Depends(admit)]) -> Caller:
    """Return which program calls; for routes of the API. Raises Problem for a token that asks too often."""
    if not isinstance(caller, Caller):
        raise HTTPException(404)
    rate: Rate = request.app.state.tokens
    if wait := rate.wait(str(caller.token_id), anyio.current_time()):
        raise errors.too_many(429, {"Retry-After": str(ceil(wait))})
    return caller


def desk_of(desk: Annotated[Admitted, Depends(admit)]) -> AtDesk:
    """Return which rep is at the desk; for routes that a rep's own link opens."""
    if not isinstance(desk, AtDesk):
        raise HTTPException(404)
    return desk


TheSite = Annotated[Site, Depends(site_of)]
TheVisit = Annotated[Visit, Depends(visit_of)]
TheDesk = Annotated[AtDesk, Depends(desk_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]
