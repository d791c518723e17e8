"""Receive provider events: SendGrid's Event Webhook posts batches here."""

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

NOT_SIGNED: Final = "the signature is missing or wrong, or its time is in the future: nothing was stored"

MAX_CONCURRENT_BATCHES: Final = 4
"""Concurrent batches; others queue. Each holds a database connection while the database is busy, and visitors
who follow links need some too."""


async def sendgrid_events(request: Request, site: SiteDep) -> Response:
    """Store a batch of events that SendGrid signed, acknowledge it, then apply it.

    The body is read only if the signature headers are plausible. Replays are harmless because each event counts
    once, so the signature's time may be any in the past. SendGrid retries for 24 hours after a response other
    than 2xx.
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
