"""The two pages of a sign-in with the account of one's organization: to the provider, and back from it."""

import logging
from typing import Final
from urllib.parse import quote, unquote

import anyio
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from nurture.console.access import users
from nurture.console.access.oidc import CALLBACK_PATH, OidcProvider, OidcRefused
from nurture.console.access.sign_in import SiteDep, own_path, seconds_to_wait, sign_in_page, signed_in
from nurture.console.site import Site

_COOKIE: Final = "nurture_oidc"
_LIFETIME: Final = 600  # seconds from the first page to the second
_MAX_TARGET: Final = 1_000
_MAX_ANSWER: Final = 4_096
_log: Final = logging.getLogger(__name__)

router: Final = APIRouter()


def _provider(request: Request) -> OidcProvider:
    provider: OidcProvider | None = request.app.state.sign_ins.oidc
    if provider is None:
        raise HTTPException(404)
    return provider


def _cookie_name(request: Request, site: Site) -> str:
    return f"__Host-{_COOKIE}" if site.is_secure(request.scope["scheme"]) else _COOKIE


@router.get("/sign-in/oidc")
async def begin(request: Request, site: SiteDep) -> Response:
    """Lead to the provider; the browser keeps the secret of this sign-in in a cookie."""
    provider, target = _provider(request), own_path(request.query_params.get("next", ""))
    if seconds_to_wait(request):
        return sign_in_page(
            request, site, target, problem="Too many attempts. Wait a minute, then try again.", status=429
        )
    try:
        attempt = await anyio.to_thread.run_sync(provider.begin, limiter=request.app.state.sign_ins.asking)
    except OidcRefused as error:
        return sign_in_page(request, site, target, problem=str(error), status=502)
    response = RedirectResponse(attempt.url, 303)
    kept = quote(target, safe="")[:_MAX_TARGET]
    secure = site.is_secure(request.scope["scheme"])
    response.set_cookie(
        _cookie_name(request, site),
        f"{attempt.secret}:{kept}",
        max_age=_LIFETIME,
        httponly=True,
        samesite="lax",  # the way back comes from the provider's site
        secure=secure,
    )
    return response


@router.get(CALLBACK_PATH)
async def finish(request: Request, site: SiteDep) -> Response:
    """Start a session of the user whom the provider names; nobody else comes in."""
    provider = _provider(request)
    secret, _, kept = request.cookies.get(_cookie_name(request, site), "").partition(":")
    target = own_path(unquote(kept))
    if seconds_to_wait(request):
        return sign_in_page(
            request, site, target, problem="Too many attempts. Wait a minute, then try again.", status=429
        )
    if len(request.url.query) > _MAX_ANSWER:
        raise HTTPException(400)
    answer = dict(request.query_params)

    def sign_in() -> str | None:
        email = provider.finish(secret, answer, site.real_now())
        return users.sign_in_as(site.database, email, site.real_now())

    token, problem = None, "No user of the console has your address, or it is locked. Ask an admin to add you."
    try:
        token = await anyio.to_thread.run_sync(sign_in, limiter=request.app.state.sign_ins.asking)
    except OidcRefused as error:
        problem = str(error)
    if token is not None:
        response = signed_in(request, site, token, target)
    else:
        response = sign_in_page(request, site, target, problem=problem, status=403)
    response.delete_cookie(_cookie_name(request, site), httponly=True, secure=site.is_secure(request.scope["scheme"]))
    return response
