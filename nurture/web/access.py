"""Who may open what. A route that is not in the table here is shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from nurture.clock import Clock
from nurture.journey import links
from nurture.journey.house import House
from nurture.store.tokens import Kept

from .look import Look

LOOK: Final = frozenset({"GET", "HEAD"})
ACT: Final = frozenset({"POST"})
SMALL: Final = 64 * 1024
"""Bytes; the largest form here is under 1 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may be asked of a route, and how many bytes a request may bring."""

    methods: frozenset[str] = LOOK | ACT
    most_bytes: int = SMALL


@dataclass(frozen=True, slots=True)
class Everybody(Policy):
    """Open to all: it tells nothing about anybody."""


@dataclass(frozen=True, slots=True)
class Bearer(Policy):
    """Open to whoever brings a token that was made for this purpose."""

    purpose: str


ACCEPT: Final = f"/{links.PATHS[links.ACCEPT]}/{{token}}"
REJECT: Final = f"/{links.PATHS[links.REJECT]}/{{token}}"
UNSUBSCRIBE: Final = f"/{links.PATHS[links.UNSUBSCRIBE]}/{{token}}"
HEALTH: Final = "/health"
HEALTHZ: Final = "/healthz"  # as orchestrators spell it

ACCESS: Final[Mapping[str, Policy]] = {
    ACCEPT: Bearer(links.ACCEPT),
    REJECT: Bearer(links.REJECT),
    UNSUBSCRIBE: Bearer(links.UNSUBSCRIBE),
    HEALTH: Everybody(methods=LOOK),
    HEALTHZ: Everybody(methods=LOOK),
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


def site_of(request: Request) -> Site:
    """Return what the pages work with."""
    site: Site = request.app.state.site
    return site


def admit(request: Request, site: Annotated[Site, Depends(site_of)]) -> Visit | None:
    """Let a request in as ACCESS says. Raises 404, the same for every reason."""
    policy = ACCESS.get(getattr(request.scope.get("route"), "path", ""))
    if policy is None or request.method not in policy.methods:
        raise HTTPException(404)
    if isinstance(policy, Everybody):
        return None
    token = request.path_params.get("token", "")
    if isinstance(policy, Bearer):
        with site.house.database.read() as connection:
            kept = links.find(connection, token, policy.purpose)
        if kept is not None:
            return Visit(token, kept)
    raise HTTPException(404)


def visit_of(visit: Annotated[Visit | None, Depends(admit)]) -> Visit:
    """Return who visits; for routes that a token opens."""
    if visit is None:
        raise HTTPException(404)
    return visit


TheSite = Annotated[Site, Depends(site_of)]
TheVisit = Annotated[Visit, Depends(visit_of)]
