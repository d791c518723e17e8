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

from nurture.errors import DatabaseUnusable, NotFound
from nurture.journey.engagement import clicks
from nurture.mail.rendering.link_tracking import HONEYPOT
from nurture.web.auth import TheSite, TheVisit

PIXEL: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel."""

MOST_OF_AGENT: Final = 300

_log: Final = logging.getLogger(__name__)


def follow(site: TheSite, visit: TheVisit, number: str, request: Request) -> Response:
    """Send the visitor where the link leads, once the click is safe. What the query says counts for nothing.

    HEAD is answered alike, and kept as what it is: people's browsers ask with GET.
    """
    found = clicks.target(site.house, visit.kept, _number(number))
    unseen = number == str(HONEYPOT)
    if not unseen and (found is None or not _leads_to_the_web(found.url)):
        raise HTTPException(404)
    heard = clicks.clicked(
        visit.kept,
        found.name if found is not None else None,
        site.clock.now(),
        method=request.method,
        place=_place(request, visit.token),
        agent=request.headers.get("user-agent", "")[:MOST_OF_AGENT],
        honeypot=unseen,
    )
    try:
        site.guestbook.note(heard)
    except OSError as error:  # neither the database nor the disk takes it: the reader still gets there
        _log.error("click_lost", extra={"message_id": heard.message_id, "why": str(error.strerror)})
    if found is None:
        return site.look.page("not-for-readers.html")
    return RedirectResponse(found.url, status_code=302)


def pixel(site: TheSite, visit: TheVisit, request: Request) -> Response:
    """Show the picture, whatever happens. The day is noted of a lead who agreed to that, and still does."""
    now = site.clock.now()
    try:
        agent = request.headers.get("user-agent", "")[:MOST_OF_AGENT]
        opened = clicks.opened(site.house, visit.kept, now, method=request.method, agent=agent)
        if opened is not None:
            site.guestbook.note_open(opened)
    except (DatabaseUnusable, NotFound):
        _log.warning("open_passed_over")
    # Mail on the web shows pictures of other sites.
    return Response(PIXEL, media_type="image/gif", headers={"Cross-Origin-Resource-Policy": "cross-origin"})


def _number(told: str) -> int:
    if not told.isascii() or not told.isdecimal() or len(told) > 5 or str(int(told)) != told:
        raise HTTPException(404)
    return int(told)


def _leads_to_the_web(url: str) -> bool:
    """Look once more before anybody is sent there: a row may have been changed by hand."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()


def _place(request: Request, token: str) -> str:
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
