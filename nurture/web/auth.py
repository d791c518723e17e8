"""Authorize requests. A route that is not in the table `routes.ACCESS` is refused."""

import hmac
from dataclasses import dataclass
from typing import Annotated, Final

import anyio
from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from nurture.journey.handoff import workspace_links
from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.tokens import Caller
from nurture.runtime import public_links
from nurture.runtime.link_queries import TokenRecord
from nurture.web import errors
from nurture.web.errors import WebError
from nurture.web.routes import ACCESS, ApiRoute, LinkRoute, PublicRoute, RepRoute, StatusRoute, WebhookRoute
from nurture.web.site import Site, get_site
from nurture.web.throttling import RateLimiter

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor with a valid link token."""

    token: str
    token_record: TokenRecord

    @property
    def offer_id(self) -> int:
        """Return the hand-off of the token. Raises 404 for a token without one."""
        if self.token_record.offer_id is None:
            raise HTTPException(404)
        return self.token_record.offer_id


@dataclass(frozen=True, slots=True)
class RepVisitor:
    """A rep with a valid workspace token."""

    token: str
    rep: str


Principal = Visitor | RepVisitor | Caller | None


def authorize(request: Request, site: Annotated[Site, Depends(get_site)]) -> Principal:
    """Authorize a request as ACCESS says. Raises 404 for every refusal, WebError on API routes."""
    policy = ACCESS.get(getattr(request.scope.get("route"), "path", ""))
    if policy is None or request.method not in policy.methods:
        raise HTTPException(404)
    if isinstance(policy, PublicRoute):
        return None
    if isinstance(policy, WebhookRoute) and request.path_params["provider"] in getattr(site.webhooks, policy.webhooks):
        return None
    if isinstance(policy, StatusRoute) and _may_see_status(request, site.watching.token):
        return None
    if isinstance(policy, ApiRoute):
        return _authenticate_program(request, site, policy)
    token = request.path_params.get("token", "")
    if isinstance(policy, LinkRoute):
        with site.ctx.database.read() as tx:
            token_record = public_links.find_token(tx, token, policy.purpose)
        if token_record is not None:
            return Visitor(token, token_record)
    if isinstance(policy, RepRoute):
        rep = workspace_links.find_rep(site.ctx, token, site.clock.now())
        if rep is not None:
            return RepVisitor(token, rep)
    raise HTTPException(404)


def _may_see_status(request: Request, token: str) -> bool:
    """Return whether a request presents *token*, or comes from this machine and not through a proxy."""
    given = request.headers.get("authorization", "").partition(" ")[2].strip()
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return True
    host = request.client.host if request.client is not None else ""
    forwarded = {"forwarded", "x-forwarded-for"} & set(request.headers)
    return host in _LOOPBACK and not forwarded


def _authenticate_program(request: Request, site: Site, policy: ApiRoute) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("The request has no token.")
    caller = tokens.authenticate(site.ctx, token.strip(), site.clock.now())
    if caller is None:
        raise _unauthorized("The token is unknown or revoked.", ', error="invalid_token"')
    scope = policy.scope
    if not {scope, policy.alternative_scope} & caller.scopes:
        raise WebError(
            403,
            "Not allowed",
            f"The token {caller.name!r} does not have the scope {scope}.",
            f"Create a token that has it: nurture admin tokens create NAME --scope {scope}",
            {"WWW-Authenticate": f'Bearer realm="nurture", error="insufficient_scope", scope="{scope}"'},
        )
    return caller


def _unauthorized(detail: str, error: str = "") -> WebError:
    remedy = "Send the header `Authorization: Bearer TOKEN`. `nurture admin tokens create` creates a token."
    return WebError(401, "Unauthorized", detail, remedy, {"WWW-Authenticate": f'Bearer realm="nurture"{error}'})


async def require_visitor(principal: Annotated[Principal, Depends(authorize)]) -> Visitor:
    """Return the visitor of a LinkRoute. Raises 404 for anyone else."""
    if not isinstance(principal, Visitor):
        raise HTTPException(404)
    return principal


async def require_caller(request: Request, principal: Annotated[Principal, Depends(authorize)]) -> Caller:
    """Return the caller of an ApiRoute. Raises WebError if its token exceeds the request rate."""
    if not isinstance(principal, Caller):
        raise HTTPException(404)
    rate: RateLimiter = request.app.state.token_rate
    if wait := rate.seconds_until_allowed(str(principal.token_id), anyio.current_time()):
        raise errors.too_many(429, wait)
    return principal


def require_rep(principal: Annotated[Principal, Depends(authorize)]) -> RepVisitor:
    """Return the rep of a RepRoute. Raises 404 for anyone else."""
    if not isinstance(principal, RepVisitor):
        raise HTTPException(404)
    return principal


VisitorDep = Annotated[Visitor, Depends(require_visitor)]
RepVisitorDep = Annotated[RepVisitor, Depends(require_rep)]
CallerDep = Annotated[Caller, Depends(require_caller)]
