"""Links of mail that lead through us, and the picture that tells of an open."""

from __future__ import annotations

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
from nurture.web.auth import SiteDep, VisitorDep

PIXEL: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel."""

MAX_USER_AGENT: Final = 300

_log: Final = logging.getLogger(__name__)


def follow_link(site: SiteDep, visitor: VisitorDep, number: str, request: Request) -> Response:
    """Send the visitor where the link leads, once the click is safe. What the query says counts for nothing.

    HEAD is answered alike, and kept as what it is: people's browsers ask with GET.
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
    except OSError as error:  # neither the database nor the disk takes it: the reader still gets there
        _log.error("click_not_recorded", extra={"message_id": click.message_id, "reason": str(error.strerror)})
    if link is None:
        return site.templates.response("honeypot.html")
    return RedirectResponse(link.url, status_code=302)


def open_pixel(site: SiteDep, visitor: VisitorDep, request: Request) -> Response:
    """Show the picture, whatever happens. The day is noted of a lead who agreed to that, and still does."""
    now = site.clock.now()
    try:
        agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT]
        opened = clicks.build_open(site.ctx, visitor.token_record, now, method=request.method, agent=agent)
        if opened is not None:
            site.click_recorder.record_open(opened)
    except (DatabaseUnavailable, NotFound):
        _log.warning("open_not_recorded")
    # Mail on the web shows pictures of other sites.
    return Response(PIXEL, media_type="image/gif", headers={"Cross-Origin-Resource-Policy": "cross-origin"})


def _parse_link_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or str(int(text)) != text:
        raise HTTPException(404)
    return int(text)


def _is_web_url(url: str) -> bool:
    """Look once more before anybody is sent there: a row may have been changed by hand."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()


def _client_fingerprint(request: Request, token: str) -> str:
    """Return a mark of where a request came from: alike within one mail, and of no use without its token.

    A proxy that nobody named in NURTURE_TRUSTED_PROXIES stands on a private address, and all who come through
    it seem to come from there: then nothing is known of the place.
    """
    try:
        address = ip_address(request.client.host if request.client is not None else "")
    except ValueError:
        return ""
    if not address.is_global:
        return ""
    if address.version == 6:  # one household has 2**64 of them, and changes daily
        address = ip_network(f"{address}/64", strict=False).network_address
    return sha256(f"{token}|{address}".encode()).hexdigest()[:8]
