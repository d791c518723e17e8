"""The endpoint for provider events: what the mail provider tells of our mail."""

from __future__ import annotations

from typing import Final

import anyio
from fastapi import Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from nurture.journey.engagement import provider_events
from nurture.mail.providers.events import InvalidEventBatch
from nurture.mail.providers.sendgrid.events import PROVIDER
from nurture.mail.providers.sendgrid.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from nurture.web.auth import Site, SiteDep

NOT_SIGNED: Final = "the signature is missing or wrong, or its time is yet to come: nothing was stored"

MAX_CONCURRENT_BATCHES: Final = 4
"""Batches that are stored at the same time; others wait. While the database is busy each holds a connection
to it, and people who follow links need some too."""


async def sendgrid_events(request: Request, site: SiteDep) -> Response:
    """Keep a batch of events that SendGrid signed, thank for it, and apply it then.

    The body is read only where the headers can be true. Replays are harmless, as everything counts once: so
    the time in the signature may be any that is past. SendGrid tries again for 24 hours after every other
    answer than 2xx.
    """
    if not site.event_keys:
        reason = "NURTURE_SENDGRID_WEBHOOK_KEY is not set: nothing was stored"
        return _error(503, reason, {"Retry-After": "300"})
    signatures, times = request.headers.getlist(SIGNATURE_HEADER), request.headers.getlist(TIMESTAMP_HEADER)
    if not site.event_keys.is_plausible(signatures, times, site.clock.now()):
        return _error(401, NOT_SIGNED)
    body = await request.body()
    limiter: anyio.CapacityLimiter = request.app.state.event_limiter
    return await anyio.to_thread.run_sync(_verify_and_store, request, site, body, limiter=limiter)


def _verify_and_store(request: Request, site: Site, body: bytes) -> Response:
    if not site.event_keys.verify(
        request.headers.getlist(SIGNATURE_HEADER), request.headers.getlist(TIMESTAMP_HEADER), body
    ):
        return _error(401, NOT_SIGNED)
    try:
        received = provider_events.receive(site.ctx, PROVIDER, body, site.clock.now())
    except InvalidEventBatch as error:
        return _error(400, f"{error}: nothing was stored")
    return JSONResponse(
        {"events": received.events, "new": received.new}, 202, background=BackgroundTask(site.event_worker.run)
    )


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)
