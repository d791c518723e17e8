"""Serve click redirects and the open-tracking pixel."""

import logging
from base64 import b64decode
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from nurture.errors import DatabaseUnavailable, NotFound
from nurture.journey.engagement import clicks
from nurture.mail.rendering.link_tracking import HONEYPOT_LINK_NUMBER
from nurture.web.auth import VisitorDep
from nurture.web.site import SiteDep

PIXEL: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel."""

MAX_USER_AGENT: Final = 300

_log: Final = logging.getLogger(__name__)


def follow_link(site: SiteDep, visitor: VisitorDep, number: str, request: Request) -> Response:
    """Redirect the visitor to the link's target after the click is recorded. The query string is ignored.

    A HEAD request gets the same response and is recorded as HEAD: browsers of people send GET.
    """
    link = clicks.find_link_target(site.ctx, visitor.token_record, _parse_link_number(number))
    is_honeypot = number == str(HONEYPOT_LINK_NUMBER)
    if not is_honeypot and (link is None or not _is_web_url(link.url)):
        raise HTTPException(404)
    click = clicks.build_click(
        visitor.token_record,
        link.name if link is not None else None,
        site.clock.now(),
        method=request.method,
        source_hash=_client_fingerprint(request, visitor.token),
        agent=request.headers.get("user-agent", "")[:MAX_USER_AGENT],
        honeypot=is_honeypot,
    )
    try:
        site.click_recorder.record(click)
    except OSError as error:  # neither database nor disk accepts it: redirect the reader all the same
        _log.error("click_not_recorded", extra={"message_id": click.message_id, "reason": str(error.strerror)})
    if link is None:
        return site.templates.response("honeypot.html")
    return RedirectResponse(link.url, status_code=302)


def open_pixel(site: SiteDep, visitor: VisitorDep, request: Request) -> Response:
    """Serve the pixel, whatever happens. Record the day of the open if the lead consents to open tracking."""
    now = site.clock.now()
    try:
        agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT]
        opened = clicks.build_open(site.ctx, visitor.token_record, now, method=request.method, agent=agent)
        if opened is not None:
            site.click_recorder.record_open(opened)
    except (DatabaseUnavailable, NotFound):
        _log.warning("open_not_recorded")
    # Webmail shows images from other origins.
    return Response(PIXEL, media_type="image/gif", headers={"Cross-Origin-Resource-Policy": "cross-origin"})


def _parse_link_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or str(int(text)) != text:
        raise HTTPException(404)
    return int(text)


def _is_web_url(url: str) -> bool:
    """Check the target before redirecting: the stored row may have been edited manually."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()


def _client_fingerprint(request: Request, token: str) -> str:
    """Return a hash of the client's network, salted with *token*, so that it links requests of one email only.

    Return "" for a private address: it belongs to a proxy that NURTURE_TRUSTED_PROXIES does not name, and says
    nothing about the client.
    """
    try:
        address = ip_address(request.client.host if request.client is not None else "")
    except ValueError:
        return ""
    if not address.is_global:
        return ""
    if address.version == 6:  # a household has a /64, with addresses that change daily
        address = ip_network(f"{address}/64", strict=False).network_address
    return sha256(f"{token}|{address}".encode()).hexdigest()[:8]
