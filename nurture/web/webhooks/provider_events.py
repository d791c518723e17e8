"""Receive provider events: the webhooks of providers post batches here."""

from __future__ import annotations

from typing import Final

import anyio
from fastapi import Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from nurture.journey.engagement import provider_events
from nurture.mail.providers.events import InvalidEventBatch
from nurture.mail.providers.webhooks import BodyCheck
from nurture.web.auth import Site, SiteDep

NOT_VERIFIED: Final = "the request does not prove that it comes from the provider: nothing was stored"

MAX_CONCURRENT_BATCHES: Final = 4
"""Concurrent batches; others queue. Each holds a database connection while the database is busy, and visitors
who follow links need some too."""


async def receive_events(request: Request, provider: str, site: SiteDep) -> Response:
    """Store a batch of events that *provider* posted, acknowledge it, then apply it.

    The body is read only if the headers are acceptable. Replays are harmless because each event counts once. The
    answer is 200, the only one that every provider takes for success; they retry after 5xx.
    """
    check = site.webhooks.events[provider].begin(request.headers.getlist, site.clock.now())
    if check is None:
        return _error(401, NOT_VERIFIED)
    body = await request.body()
    limiter: anyio.CapacityLimiter = request.app.state.event_limiter
    return await anyio.to_thread.run_sync(_verify_and_store, site, provider, check, body, limiter=limiter)


def _verify_and_store(site: Site, provider: str, check: BodyCheck, body: bytes) -> Response:
    check.update(body)
    if not check.is_valid():
        return _error(401, NOT_VERIFIED)
    try:
        received = provider_events.receive(site.ctx, provider, body, site.clock.now())
    except InvalidEventBatch as error:
        return _error(400, f"{error}: nothing was stored")
    return JSONResponse(
        {"events": received.events, "new": received.new}, background=BackgroundTask(site.event_worker.run)
    )


def _error(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)
