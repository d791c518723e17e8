"""The doors for machines: what the mail provider tells of our mail."""

from __future__ import annotations

from typing import Final

import anyio
from fastapi import Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from nurture.journey.engagement import provider_events
from nurture.mail.providers.events import Unreadable
from nurture.mail.providers.sendgrid.signature import SIGNATURE, TIMESTAMP
from nurture.web.auth import Site, TheSite

NOT_SIGNED: Final = "the signature is missing or wrong, or its time is yet to come: nothing was stored"

AT_ONCE: Final = 4
"""Batches that are stored at the same time; others wait. While the database is busy each holds a connection
to it, and people who follow links need some too."""


async def sendgrid_events(request: Request, site: TheSite) -> Response:
    """Keep a batch of events that SendGrid signed, thank for it, and apply it then.

    The body is read only where the headers can be true. Replays are harmless, as everything counts once: so
    the time in the signature may be any that is past. SendGrid tries again for 24 hours after every other
    answer than 2xx.
    """
    if not site.event_keys:
        why = "NURTURE_SENDGRID_WEBHOOK_KEY is not set: nothing was stored"
        return _refused(503, why, {"Retry-After": "300"})
    signatures, times = request.headers.getlist(SIGNATURE), request.headers.getlist(TIMESTAMP)
    if not site.event_keys.may_have_signed(signatures, times, site.clock.now()):
        return _refused(401, NOT_SIGNED)
    body = await request.body()
    limiter: anyio.CapacityLimiter = request.app.state.storing
    return await anyio.to_thread.run_sync(_take, request, site, body, limiter=limiter)


def _take(request: Request, site: Site, body: bytes) -> Response:
    if not site.event_keys.signed(
        request.headers.getlist(SIGNATURE), request.headers.getlist(TIMESTAMP), body
    ):
        return _refused(401, NOT_SIGNED)
    try:
        received = provider_events.receive(site.house, provider_events.SENDGRID, body, site.clock.now())
    except Unreadable as error:
        return _refused(400, f"{error}: nothing was stored")
    return JSONResponse(
        {"events": received.events, "new": received.new}, 202, background=BackgroundTask(site.applying.ask)
    )


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"refused": why}, status, headers)
