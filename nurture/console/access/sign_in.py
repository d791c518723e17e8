"""Sign in and out, and accept an invitation: plain pages without scripts, so that no stranger reaches a socket."""

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qsl, quote

import anyio
from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from nurture.console.access import sessions, users
from nurture.console.access.oidc import OidcProvider
from nurture.console.site import THEME_COOKIE, Site
from nurture.errors import InvalidState
from nurture.web.throttling import RateLimiter, client_key

_MAX_BODY: Final = 4_096  # bytes
_BODY_TIMEOUT: Final = 10.0  # seconds
_SIGN_INS_PER_SECOND: Final = 0.1
_SIGN_IN_BURST: Final = 10
"""Sign-ins and invitations that one address may try at once; then one each ten seconds."""

_MAX_HASHING: Final = 2  # passwords that are hashed at once: each takes 19 MiB and a core

_MAX_ASKING: Final = 4  # questions to the provider at once: each may take seconds

router: Final = APIRouter()


class SignIns:
    """Limits how often an address may sign in, and how many passwords are hashed, or providers asked, at once.

    *oidc* is the provider with whom users may sign in besides a password.
    """

    def __init__(self, oidc: OidcProvider | None = None) -> None:
        self.oidc = oidc
        self.asking = anyio.CapacityLimiter(_MAX_ASKING)
        self.rate = RateLimiter(_SIGN_INS_PER_SECOND, _SIGN_IN_BURST)
        self.hashing = anyio.CapacityLimiter(_MAX_HASHING)


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


SiteDep = Annotated[Site, Depends(_site)]


async def _read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a small form. Raises 413, 408."""
    body = b""
    try:
        with anyio.fail_after(_BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY:
                    raise HTTPException(413)
    except TimeoutError:
        raise HTTPException(408) from None
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=10))
    except ValueError:
        raise HTTPException(400) from None


Form = Annotated[Mapping[str, str], Depends(_read_form)]


def seconds_to_wait(request: Request) -> float:
    """Return for how long this address may not try to sign in again; 0 if it may."""
    limits: SignIns = request.app.state.sign_ins
    client = client_key(request.client.host if request.client is not None else None)
    return limits.rate.seconds_until_allowed(client, anyio.current_time())


@router.get("/health")
async def show_health() -> Response:
    """Say that the console answers."""
    return PlainTextResponse("ok")


@router.get("/sign-in")
async def show_sign_in(request: Request, site: SiteDep) -> Response:
    """Show the form."""
    return sign_in_page(request, site, own_path(request.query_params.get("next", "")))


def sign_in_page(
    request: Request, site: Site, target: str, login: str = "", problem: str = "", status: int = 200
) -> Response:
    """Return the form to sign in, with what went wrong; then *target* is opened."""
    oidc = f"/sign-in/oidc?next={quote(target, safe='')}" if request.app.state.sign_ins.oidc is not None else ""
    return site.templates.response(
        "console-sign-in.html", status=status, target=target, login=login, problem=problem, oidc=oidc
    )


@router.post("/sign-in")
async def submit_sign_in(request: Request, site: SiteDep, form: Form) -> Response:
    """Start a session, and open the page that was asked for."""
    login, password, target = form.get("login", ""), form.get("password", ""), own_path(form.get("next", ""))
    if seconds_to_wait(request):
        return sign_in_page(request, site, target, login, "Too many attempts. Wait a minute, then try again.", 429)
    token = await anyio.to_thread.run_sync(
        lambda: users.sign_in(site.database, login, password, site.real_now()),
        limiter=request.app.state.sign_ins.hashing,
    )
    if token is None:
        problem = "The login or the password is wrong, or there were too many wrong ones. Try again in a few minutes."
        return sign_in_page(request, site, target, login, problem, 403)
    return signed_in(request, site, token, target)


def signed_in(request: Request, site: Site, token: str, target: str) -> Response:
    """Return the way to *target*, with the cookie of the session."""
    response = RedirectResponse(target, 303)
    scheme = request.scope["scheme"]
    response.set_cookie(
        site.cookie_name(scheme),
        token,
        max_age=int(sessions.LIFETIME.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=site.is_secure(scheme),
    )
    return response


@router.post("/sign-out")
async def sign_out(request: Request, site: SiteDep) -> Response:
    """End the session."""
    name = site.cookie_name(request.scope["scheme"])
    token = request.cookies.get(name, "")
    await site.in_thread(lambda: sessions.end(site.database, token, site.real_now()))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(name, httponly=True, secure=site.is_secure(request.scope["scheme"]))
    return response


@router.get("/theme/{theme}")
async def choose_theme(request: Request, theme: str) -> Response:
    """Keep the chosen theme in a cookie, and return to the page."""
    response = RedirectResponse(own_path(request.query_params.get("next", "")), 303)
    value = theme if theme in ("light", "dark") else ""
    response.set_cookie(THEME_COOKIE, value, max_age=31_536_000 if value else 0, httponly=True, samesite="lax")
    return response


@router.get("/invitation/{token}")
async def show_invitation(request: Request, token: str, site: SiteDep) -> Response:
    """Show the form for a password. Opening the link changes nothing."""
    if seconds_to_wait(request):
        return site.templates.error_page(429)
    login = await site.in_thread(lambda: users.find_invited(site.database, token, site.real_now()))
    return _invitation_page(site, login) if login is not None else _no_invitation(site)


def _invitation_page(site: Site, login: str, problem: str = "", status: int = 200) -> Response:
    least = users.MIN_PASSWORD_LENGTH
    return site.templates.response(
        "console-invitation.html", status=status, login=login, problem=problem, min_length=least
    )


def _no_invitation(site: Site) -> Response:
    return site.templates.response("console-no-invitation.html", status=404)


@router.post("/invitation/{token}")
async def accept_invitation(request: Request, token: str, site: SiteDep, form: Form) -> Response:
    """Set the password, and sign in."""
    if seconds_to_wait(request):
        return site.templates.error_page(429)
    login = await site.in_thread(lambda: users.find_invited(site.database, token, site.real_now()))
    if login is None:
        return _no_invitation(site)
    password = form.get("password", "")
    if password != form.get("again", ""):
        return _invitation_page(site, login, "The two passwords differ. Type the same one twice.", 422)
    hashing = request.app.state.sign_ins.hashing

    def accept() -> str | None:
        accepted = users.accept_invitation(site.database, token, password, site.real_now())
        return users.sign_in(site.database, accepted, password, site.real_now()) if accepted is not None else None

    try:
        session = await anyio.to_thread.run_sync(accept, limiter=hashing)
    except InvalidState as error:
        return _invitation_page(site, login, str(error), 422)
    return signed_in(request, site, session, "/") if session is not None else _no_invitation(site)


def own_path(target: str) -> str:
    """Return a path of ours to open after the sign-in; another site's address becomes the first page."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path and "\\" not in target else "/"
