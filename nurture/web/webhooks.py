"""Receive events and replies: the webhooks of providers post them here."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import anyio
from fastapi import Request
from sqlalchemy.exc import DBAPIError
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from nurture.errors import NurtureError
from nurture.journey.engagement import provider_events, replies
from nurture.journey.engagement.inbound_mail import InboxFull
from nurture.journey.engagement.replies import ReplyResult
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.providers.events import InvalidEventBatch
from nurture.mail.providers.spec import BodyCheck, InvalidInboundMail
from nurture.web.routes import MAX_MAIL_BYTES
from nurture.web.site import Site, SiteDep

MAX_IN_MEMORY: Final = 256 * 1024
"""Bytes of an email kept in memory; a larger one is spooled to disk."""

MAX_SECONDS: Final = 60.0
"""Seconds that an email may take to arrive."""

MAX_ON_DISK: Final = 20 * MAX_MAIL_BYTES
"""Total bytes of the emails that are being received or read."""

_MAX_BATCHES: Final = 2
"""Batches of waiting emails that are read before a request is answered."""

_log: Final = logging.getLogger(__name__)

TOO_LARGE: Final = f"the email is larger than {MAX_MAIL_BYTES // 1024**2} MB"
NOT_VERIFIED: Final = "the request does not prove that it comes from the provider: nothing was stored"

MAX_CONCURRENT_BATCHES: Final = 4
"""Concurrent batches; others queue. Each holds a database connection while the database is busy, and visitors
who follow links need some too."""


class DiskBudget:
    """The disk space left for request bodies whose signature is not verified yet."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], bool]]:
        """Yield a function that reserves bytes and returns whether they fit; release all at the end."""
        reserved = 0

        def take(size: int) -> bool:
            nonlocal reserved
            reserved += size
            self._left -= size
            return self._left >= 0

        try:
            yield take
        finally:
            self._left += reserved


async def receive_mail(request: Request, provider: str, site: SiteDep) -> Response:
    """Store and read one email that *provider* posted, raw or parsed. It is stored when this returns 200.

    A separate process parses it. An email that could not be read is tried again by the next run. Providers
    repeat an email after a 5xx; each email counts once.
    """
    receiver = site.webhooks.inbound[provider]
    check = receiver.verifier.begin(request.headers.getlist, site.clock.now())
    if check is None:
        return error_response(401, NOT_VERIFIED, {"Connection": "close"})
    disk_budget: DiskBudget = request.app.state.inbound_disk_budget
    with tempfile.SpooledTemporaryFile(MAX_IN_MEMORY) as body, disk_budget.reserve() as reserve:

        def write(chunk: bytes) -> None:
            check.update(chunk)
            body.write(chunk)

        refusal = await _receive_body(request, write, reserve)
        if refusal is not None:
            return refusal
        if not check.is_valid():
            return error_response(401, NOT_VERIFIED)
        content_type = request.headers.get("content-type", "")
        limiter: anyio.CapacityLimiter = request.app.state.mail_limiter
        read = partial(receiver.read, body, content_type)
        return await anyio.to_thread.run_sync(_store_and_read, site, provider, read, limiter=limiter)


async def _receive_body(
    request: Request, write: Callable[[bytes], None], reserve: Callable[[int], bool]
) -> Response | None:
    """Pass the body to *write* in chunks; return an error response, or None once the body is complete."""
    size = 0
    try:
        with anyio.fail_after(MAX_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_MAIL_BYTES:
                    return error_response(413, TOO_LARGE, {"Connection": "close"})
                if not reserve(len(chunk)):
                    headers = {"Connection": "close", "Retry-After": "60"}
                    return error_response(503, "too many emails are being received: nothing was stored", headers)
                write(chunk)
    except TimeoutError:
        return error_response(408, "the email did not arrive in time", {"Connection": "close"})
    except ClientDisconnect:
        return error_response(400, "the email is incomplete")
    return None


def _store_and_read(site: Site, provider: str, read: Callable[[], RawMail]) -> Response:
    try:
        stored = replies.receive(site.ctx, provider, [read()], site.clock.now())
    except InvalidInboundMail as error:
        return error_response(400, f"{error}: nothing was stored")
    except InboxFull as error:
        return error_response(503, str(error), {"Retry-After": "300"})
    result = ReplyResult()
    try:
        if stored:
            result = replies.process_pending(site.ctx, site.clock.now(), _MAX_BATCHES)
    except (NurtureError, DBAPIError) as error:
        # Log only the type: a database error's message repeats the statement's values.
        _log.warning("inbound_mail_deferred", extra={"error": type(error).__name__})
    return JSONResponse({"mails": 1, "matched": result.matched, "new": result.new})


async def receive_events(request: Request, provider: str, site: SiteDep) -> Response:
    """Store a batch of events that *provider* posted, acknowledge it, then apply it.

    The body is read only if the headers are acceptable. Replays are harmless because each event counts once. The
    answer is 200, the only one that every provider takes for success; they retry after 5xx.
    """
    check = site.webhooks.events[provider].begin(request.headers.getlist, site.clock.now())
    if check is None:
        return error_response(401, NOT_VERIFIED)
    body = await request.body()
    limiter: anyio.CapacityLimiter = request.app.state.event_limiter
    return await anyio.to_thread.run_sync(_verify_and_store, site, provider, check, body, limiter=limiter)


def _verify_and_store(site: Site, provider: str, check: BodyCheck, body: bytes) -> Response:
    check.update(body)
    if not check.is_valid():
        return error_response(401, NOT_VERIFIED)
    try:
        received = provider_events.receive(site.ctx, provider, body, site.clock.now())
    except InvalidEventBatch as error:
        return error_response(400, f"{error}: nothing was stored")
    return JSONResponse(
        {"events": received.events, "new": received.new}, background=BackgroundTask(site.event_worker.run)
    )


def error_response(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """Return *reason* as JSON."""
    return JSONResponse({"error": reason}, status, headers)
